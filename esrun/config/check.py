"""A configuration checked by the schema and built into a run. JAX is imported by `build` alone."""

import functools
import inspect
import json
import re
from difflib import get_close_matches
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from pydantic import ValidationError

from esrun.backend import cache, devices
from esrun.config import registry
from esrun.config.compose import CONF_DIR, composed, keys, nearest
from esrun.config.schema import Config
from esrun.errors import ConfigError

if TYPE_CHECKING:
    from esrun.training.program import Program

KINDS = ("task", "strategy", "policy")

# ---- checking ------------------------------------------------------------------------------------


def checked(cfg: dict) -> Config:
    """-> the configuration as models. Raises ConfigError for the first thing that is wrong. Does
    not import JAX."""
    try:
        config = Config.model_validate(cfg)
    except ValidationError as error:
        raise ConfigError(_complaint(error, "", cfg)) from error
    for kind in KINDS:
        setattr(config, kind, _checked_option(kind, getattr(config, kind), kind))
    for name, options in config.logger.items():
        config.logger[name] = _checked_option("logger", options, f"logger.{name}")
    _cross_check(config)
    return config


def _checked_option(kind: str, given: Any, where: str):
    name = given.get("name") if isinstance(given, dict) else None
    try:
        option = registry.find(kind, str(name))
    except KeyError:
        known = registry.names(kind)
        raise ConfigError(
            f"{where}.name must be a registered {kind}, got {name!r}{nearest(str(name), known)}: "
            f"write one of {', '.join(known)}"
        ) from None
    if option.package and not find_spec(option.package):
        chosen = f"{where}={name}" if name == option.extra else f"{where}.name={name}"
        chosen = f"logger=[{name}]" if kind == "logger" else chosen
        raise ConfigError(
            f"{chosen} needs the package {option.package}, which is not installed: pip install "
            f"'esrun[{option.extra}]'"
        )
    try:
        return option.schema.model_validate(given)
    except ValidationError as error:
        raise ConfigError(_complaint(error, f"{where}.", given)) from error


def _complaint(error: ValidationError, prefix: str, given: dict) -> str:
    """The first of pydantic's errors as one line."""
    first = error.errors()[0]
    parts = [
        str(part)
        for part in first["loc"]
        if "[" not in str(part) and not str(part).startswith("literal")
    ]
    # the branches of a union are part of pydantic's location and not of the key
    key = prefix + ".".join(
        part for part in parts if part not in ("int", "float", "bool", "str", "constrained-int")
    )
    if first["type"] == "value_error":
        return str(first.get("ctx", {}).get("error"))
    if first["type"] == "extra_forbidden":
        title = f"{prefix[:-1]}={given.get('name')}" if prefix else "this configuration"
        known = re.sub(r"\.[^.]*$", "", key)
        models = _fields(error, prefix, given)
        return f"{key} is not a key of {title}{nearest(key, models)}: `esrun --cfg job` shows {known}'s keys"
    if first["type"] == "missing":
        return f"{key} must be given: write {key}=..."
    musts = dict.fromkeys(
        re.sub(r"^Input should be ", "", one["msg"])
        .replace("a valid ", "a ")
        .replace("a integer", "an integer")
        for one in error.errors()
        if one["loc"][: len(first["loc"]) - 1] == first["loc"][:-1]
        or one["loc"][0] == first["loc"][0]
    )
    return f"{key} must be {' or '.join(musts)}, got {first['input']!r}{_remedy(key, first, given.get('name'))}"


def _fields(error: ValidationError, prefix: str, given: dict) -> list[str]:
    kind = prefix.split(".")[0]
    if kind in KINDS:
        return [prefix + field for field in registry.find(kind, given["name"]).schema.model_fields]
    return list(keys(composed([])[0]))


