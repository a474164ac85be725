"""Simple GA: the best members ever compete on, everybody else is a mutation of one of them.

Such, Madhavan, Conti, Lehman, Stanley, Clune: Deep Neuroevolution: Genetic Algorithms Are a
Competitive Alternative for Training Deep Neural Networks for Reinforcement Learning, 2017,
https://arxiv.org/abs/1712.06567, section 3.1: truncation selection, Gaussian mutation. Uniform
crossover is Syswerda's (1989); the paper has none.

All elites are members again, unchanged, under the numbers 0 to elites - 1 (the paper's single elite
is, too): they play the new generation's episodes like everybody else, and no fitness of an earlier
generation's luck is kept. Of tied members the lower number wins, so a plateau leaves the archive as
it is.

The interface adds members up; a population method wants to keep them apart. `weigh` therefore gives
rank k the weight k + 1 while k < elites, and 0 below, and `recombine` places a solution of weight k
+ 1 in row k of an array of zeros. Each row is filled by one member of one slice: the sum over
slices is the new archive, to the bit.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.defaults import decayed
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.shaping import finite_or_worst
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The archive of elites, best first, and how far from them their children are."""

    mean: jax.Array  # [n] the best elite
    sigma: jax.Array  # [] standard deviation of a mutation
    archive: jax.Array  # [elites, n]
    generation: jax.Array  # [] int32


def make_simple_ga(
    *,
    n: int,
    population_size: int,
    elites: int,
    crossover: bool,
    sigma: Number,
    sigma_decay: Number,
    sigma_limit: Number,
) -> Strategy:
    """The simple genetic algorithm over n parameters.

    Parents are drawn from the `elites` with equal chances. With `crossover` a child has two, and
    every parameter comes from either with probability 1/2. Sigma is multiplied by its decay after
    every generation, down to its limit; a limit above the first value leaves that as it is.
    """

    def init(key, mean):
        del key
        return State(
            mean, jnp.asarray(sigma, mean.dtype), jnp.tile(mean, (elites, 1)), jnp.int32(0)
        )

    def ask(key, state, members):
        z_key, parents_key = jax.random.split(key)

        def breed(member, z):
            parent_key, other_key, mask_key = jax.random.split(
                jax.random.fold_in(parents_key, member), 3
            )
            parent = state.archive[jax.random.randint(parent_key, (), 0, elites)]
            if crossover:
                other = state.archive[jax.random.randint(other_key, (), 0, elites)]
                parent = jnp.where(jax.random.bernoulli(mask_key, 0.5, (n,)), parent, other)
            child = perturbed(parent, state.sigma, z)
            return jnp.where(member < elites, state.archive[jnp.minimum(member, elites - 1)], child)

        return jax.vmap(breed)(members, normal(z_key, members, n, state.mean.dtype))

    def weigh(state, fitness):
        best = jnp.argsort(-finite_or_worst(fitness), stable=True)[:elites]
        rows = jnp.arange(1, elites + 1, dtype=state.mean.dtype)
        return jnp.zeros(population_size, state.mean.dtype).at[best].set(rows)

    def recombine(state, solutions, weights):
        rows = weights.astype(jnp.int32) - 1  # -1 is nobody's: segment_sum drops it
        return jax.ops.segment_sum(solutions, rows, num_segments=elites)

    def update(state, archive, fitness):
        del fitness
        generation = state.generation + 1
        return State(
            mean=archive[0],
            sigma=decayed(sigma, sigma_decay, sigma_limit, generation).astype(state.sigma.dtype),
            archive=archive,
            generation=generation,
        )

    return Strategy(
        population_size=population_size,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
    )
