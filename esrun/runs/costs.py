"""What a run will cost, read off shapes before anything is compiled.

It holds for any strategy, task and plug-in.
"""

from typing import Any

import jax
import numpy as np

from esrun.backend import devices, memory
from esrun.backend.memory import shown
from esrun.config import registry
from esrun.errors import UntrainableError
from esrun.runs.far_costs import far_costs
from esrun.training.build import Run, scored_on
from esrun.training.slices import block_bytes, plan_blocks
from esrun.types import Task

QUADRATIC = 30
"""Numbers a parameter beyond which a strategy's state is taken for a matrix."""

MEMBER_BYTES, EPISODE_BYTES = 12, 12
"""Of a member its fitness, rank and weight; of an episode its key and return."""

SLOW_GENERATION = 1e12
"""Env steps that no machine makes within a minute."""

LARGEST_MATRIX = 4000
"""Parameters beyond which an update of a matrix is called slow: a decomposition takes seconds and
grows by n^3."""


def costs(built: Run, names: dict[str, str]) -> dict[str, Any]:
    """-> the figures, bytes and counts; None for what cannot be known before the run."""
    config, parts = built.config, built.parts
    p, n, generations = parts.strategy.population_size, parts.n, config.generations
    blocks = plan_blocks(parts, built.local_devices, config.runtime.population_chunk)
    members, member_bytes = blocks.size, block_bytes(parts, blocks.size) // blocks.size
    state = parts.once(
        ("first state", built.program.init),
        lambda: built.program.init.results(built.hyper, np.uint32(0)),
    )
    steps = parts.task.steps
    here = -(-p // len(built.local_devices))
    evaluations = 1 + -(-generations // config.eval.every)  # the first policy's too
    held_out = scored_on(config, parts.task)
    shared = memory.sharing(built.local_devices)
    whole, free = memory.of_each(built.local_devices), memory.free_of_each(built.local_devices)
    needs = _needs(built, state, members * member_bytes, members)
    cost = names | {
        "devices": devices.names(built.local_devices),
        "device_kind": built.local_devices[0].device_kind,
        "precision": config.runtime.precision,
        "num_params": n,
        "layers": _layers(parts),
        "state_bytes": memory.tree_bytes(state.strategy),
        "checkpoint_bytes": memory.tree_bytes(state),
        "checkpoints": config.checkpoint.keep,
        "population_size": p,
        "constants": {name: np.asarray(x).item() for name, x in parts.strategy.constants.items()},
        "population_bytes_per_device": here * member_bytes,
        "blocks": blocks.count,
        "slices": blocks.each,
        "members_per_slice": members,
        "slice_bytes": members * member_bytes,
        "episodes_per_member": parts.task.episodes,
        "generations": generations,
        "evaluations": p * generations,
        "env_steps_per_generation": steps and p * steps,
        "env_steps": steps and p * steps * generations,
        "held_out": {
            "evaluations": evaluations,
            "episodes": held_out,
            "env_steps": _held_out_steps(parts.task, evaluations * held_out),
        },
        "least_memory_bytes": shared * sum(needs.values()),
        "workers": far_costs(built, state),
        "memory_bytes": whole and whole * shared,
        "free_memory_bytes": free and free * shared,
    }
    hopeless = _hopeless(cost, built, needs)
    return cost | {"hopeless": hopeless, "warnings": [] if hopeless else _warnings(cost, built)}


def _held_out_steps(task: Task, episodes: int) -> int | None:
    """-> env steps of held-out episodes; what an example of a validation part takes, only the run
    knows."""
    if task.validation or task.steps is None:
        return None
    return episodes * task.steps // task.episodes


def affordable(built: Run, names: dict[str, str]) -> list[str]:
    """-> the warnings for a run that is to be trained. Raises UntrainableError for a hopeless
    one."""
    cost = costs(built, names)
    if cost["hopeless"]:
        raise UntrainableError(cost["hopeless"])
    return cost["warnings"]


def _layers(parts) -> list[dict]:
    """-> the policy's modules with the shapes of their parameters."""
    params = parts.once("params", lambda: jax.eval_shape(parts.policy.init, jax.random.key(0)))
    return [
        {
            "name": name,
            "shapes": {key: list(x.shape) for key, x in leaves.items()},
            "num_params": sum(x.size for x in leaves.values()),
        }
        for name, leaves in params.items()
    ]


def _is_matrix(cost: dict[str, Any], itemsize: int) -> bool:
    """Whether the strategy's state is a matrix of n x n."""
    return cost["state_bytes"] > QUADRATIC * cost["num_params"] * itemsize


def _linear(cost: dict[str, Any]) -> str:
    """-> the strategies to be recommended where a matrix is too much."""
    found = [name for name, x in registry.OPTIONS["strategy"].items() if x.schema.linear]  # type: ignore
    return " or ".join(f"strategy={name}" for name in found if name != cost["strategy"])


def _itemsize(built: Run) -> int:
    return 8 if built.config.runtime.precision == "float64" else 4


def _needs(built: Run, state: Any, slice_bytes: int, members: int) -> dict[str, int]:
    """-> bytes that a run cannot do without, by what is to be made smaller for less of them."""
    config, parts = built.config, built.parts
    episodes = "task.batch_size" if hasattr(config.task, "batch_size") else "task.episodes"
    played = {  # training and evaluation take turns
        episodes: EPISODE_BYTES * members * parts.task.episodes,
        "task.validation" if parts.task.validation else "eval.episodes": EPISODE_BYTES
        * scored_on(config, parts.task),
    }
    more = max(played, key=lambda name: played[name])
    references = 2 * memory.tree_bytes(state.references)
    return {
        "policy": 2 * memory.tree_bytes(state) - references + slice_bytes,
        "policy.norm_reference": references,
        "strategy.population_size": MEMBER_BYTES * parts.strategy.population_size,
        more: played[more],
    }


def _hopeless(cost: dict[str, Any], built: Run, needs: dict[str, int]) -> str | None:
    """-> why the run cannot be, with what to write instead; None where it can."""
    need, whole = cost["least_memory_bytes"], cost["memory_bytes"]
    if not whole or need <= whole:
        return None
    largest, itemsize = max(needs, key=lambda name: needs[name]), _itemsize(built)
    remedy = f"Make {'the policy' if largest == 'policy' else largest} smaller"
    small = QUADRATIC * cost["num_params"] * itemsize < whole
    if largest == "policy" and small and _is_matrix(cost, itemsize):
        remedy = f"Write {_linear(cost)}"
    return f"{shown(need)} will not fit: there are {shown(whole)}. {remedy}"


def _warnings(cost: dict[str, Any], built: Run) -> list[str]:
    """-> what is unwise, with what to write instead."""
    config, n, p = built.config, cost["num_params"], cost["population_size"]
    itemsize = _itemsize(built)
    need, free = cost["least_memory_bytes"], cost["free_memory_bytes"]
    lines = []
    if free and need > free:
        lines.append(
            f"{shown(need)} will not fit just now: {shown(free)} are free. End what else is running"
        )
    elif _is_matrix(cost, itemsize) and n > LARGEST_MATRIX:
        size = shown(n * n * itemsize)
        lines.append(
            f"{cost['strategy']} updates matrices of {n} x {n}, {size} each: slow. Faster: "
            f"{_linear(cost)}"
        )
    shows_data = hasattr(config.task, "batch_size")
    length = "batch_size" if shows_data else "episode_length"
    if (cost["env_steps_per_generation"] or 0) > SLOW_GENERATION:
        lines.append(
            f"a generation takes up to {cost['env_steps_per_generation']:.2g} env steps, minutes "
            f"at the best: write a smaller task.episodes or task.{length}"
        )
    targets = {key: getattr(config.stop, key) for key in ("fitness", "eval")}
    small = {key: x for key, x in targets.items() if x is not None and 0 < abs(x) < 1e-6}
    if small and itemsize == 4:
        key, value = next(iter(small.items()))
        lines.append(
            f"stop.{key}={value:g} is finer than float32 computes: write runtime.precision=float64"
        )
    busy, there = -(-cost["blocks"] // cost["slices"]), len(cost["devices"])
    if devices.on_cpu(built.local_devices) and config.runtime.devices == "auto" and busy > 1:
        there = devices.cores()
    if there >= 2 * busy and p >= there:
        blocks = "1 block of members keeps" if busy == 1 else f"{busy} blocks of members keep"
        lines.append(
            f"{blocks} {busy} of {there} devices busy: write "
            f"runtime.population_chunk={-(-p // there)}"
        )
    return [*lines, *_held_out_warnings(cost, built.parts.task)]


def _held_out_warnings(cost: dict[str, Any], task: Task) -> list[str]:
    """-> that the mean policy is scored too often, compared with what trains."""
    held_out = cost["held_out"]
    played = held_out["evaluations"] * held_out["episodes"]
    trained, what = cost["evaluations"] * cost["episodes_per_member"], "episodes"
    fewer = " or a smaller eval.episodes"
    if task.validation:  # an episode of training is a minibatch of its examples
        trained, what, fewer = cost["env_steps"] or trained, "examples", ""
    if played <= 0.5 * trained:
        return []
    return [
        f"held-out evaluation plays {played} {what} to training's {trained}: write a larger "
        f"eval.every{fewer}"
    ]
