"""What a run costs whose blocks workers evaluate: what travels, and what the engine takes."""

from typing import Any

import jax
import jax.numpy as jnp

from esrun.backend import memory
from esrun.backend.memory import shown
from esrun.training.build import Run

ABOUT, ARRAY = 110, 62
"""About the bytes of a message besides its numbers: of it all, and of each array."""
ROUND_TRIP, BLOCK = 0.003, 0.0005
"""Seconds that Ray takes on one machine for a generation, and for a block that somebody is given
alone (`python scripts/bench far`)."""


def far_costs(built: Run, state: Any) -> dict[str, Any] | None:
    """-> bytes and seconds of a generation, for a training state of these shapes; None where this
    process evaluates."""
    apart = built.program.apart
    if built.config.runtime.engine == "local":
        return None
    seen = apart.nothing(built.hyper, jnp.uint32(0), state)
    blocks, there = len(seen.fitness), len(apart.wanted(built.hyper))
    own, around = state._replace(archive=None), _around(seen)
    sums = apart.shapes_of_sums(built.hyper, jnp.uint32(0), state)
    told, whole = memory.tree_bytes(seen) * there // blocks, memory.tree_bytes(own)
    return {
        "engine": built.config.runtime.engine,
        "blocks": there,
        "bytes_to_each_worker": min(told + around, whole + _around(own)),
        "bytes_from_all_workers": told + there * around,
        "bytes_to_a_worker_that_joins": whole + _around(own),
        "bytes_of_shared_sums": memory.tree_bytes(sums),
        "overhead_seconds": ROUND_TRIP + there * BLOCK,
    }


def _around(tree: Any) -> int:
    """-> the bytes of a message besides the numbers of such arrays."""
    return ABOUT + ARRAY * len(jax.tree.leaves(tree))


def in_words(cost: dict[str, Any]) -> str:
    """-> the same as a line."""
    each, all_of_them, joins, sums = (
        shown(cost[f"bytes_{name}"])
        for name in (
            *("to_each_worker", "from_all_workers", "to_a_worker_that_joins"),
            "of_shared_sums",
        )
    )
    return (
        f"{cost['engine']}: a generation has {cost['blocks']} blocks, sends {each} to each worker "
        f"and hears up to {all_of_them}, which takes up to {1e3 * cost['overhead_seconds']:.0f} "
        f"ms; a worker that joins is sent {joins}, and each that shares sums of updates is sent "
        f"and sends {sums} more"
    )
