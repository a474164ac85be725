"""`esrun explain [KEY=VALUE ...]`: what a run will cost, before anything is compiled and without a
run folder.

Every figure is read off shapes and traces of the program itself, so it holds for any strategy, task
and plug-in.
"""

import json
import sys
from typing import Any

from esrun.config.check import KINDS, Run, build, checked
from esrun.config.compose import Source, composed, parser_of_flags
from esrun.errors import ConfigError

USAGE = "usage: esrun explain [--json] [--config-dir DIR] [KEY=VALUE ...]"

LINEAR = ("sep_cma_es", "lm_ma_es", "openai_es")
"""Strategies to suggest where a matrix is too much, as far as they are there."""

QUADRATIC = 30
"""Numbers a parameter beyond which a strategy's state is taken for a matrix."""

LARGEST_MATRIX = 4000
"""Parameters beyond which an update of a matrix is called slow: a decomposition takes seconds and
grows by n^3."""


def explain(arguments: list[str]) -> int:
    """Print what a run would cost -> the exit code."""
    as_json = "--json" in arguments
    parsed = parser_of_flags().parse_intermixed_args(
        [word for word in arguments if word != "--json"]
    )
    if parsed.help:
        print(USAGE)
        return 0
    try:
        if parsed.multirun:
            raise ConfigError("esrun explain takes one configuration, not a sweep: leave out -m")
        source = Source(parsed.config_name or "esrun", parsed.config_dir, parsed.config_path)
        one = composed(parsed.overrides, source)
        built = build(checked(one.config))
        names = {
            kind: one.hydra.runtime.choices.get(kind) or getattr(built.config, kind).name
            for kind in KINDS
        }
        cost = costs(built, names)
    except ConfigError as error:
        print(f"esrun: {error}", file=sys.stderr)
        return 2
    if as_json:
        print(json.dumps(cost, indent=2))
    else:
        show(cost)
    return 0


