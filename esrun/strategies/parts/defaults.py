"""Numbers that strategies derive in the same way: how many members, how many of them are parents,
how a number decays."""

import math
from typing import Any

import jax
import jax.core
import jax.numpy as jnp

from esrun.types import Number


def whole_population(population_size: int | str, n: int) -> int:
    """-> the population size; "auto" is 4 + floor(3 ln n) (Hansen's tutorial, eq. 48)."""
    return 4 + int(3 * math.log(n)) if population_size == "auto" else int(population_size)


def checked_parents(parents: Number | None, p: Number, default: Number) -> Number:
    """-> how many of p members are parents. Raises ValueError when there are more of them than
    members, which a program that is traced cannot tell: a run's parts are made with its numbers
    before."""
    mu = default if parents is None else parents
    if not any(isinstance(x, jax.core.Tracer) for x in (mu, p)) and mu > p:
        raise ValueError(f"strategy.parents must be at most the population size {p}, got {mu:.0f}")
    return mu


def least_sigma(dtype: Any) -> float:
    """-> the least step size that a type of floats has any use for: a digit of a step that small is
    the least number there is."""
    return float(jnp.finfo(dtype).tiny) / float(jnp.finfo(dtype).eps)


def decayed(first: Number, decay: Number, limit: Number, generation: jax.Array) -> jax.Array:
    """-> first decay^generation [], which falls to the limit at the lowest.

    The limit bounds the decay alone: a first value below it stays.
    """
    return jnp.maximum(first * decay**generation, jnp.minimum(first, limit))
