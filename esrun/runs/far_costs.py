"""What a run costs whose blocks workers evaluate: what travels, and what the engine takes."""

from typing import Any

import jax.numpy as jnp

from esrun.backend import memory
from esrun.backend.memory import shown
from esrun.training.build import Run

MESSAGE = 600
"""About the bytes of a message besides its arrays."""
ROUND_TRIP = 0.0064
"""Seconds that Ray takes to ask four workers something of 3 KB and to have their answers, on one
machine."""


def far_costs(built: Run, state: Any) -> dict[str, Any] | None:
    """-> bytes and seconds of a generation, for a training state of these shapes; None where this
    process evaluates."""
    apart = built.program.apart
    if built.config.runtime.engine == "local":
        return None
    seen = apart.nothing(built.hyper, jnp.uint32(0), state)
    blocks, there = len(seen.fitness), len(apart.wanted(built.hyper))
    told = memory.tree_bytes(seen) * there // blocks
    whole = memory.tree_bytes(state._replace(archive=None))
    return {
        "engine": built.config.runtime.engine,
        "blocks": there,
        "bytes_to_each_worker": min(told, whole) + MESSAGE,
        "bytes_from_all_workers": told + there * MESSAGE,
        "bytes_to_a_worker_that_joins": whole + MESSAGE,
        "overhead_seconds": ROUND_TRIP,
    }


def in_words(cost: dict[str, Any]) -> str:
    """-> the same as a line."""
    each, all_of_them, joins = (
        shown(cost[f"bytes_{name}"])
        for name in ("to_each_worker", "from_all_workers", "to_a_worker_that_joins")
    )
    return (
        f"{cost['engine']}: a generation has {cost['blocks']} blocks, sends {each} to each worker "
        f"and hears up to {all_of_them}, which takes some {1e3 * cost['overhead_seconds']:.0f} ms; "
        f"a worker that joins is sent {joins}"
    )