def costs(built: Run, names: dict[str, str]) -> dict[str, Any]:
    """-> the figures, bytes and counts; None for what cannot be known before the run."""
    import jax
    import jax.numpy as jnp

    from esrun.backend import memory
    from esrun.training.slices import plan_slices

    config, parts = built.config, built.program.parts(built.hyper)
    p, n, generations = parts.strategy.population_size, parts.n, config.generations
    state = jax.eval_shape(built.program.init, built.hyper, jnp.uint32(0))
    slices, members = plan_slices(parts, built.local_devices, config.runtime.population_chunk)

    solutions = jax.eval_shape(
        lambda state: parts.strategy.ask(jax.random.key(0), state, jnp.arange(members)),
        state.strategy,
    )
    member_bytes = memory.tree_bytes(solutions) // members
    steps = _steps_of_a_member(config, parts, state)
    here = -(-p // len(built.local_devices))
    evaluations = -(-generations // config.eval.every)
    shared = memory.sharing(built.local_devices)
    whole, free = memory.of_each(built.local_devices), memory.free_of_each(built.local_devices)
    cost = names | {
        "devices": [f"{device.platform}:{device.id}" for device in built.local_devices],
        "device_kind": built.local_devices[0].device_kind,
        "precision": config.runtime.precision,
        "num_params": n,
        "layers": _layers(parts),
        "state_bytes": memory.tree_bytes(state.strategy),
        "checkpoint_bytes": memory.tree_bytes(state),
        "checkpoints": config.checkpoint.keep,
        "population_size": p,
        "population_bytes_per_device": here * member_bytes,
        "slices": slices,
        "members_per_slice": members,
        "slice_bytes": members * member_bytes,
        "episodes_per_member": parts.task.episodes,
        "generations": generations,
        "evaluations": p * generations,
        "env_steps_per_generation": steps and p * steps,
        "env_steps": steps and p * steps * generations,
        "held_out": {
            "evaluations": evaluations,
            "episodes": config.eval.episodes,
            "env_steps": steps
            and evaluations * config.eval.episodes * steps // parts.task.episodes,
        },
        "least_memory_bytes": (2 * memory.tree_bytes(state) + members * member_bytes) * shared,
        "memory_bytes": whole and whole * shared,
        "free_memory_bytes": free and free * shared,
    }
    return cost | {"warnings": _warnings(cost, built)}


def _layers(parts) -> list[dict]:
    """-> the policy's modules with the shapes of their parameters."""
    import jax

    params = jax.eval_shape(lambda: parts.policy.init(jax.random.key(0)))
    return [
        {
            "name": name,
            "shapes": {key: list(x.shape) for key, x in leaves.items()},
            "num_params": sum(x.size for x in leaves.values()),
        }
        for name, leaves in params.items()
    ]


def _steps_of_a_member(config, parts, state) -> int | None:
    """-> the most environment steps of a member in a generation, None where only the run can
    tell."""
    import jax
    from jax.extend.core import Literal

    length = getattr(config.task, "episode_length", None)
    if length is not None:
        return parts.task.episodes * length

    def steps(params, normalizer):
        keys = jax.random.split(jax.random.key(0), parts.task.episodes)
        return parts.task.evaluate(
            keys, parts.policy, jax.tree.map(lambda x: x[None], params), normalizer
        ).steps

    params = jax.eval_shape(parts.unravel, state.strategy.mean)
    jaxpr = jax.make_jaxpr(steps)(params, state.normalizer).jaxpr
    made = {v: equation for equation in jaxpr.eqns for v in equation.outvars}
    x = jaxpr.outvars[0]
    while x in made and made[x].primitive.name in ("broadcast_in_dim", "convert_element_type"):
        x = made[x].invars[0]
        if isinstance(x, Literal):
            return int(x.val)
    return None


def _warnings(cost: dict[str, Any], built: Run) -> list[str]:
    """-> what is hopeless or unwise, with what to write instead."""
    from esrun.backend.memory import shown
    from esrun.config import registry

    config, n, p = built.config, cost["num_params"], cost["population_size"]
    itemsize = 8 if config.runtime.precision == "float64" else 4
    known = registry.names("strategy")
    others = " or ".join(
        f"strategy={name}" for name in LINEAR if name in known and name != cost["strategy"]
    )
    matrix = cost["state_bytes"] > QUADRATIC * n * itemsize
    need, whole, free = (
        cost[key] for key in ("least_memory_bytes", "memory_bytes", "free_memory_bytes")
    )
    lines = []
    if whole and need > whole:
        remedy = f"write {others}" if matrix else "use a smaller policy or more memory"
        lines.append(
            f"{shown(need)} will not fit: there are {shown(whole)}. {remedy[0].upper()}{remedy[1:]}"
        )
    elif free and need > free:
        lines.append(
            f"{shown(need)} will not fit just now: {shown(free)} are free. End what else is running"
        )
    elif matrix and n > LARGEST_MATRIX:
        size = shown(n * n * itemsize)
        lines.append(
            f"{cost['strategy']} updates matrices of {n} x {n}, {size} each: slow. Faster: {others}"
        )
    targets = {key: getattr(config.stop, key) for key in ("fitness", "eval")}
    small = {key: x for key, x in targets.items() if x is not None and 0 < abs(x) < 1e-6}
    if small and itemsize == 4:
        key, value = next(iter(small.items()))
        lines.append(
            f"stop.{key}={value:g} is finer than float32 computes: write runtime.precision=float64"
        )
    slots = cost["slices"] * cost["members_per_slice"] * len(cost["devices"])
    if slots > 1.2 * p and p >= len(cost["devices"]):
        lines.append(
            f"{slots - p} of {slots} places stay empty: write strategy.population_size={slots}"
        )
    held_out = cost["held_out"]
    trained = cost["evaluations"] * cost["episodes_per_member"]
    if held_out["evaluations"] * held_out["episodes"] > 0.5 * trained:
        lines.append(
            f"held-out evaluation plays {held_out['evaluations'] * held_out['episodes']} episodes "
            "to training's "
            f"{trained}: write a larger eval.every or a smaller eval.episodes"
        )
    return lines


def show(cost: dict[str, Any]) -> None:
    """Print the figures as a panel, the warnings below it."""
    from rich.console import Console
    from rich.panel import Panel

    from esrun.backend.memory import shown
    from esrun.runs.console import figures

    episodes, held_out = cost["episodes_per_member"], cost["held_out"]
    devices, slices = len(cost["devices"]), cost["slices"]

    def steps(count):
        return (
            "env steps known only when it runs" if count is None else f"up to {count:,} env steps"
        )

    rows = {"task": f"{cost['task']}, {episodes} episode{'s' * (episodes > 1)} a member"}
    rows["policy"] = f"{cost['policy']}, {cost['num_params']:,} parameters"
    for layer in cost["layers"] if len(cost["layers"]) > 1 else []:
        shapes = ", ".join(
            f"{key} {' x '.join(map(str, shape))}" for key, shape in layer["shapes"].items()
        )
        rows[f"  {layer['name']}"] = f"{layer['num_params']:,}: {shapes}"
    kept = f"{cost['checkpoints']} checkpoints of {shown(cost['checkpoint_bytes'])}"
    pieces = "at once" if slices == 1 else f"in {slices} slices of {cost['members_per_slice']}"
    rows |= {
        "strategy": f"{cost['strategy']}, {cost['population_size']:,} members",
        "state": f"{shown(cost['state_bytes'])}; {kept}",
        "population": f"{shown(cost['population_bytes_per_device'])} a device, {shown(cost['slice_bytes'])} {pieces}",
        "a generation": f"{cost['population_size']:,} evaluations, {steps(cost['env_steps_per_generation'])}",
        "all": f"{cost['generations']:,} generations, {cost['evaluations']:,} evaluations, {steps(cost['env_steps'])}",
        "held-out": f"{held_out['evaluations']:,} x {held_out['episodes']:,} episodes, {steps(held_out['env_steps'])}",
        "devices": f"{devices} ({cost['device_kind']}), {cost['precision']}",
        "memory": f"at least {shown(cost['least_memory_bytes'])}, "
        f"{shown(cost['free_memory_bytes']) if cost['free_memory_bytes'] else '?'} free",
    }
    console = Console(highlight=False)
    console.print(Panel(figures(rows), title="esrun explain", title_align="left", expand=False))
    for line in cost["warnings"]:
        console.print(f"warning: {line}", markup=False, soft_wrap=True)
