"""The row of metrics of a generation, as far as the program computes it."""

from typing import Any

import jax
import jax.numpy as jnp

from esrun.strategies.parts.padding import how_many, unpadded
from esrun.strategies.parts.shaping import finite_or_worst, length_of, mean_and_std
from esrun.types import Number, Strategy


def figures(
    strategy: Strategy,
    before: Any,
    step: jax.Array,
    fitness: jax.Array,
    finite: jax.Array,
    decayed: jax.Array | None = None,
) -> dict:
    """-> a row of metrics of a generation, drawn from the state `before`, whose mean then moved by
    `step` [].

    Best, mean and standard deviation are over the members whose `fitness` [p] is `finite` [p]. Ties
    and what the strategy diagnoses are of what members are selected by: the `decayed` one [p] where
    there is one.
    """
    mean, std = mean_and_std(fitness, finite)
    selected_by = fitness if decayed is None else decayed
    more = strategy.diagnose(before, selected_by)
    if decayed is not None:
        more = {"decayed_fitness_mean": mean_and_std(decayed, jnp.isfinite(decayed))[0]} | more
    return {
        "fitness_best": jnp.max(finite_or_worst(fitness)),
        "fitness_mean": mean,
        "fitness_std": std,
        "sigma": before.sigma,
        "non_finite": how_many(strategy) - jnp.sum(finite, dtype=jnp.int32),
        "tied": share_tied(selected_by, strategy.members),
        "step_per_sigma": step / before.sigma,
        "step_per_mean": step / length_of(before.mean),
    } | more


def totals(mean: jax.Array) -> dict:
    """-> what `metrics.jsonl` tells of the mean [n] that a generation leaves: its total weight, its
    least and greatest parameter."""
    return {
        "mean_abs_sum": jnp.sum(jnp.abs(mean)),
        "mean_min": jnp.min(mean),
        "mean_max": jnp.max(mean),
    }


def share_tied(fitness: jax.Array, members: Number | None) -> jax.Array:
    """-> the share [] of the `members` (None: all) whose fitness [p] another one has too."""
    if members is None:
        return jnp.mean(tied(fitness), dtype=fitness.dtype)
    ascending = jnp.sort(unpadded(finite_or_worst(fitness), members, -jnp.inf))
    real = jnp.arange(len(fitness)) >= len(fitness) - members
    same = real[:-1] & (ascending[1:] == ascending[:-1])
    both = jnp.append(same, False) | jnp.append(False, same)
    return jnp.mean(both, dtype=fitness.dtype, where=real)


def tied(fitness: jax.Array) -> jax.Array:
    """Fitness [p] -> [p] bool in ascending order of fitness, whether another member has the
    same."""
    ascending = jnp.sort(finite_or_worst(fitness))  # the sort of the ranks: compiled and done once
    same = ascending[1:] == ascending[:-1]
    return jnp.append(same, False) | jnp.append(False, same)
