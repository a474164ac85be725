"""Padding: a population of fewer members than its arrays have room for.

A program is compiled for arrays of one length. Where the number of members is an argument, the
first of them are there and the rest is padding, which must count for nothing.
"""

import jax
import jax.numpy as jnp

from esrun.backend import devices
from esrun.types import Number, Strategy

ON_CPU, ON_ACCELERATORS = 8, 2
"""How many times the members of the smallest population a room holds. A CPU does not compute blocks
of nothing but padding, which an accelerator does."""


def times() -> int:
    """-> how many times as many members the largest population of a room has as the smallest."""
    return ON_CPU if devices.on_cpu() else ON_ACCELERATORS


def room_of(members: int, first: int) -> int:
    """-> the length of the arrays for so many `members`, where the first search has `first`: rooms
    are as many times larger, one than the other, for all searches to share few programs."""
    room = first * times()
    while room < members:
        room *= times()
    return room


def is_last_of_its_room(members: int, first: int) -> bool:
    """Whether twice as many `members` need another room."""
    return room_of(2 * members, first) > room_of(members, first)


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