def _remedy(key: str, first, name: str | None) -> str:
    expected = first.get("ctx", {}).get("expected", "")
    near = get_close_matches(
        str(first["input"]), re.findall(r"'([^']+)'", expected), n=1, cutoff=0.5
    )
    if near:
        return f": write {key}={near[0]}"
    default: Any = _default(key, name)
    return f": write for example {key}={json.dumps(default)}" if default is not None else ""


def _default(key: str, name: str | None):
    """The value of a key in the primary file or an option file of that `name`, None when there is
    none."""
    group, _, rest = key.partition(".")
    files = [CONF_DIR / "esrun.yaml", *sorted((CONF_DIR / group).glob("*.yaml"))]
    for file in files:
        node = yaml.safe_load(file.read_text())
        primary = file.name == "esrun.yaml"
        if not primary and node.get("name") != name:
            continue
        for part in (key if primary else rest).split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if isinstance(node, (int, float, str, list)) and not str(node).startswith("$"):
            return node
    return None


def environments() -> dict[str, dict]:
    """-> the gymnax environments that a named option exists for: id -> that option's yaml."""
    found = {}
    for file in sorted((CONF_DIR / "task").glob("*.yaml")):
        option = yaml.safe_load(file.read_text())
        if option["name"] == "gymnax" and option["env"] != "???":
            found[option["env"]] = option | {"option": file.stem}
    return found


def _cross_check(config: Config) -> None:
    """What no single option can know."""
    task, policy, runtime = config.task, config.policy, config.runtime
    if (task.name in BLACK_BOXES) != (policy.name == "vector"):
        wanted = "vector" if task.name in BLACK_BOXES else "mlp"
        raise ConfigError(
            f"a black-box function needs policy=vector and nothing else does, got task {task.name} "
            "with "
            f"policy={policy.name}: write policy={wanted}"
        )
    if task.name == "sine" and policy.name == "cnn":
        raise ConfigError(
            "policy=cnn needs an image-like input, the sine task gives a sequence: write policy=mlp"
        )
    if task.name == "gymnax":
        _check_environment(task, policy)
    if (
        runtime.devices != "auto"
        and not devices.may_have_accelerator()
        and runtime.devices > devices.cores()
    ):
        raise ConfigError(
            f"runtime.devices must be at most {devices.cores()}, the cores of this machine (no "
            "accelerator is "
            f"installed), got {runtime.devices}: write runtime.devices=auto"
        )


BLACK_BOXES = ("blackbox", "bbob")
"""Tasks whose input is empty and whose point is the output."""


def _check_environment(task, policy) -> None:
    known = environments()
    if task.env not in known:
        raise ConfigError(
            f"task.env must be an environment of gymnax, got {task.env}{nearest(task.env, known)}: "
            f"write one of {', '.join(known)}"
        )
    option = known[task.env]
    for key, value in task.env_params.items():
        if key not in option["env_params"]:
            raise ConfigError(
                f"task.env_params.{key} is not a parameter of "
                f"{task.env}{nearest(key, option['env_params'])}: "
                f"write task={option['option']}, which lists its own"
            )
        default = option["env_params"][key]
        if type(default) is float and type(value) is int:
            task.env_params[key] = float(value)
        elif type(default) is not type(value):
            raise ConfigError(
                f"task.env_params.{key} must be of type {type(default).__name__}, got {value!r}: "
                f"write for example task.env_params.{key}={json.dumps(default)}"
            )
    if (
        policy.name == "cnn"
        and task.env.rpartition("-")[2] not in ("MinAtar",)
        and task.env not in IMAGE_LIKE
    ):
        raise ConfigError(
            f"policy=cnn needs an image-like input, {task.env} gives a vector: write policy=mlp or "
            "policy=rnn"
        )


IMAGE_LIKE = ("Pong-misc", "Catch-bsuite", "DeepSea-bsuite")
"""Environments besides MinAtar's whose observation has a height and a width."""


# ---- building ------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A configuration ready to train."""

    config: Config
    program: "Program"
    hyper: Any
    local_devices: tuple


