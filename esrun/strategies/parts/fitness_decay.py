"""Weight decay on the side of the reward: a member's fitness pays for its parameters before it is
shaped.

As in the tutorial "Evolving Neural Networks in JAX", https://github.com/ttt733/nn-evolution-jax:
its text divides by the sum of |w|, its advanced.py by that of w^2, its parallel.py adds that of w^2
up to a constant. The decay of Salimans et al. 2017 is another one: it shortens the mean
(`weight_decay`) and leaves fitness alone.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from esrun.types import Number

DECAYS = {
    "divide_l1": lambda w, f, c: f / (c * jnp.sum(jnp.abs(w), axis=1)),
    "divide_l2": lambda w, f, c: f / (c * jnp.sum(w**2, axis=1)),
    "subtract_l2": lambda w, f, c: f - c * jnp.sum(w**2, axis=1),
}


def make_fitness_decay(
    decay: str | None, coefficient: Number | None
) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """-> (solutions w [m, n], fitness f [m]) -> the fitness [m] that is shaped, by a name of
    `DECAYS`; None for none. The `coefficient` c is above 0 where it divides."""
    if decay is None:
        return None
    decayed = DECAYS[decay]
    return lambda solutions, fitness: decayed(solutions, fitness, coefficient)
