"""Padding: a population of fewer members than its arrays have room for.

A program is compiled for arrays of one length. Where the number of members is an argument, the
first of them are there and the rest is padding, which must count for nothing.
"""

import jax
import jax.numpy as jnp

from esrun.types import Number, Strategy


def how_many(strategy: Strategy) -> Number:
    """-> how many members there are."""
    return strategy.population_size if strategy.members is None else strategy.members


def unpadded(values: jax.Array, members: Number | None, neutral: float) -> jax.Array:
    """-> values [p], `neutral` in the place of those beyond the `members` that there are; None:
    all."""
    return values if members is None else jnp.where(there(values, members), values, neutral)


def there(values: jax.Array, members: Number) -> jax.Array:
    """-> which of the values [p] are a member's, [p] bool."""
    return jnp.arange(len(values)) < members