def split(value: Any) -> tuple[Any, Any]:
    """-> (structure, numbers): the same tree twice, its floats in the second and everything else in
    the first."""
    if isinstance(value, float):
        return None, value
    if isinstance(value, dict):
        halves = {key: split(x) for key, x in value.items()}
        return {k: s for k, (s, _) in halves.items()}, {
            k: h for k, (_, h) in halves.items() if h is not None
        }
    if isinstance(value, list) and any(isinstance(x, float) for x in value):
        return None, [float(x) for x in value]
    return value, None


def joined(structure: Any, numbers: Any) -> Any:
    """The inverse of `split`; the numbers may have become arrays."""
    if isinstance(structure, dict):
        numbers = numbers or {}
        return {key: joined(structure[key], numbers.get(key)) for key in structure}
    return structure if numbers is None else numbers


def build(config: Config) -> Run:
    """-> the run. Starts JAX. Raises ConfigError for what only the built parts can tell."""
    devices.start(config.runtime.precision, config.runtime.deterministic)
    cache.use()
    import jax.numpy as jnp

    chosen = {kind: getattr(config, kind).model_dump() for kind in KINDS}
    structure, numbers = split(chosen)
    numbers = {kind: numbers.get(kind, {}) for kind in KINDS}
    population_size = chosen["strategy"].get("population_size")
    try:
        local = devices.choose(
            config.runtime.devices,
            population_size if isinstance(population_size, int) else devices.cores(),
        )
        hyper = _map(lambda x: jnp.asarray(x, float), numbers)
        if chosen["strategy"].get("noise") == "table":
            from esrun.strategies.parts.noise import make_table

            table = make_table(chosen["strategy"]["noise_table_size"], str(jnp.zeros(()).dtype))
            hyper["strategy"]["noise"] = devices.replicated(local, table)
        program = _program(
            json.dumps(structure, sort_keys=True),
            local,
            config.runtime.population_chunk,
            config.runtime.precision,
            config.eval.episodes,
        )
        program.parts(hyper)  # complain before anything is compiled
    except ValueError as error:
        raise ConfigError(" ".join(str(error).split())) from error
    return Run(config, program, hyper, local)


def _map(function, tree):
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    return function(tree)


@functools.cache
def _program(
    structure: str,
    local: tuple,
    population_chunk: int | str,
    precision: str,
    held_out_episodes: int,
):
    """One program for all runs of the same structure: a sweep over numbers compiles once."""
    del precision  # part of the key: programs are traced in it
    from esrun.training.generation import Parts
    from esrun.training.program import make_program, make_unravel

    chosen = json.loads(structure)

    def parts(hyper) -> Parts:
        import jax

        options = {kind: joined(chosen[kind], hyper[kind]) for kind in KINDS}
        names = {kind: options[kind].pop("name") for kind in KINDS}
        factories = {kind: registry.factory(kind, name) for kind, name in names.items()}
        options["task"].pop("generations", None)
        options["policy"].pop("normalize_input", None)
        options["strategy"].pop("max_restarts", None)
        task = factories["task"](**options["task"])
        policy = factories["policy"](
            input_shape=task.input_shape, output_size=task.output_size, **options["policy"]
        )
        params = jax.eval_shape(lambda: policy.init(jax.random.key(0)))
        n, unravel = sum(x.size for x in jax.tree.leaves(params)), make_unravel(params)
        given = {"n": n, "name": names["strategy"], "unravel": unravel}
        wanted = inspect.signature(factories["strategy"]).parameters
        strategy = factories["strategy"](
            **{k: x for k, x in given.items() if k in wanted}, **options["strategy"]
        )
        return Parts(task, policy, strategy, unravel, n)

    return make_program(
        build=parts,
        local_devices=local,
        population_chunk=population_chunk,
        normalize_input=chosen["policy"].get("normalize_input", False),
        restarting=chosen["strategy"].get("restarts") is not None,
        held_out_episodes=held_out_episodes,
    )
