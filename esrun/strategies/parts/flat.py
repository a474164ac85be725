"""A generation that tells nothing changes nothing, whatever the strategy.

Averages over members that nothing tells apart are noise: they move a mean, shorten paths, let a
momentum coast and a sigma fall. Keeping the state is done here for all strategies, those of
plug-ins too, and none of them needs a word about it.
"""

import jax
import jax.numpy as jnp

from esrun.strategies.parts.shaping import finite_or_worst
from esrun.types import Strategy


def still_where_flat(strategy: Strategy) -> Strategy:
    """-> the strategy, whose state a generation that tells nothing leaves to `Strategy.flat`.

    Nothing is told where no two members differ in fitness, members without a finite one counting as
    equal and as the worst, and where every member's weight is 0, as if nobody were there.
    """

    def update(state, sums, fitness):
        comparable = finite_or_worst(fitness)
        differs = jnp.max(comparable) > jnp.min(comparable)
        told = differs & jnp.any(strategy.weigh(state, fitness) != 0)
        after, kept = strategy.update(state, sums, fitness), strategy.flat(state, fitness)
        return jax.tree.map(lambda new, old: jnp.where(told, new, old), after, kept)

    return strategy._replace(update=update)
