"""Configuration: composed by Hydra, checked by the schema, built into a run. JAX is imported by `build` alone.

Every complaint is a ConfigError of one line: what must hold, what was given, what to write instead.
"""

import functools
import json
import re
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from esrun import devices, registry
from esrun.schema import Config

if TYPE_CHECKING:
    from esrun.training import Program

_PACKAGED = Path(__file__).parent / "conf"
CONF_DIR = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"
"""`esrun/conf` in an installed wheel, the top-level `conf` in a checkout."""

KINDS = ("task", "strategy", "policy")


class ConfigError(ValueError):
    """The configuration is wrong; the message is one line for the user."""


class Source(NamedTuple):
    """Where a configuration comes from: what Hydra's command line says besides the overrides."""

    name: str = "esrun"
    directory: str | None = None
    """An extra directory of options (`--config-dir`)."""


PRIMARY = Source()

# ---- composing -------------------------------------------------------------------------------------------------------


def composed(overrides: list[str], source: Source = PRIMARY) -> tuple[dict, Any]:
    """-> (the resolved configuration, Hydra's own). Raises ConfigError for whatever Hydra cannot compose."""
    search = [f"hydra.searchpath=[file://{Path(source.directory).resolve()}]"] if source.directory else []
    try:
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            cfg = compose(source.name, overrides=[*overrides, *search], return_hydra_config=True)
        hydra = cfg.hydra
        _refuse_foreign_code(hydra)
        OmegaConf.set_struct(cfg, False)
        del cfg["hydra"]
        return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True), hydra  # type: ignore[return-value]
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(_explain(error, overrides, source)) from error


def _explain(error: Exception, overrides: list[str], source: Source) -> str:
    """One line for an exception of Hydra's or OmegaConf's."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and "/" in error.missing_cfg_file:
        group, _, given = error.missing_cfg_file.rpartition("/")
        choices = options(group)
        return f"{group}={given} is not a choice{_nearest(given, choices)}: write one of {', '.join(sorted(choices))}"
    if isinstance(error, ConfigCompositionException) and (
        found := re.search(r"Could not (?:override|append to|delete) '([^']+)'", text)
    ):
        key = found[1].split("@")[0]
        rest = [override for override in overrides if key not in override]
        keys = list(_keys(composed(rest, source)[0])) if len(rest) < len(overrides) else []
        near = _nearest(key, [*keys, *groups()])
        return f"{key} is not a key of this configuration{near}: `esrun --cfg job` shows them all, +{key}=... adds one"
    if "missing" in text.lower() and (found := re.search(r"(?:full_key: |value: )(\S+)", text)):
        return f"{found[1]} must be given: write {found[1]}=..."
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"cannot read the command line: {lines[0] if lines else type(error).__name__} (in {' '.join(overrides)})"


TRUSTED = ("hydra._internal.core_plugins.", "hydra._internal.grammar", "hydra_plugins.", "logging.")


def _refuse_foreign_code(hydra: Any) -> None:
    """Hydra instantiates what its own section names: only parts of Hydra and of installed plug-ins may stand there."""
    for key, value in flat(OmegaConf.to_container(hydra, resolve=False)).items():
        names_code = key.rpartition(".")[2] in ("_target_", "()", "class", "_convert_")
        if names_code and isinstance(value, str) and not value.startswith(TRUSTED):
            raise ConfigError(f"hydra.{key} must name a part of Hydra or of an installed plug-in, got {value}")


def groups() -> list[str]:
    """-> the names of the configuration groups."""
    return sorted(path.name for path in CONF_DIR.iterdir() if path.is_dir() and path.name != "hydra")


def options(group: str) -> list[str]:
    """-> the names of a group's options."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml"))


