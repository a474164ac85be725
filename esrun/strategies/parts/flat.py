"""A generation that tells nothing changes nothing, whatever the strategy.

Averages over members that nothing tells apart are noise: they move a mean, shorten paths, let a
momentum coast and a sigma fall. Keeping the state is done here for all strategies, those of
plug-ins too, and none of them needs a word about it.
"""

import jax
import jax.numpy as jnp

from esrun.backend.memory import tree_bytes
from esrun.strategies.parts.padding import unpadded
from esrun.strategies.parts.shaping import finite_or_worst
from esrun.types import Strategy

LARGE = 2**20
"""Bytes of a state from which choosing between two of them costs more than a loop that runs once or
not at all, whose body changes matrices where they lie."""


def still_where_flat(strategy: Strategy) -> Strategy:
    """-> the strategy, whose state a generation that tells nothing leaves to `Strategy.flat`.

    Nothing is told where no two members differ in fitness, members without a finite one counting as
    equal and as the worst, and where every member's weight is 0, as if nobody were there.
    """

    def recombine(state, solutions, weights):
        counted = jnp.sum(weights != 0, dtype=jnp.int32)
        return strategy.recombine(state, solutions, weights), counted

    def update(state, sums, fitness):
        own, counted = sums
        comparable = finite_or_worst(fitness)
        best = jnp.max(comparable)
        told = (best > jnp.min(unpadded(comparable, strategy.members, jnp.inf))) & (counted > 0)
        kept = strategy.flat(state, fitness)
        if tree_bytes(state) < LARGE:
            after = strategy.update(state, own, fitness)
            return jax.tree.map(lambda new, old: jnp.where(told, new, old), after, kept)

        def once(loop):
            return False, strategy.update(loop[1], own, fitness)

        first = jax.tree.map(lambda x, y: x if x is y else jnp.where(told, x, y), state, kept)
        return jax.lax.while_loop(lambda loop: loop[0], once, (told, first))[1]

    return strategy._replace(recombine=recombine, update=update)