def _keys(tree: dict, prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{key}.")


def _nearest(given: str, names) -> str:
    near = get_close_matches(given, {str(name) for name in names}, n=2, cutoff=0.6)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """-> the leaves of nested dictionaries by their dotted key."""
    if isinstance(tree, dict) and tree:
        return {name: x for key, value in tree.items() for name, x in flat(value, f"{prefix}{key}.").items()}
    return {prefix[:-1]: tree}


def sweep_jobs(overrides: list[str]) -> Iterator[list[str]]:
    """-> the overrides of every job of a sweep, as Hydra's basic sweeper expands them."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    choices = [
        [f"{o.get_key_element()}={value}" for value in o.sweep_string_iterator()]
        if o.is_sweep_override()
        else [o.input_line]
        for o in parsed
    ]
    for job in product(*choices):
        yield [override for override in job if override is not None]


# ---- checking --------------------------------------------------------------------------------------------------------


def checked(cfg: dict) -> Config:
    """-> the configuration as models. Raises ConfigError for the first thing that is wrong. Does not import JAX."""
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
            f"{where}.name must be a registered {kind}, got {name!r}{_nearest(str(name), known)}: "
            f"write one of {', '.join(known)}"
        ) from None
    try:
        return option.schema.model_validate(given)
    except ValidationError as error:
        raise ConfigError(_complaint(error, f"{where}.", given)) from error


def _complaint(error: ValidationError, prefix: str, given: dict) -> str:
    """The first of pydantic's errors as one line."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if "[" not in str(part) and not str(part).startswith("literal")]
    # the branches of a union are part of pydantic's location and not of the key
    key = prefix + ".".join(part for part in parts if part not in ("int", "float", "bool", "str", "constrained-int"))
    if first["type"] == "value_error":
        return str(first.get("ctx", {}).get("error"))
    if first["type"] == "extra_forbidden":
        title = f"{prefix[:-1]}={given.get('name')}" if prefix else "this configuration"
        known = re.sub(r"\.[^.]*$", "", key)
        models = _fields(error, prefix, given)
        return f"{key} is not a key of {title}{_nearest(key, models)}: `esrun --cfg job` shows {known}'s keys"
    if first["type"] == "missing":
        return f"{key} must be given: write {key}=..."
    musts = dict.fromkeys(
        re.sub(r"^Input should be ", "", one["msg"]).replace("a valid ", "a ").replace("a integer", "an integer")
        for one in error.errors()
        if one["loc"][: len(first["loc"]) - 1] == first["loc"][:-1] or one["loc"][0] == first["loc"][0]
    )
    return f"{key} must be {' or '.join(musts)}, got {first['input']!r}{_remedy(key, first)}"


def _fields(error: ValidationError, prefix: str, given: dict) -> list[str]:
    kind = prefix.split(".")[0]
    if kind in KINDS:
        return [prefix + field for field in registry.find(kind, given["name"]).schema.model_fields]
    return list(_keys(composed([])[0]))


def _remedy(key: str, first) -> str:
    expected = first.get("ctx", {}).get("expected", "")
    near = get_close_matches(str(first["input"]), re.findall(r"'([^']+)'", expected), n=1, cutoff=0.5)
    if near:
        return f": write {key}={near[0]}"
    default: Any = _default(key)
    return f": write for example {key}={json.dumps(default)}" if default is not None else ""


def _default(key: str):
    """The value of a key in the option files, None when there is none."""
    group, _, rest = key.partition(".")
    files = [CONF_DIR / "esrun.yaml", *sorted((CONF_DIR / group).glob("*.yaml"))]
    for file in files:
        node = yaml.safe_load(file.read_text())
        for part in (key if file.name == "esrun.yaml" else rest).split("."):
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
    if (task.name == "blackbox") != (policy.name == "vector"):
        wanted = "vector" if task.name == "blackbox" else "mlp"
        raise ConfigError(
            f"a black-box function needs policy=vector and nothing else does, got task {task.name} with "
            f"policy={policy.name}: write policy={wanted}"
        )
    if task.name == "sine" and policy.name == "cnn":
        raise ConfigError("policy=cnn needs an image-like input, the sine task gives a sequence: write policy=mlp")
    if task.name == "gymnax":
        _check_environment(task, policy)
    if runtime.devices != "auto" and not devices.may_have_accelerator() and runtime.devices > devices.cores():
        raise ConfigError(
            f"runtime.devices must be at most {devices.cores()}, the cores of this machine (no accelerator is "
            f"installed), got {runtime.devices}: write runtime.devices=auto"
        )


def _check_environment(task, policy) -> None:
    known = environments()
    if task.env not in known:
        raise ConfigError(
            f"task.env must be an environment of gymnax, got {task.env}{_nearest(task.env, known)}: "
            f"write one of {', '.join(known)}"
        )
    option = known[task.env]
    for key, value in task.env_params.items():
        if key not in option["env_params"]:
            raise ConfigError(
                f"task.env_params.{key} is not a parameter of {task.env}{_nearest(key, option['env_params'])}: "
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
    if policy.name == "cnn" and task.env.rpartition("-")[2] not in ("MinAtar",) and task.env not in IMAGE_LIKE:
        raise ConfigError(
            f"policy=cnn needs an image-like input, {task.env} gives a vector: write policy=mlp or policy=rnn"
        )


IMAGE_LIKE = ("Pong-misc", "Catch-bsuite", "DeepSea-bsuite")
"""Environments besides MinAtar's whose observation has a height and a width."""


# ---- building --------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """A configuration ready to train."""

    config: Config
    program: "Program"
    hyper: Any
    local_devices: tuple


def split(value: Any) -> tuple[Any, Any]:
    """-> (structure, numbers): the same tree twice, its floats in the second and everything else in the first."""
    if isinstance(value, float):
        return None, value
    if isinstance(value, dict):
        halves = {key: split(x) for key, x in value.items()}
        return {k: s for k, (s, _) in halves.items()}, {k: h for k, (_, h) in halves.items() if h is not None}
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
    import jax.numpy as jnp

    chosen = {kind: getattr(config, kind).model_dump() for kind in KINDS}
    structure, numbers = split(chosen)
    numbers = {kind: numbers.get(kind, {}) for kind in KINDS}
    population_size = chosen["strategy"].get("population_size")
    try:
        local = devices.choose(
            config.runtime.devices, population_size if isinstance(population_size, int) else devices.cores()
        )
        hyper = _map(lambda x: jnp.asarray(x, float), numbers)
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
def _program(structure: str, local: tuple, population_chunk: int | str, precision: str, held_out_episodes: int):
    """One program for all runs of the same structure: a sweep over numbers compiles once."""
    del precision  # part of the key: programs are traced in it
    from esrun.training import Parts, make_program

    chosen = json.loads(structure)

    def parts(hyper) -> Parts:
        import jax
        import jax.numpy as jnp
        from jax.flatten_util import ravel_pytree

        options = {kind: joined(chosen[kind], hyper[kind]) for kind in KINDS}
        factories = {kind: registry.factory(kind, options[kind].pop("name")) for kind in KINDS}
        options["task"].pop("generations", None)
        options["policy"].pop("normalize_input", None)
        task = factories["task"](**options["task"])
        policy = factories["policy"](input_shape=task.input_shape, output_size=task.output_size, **options["policy"])
        params = jax.eval_shape(policy.init, jax.random.key(0))
        flat, unravel = ravel_pytree(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), params))
        strategy = factories["strategy"](n=len(flat), **options["strategy"])
        return Parts(task, policy, strategy, unravel, len(flat))

    return make_program(
        build=parts,
        local_devices=local,
        population_chunk=population_chunk,
        normalize_input=chosen["policy"].get("normalize_input", False),
        held_out_episodes=held_out_episodes,
    )
