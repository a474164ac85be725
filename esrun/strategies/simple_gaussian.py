"""Simple Gaussian: mean and standard deviations of the best members become those of the next
population.

de Boer, Kroese, Mannor, Rubinstein: A Tutorial on the Cross-Entropy Method, Annals of Operations
Research 134, 2005, https://doi.org/10.1007/s10479-005-5724-z: continuous optimisation with
independent Gaussians. The floor under the standard deviations is ours; it stands in for the paper's
smoothing, without which they shrink before the mean arrives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.shaping import by_rank
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, diag(sigmas)^2)."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # [] geometric mean of the sigmas
    sigmas: jax.Array  # [n] standard deviation of every parameter


class Sums(NamedTuple):
    """What the update needs of a slice of the population."""

    z_w: jax.Array  # [n] sum of w z over the parents
    z_squared_w: jax.Array  # [n] sum of w z^2 over the parents


def make_simple_gaussian(
    *,
    n: int,
    population_size: int,
    sigma: Number,
    sigma_limit: Number,
    parents: int | None,
) -> Strategy:
    """The simple Gaussian strategy over n parameters.

    `parents` None is a tenth of the population, at least 2. No standard deviation falls below
    `sigma_limit`, or below sigma where that is less.
    """
    mu = max(2, population_size // 10) if parents is None else parents
    w = np.where(np.arange(population_size) < mu, 1 / mu, 0)

    def init(key, mean):
        del key
        return State(mean, jnp.asarray(sigma, mean.dtype), jnp.full(n, sigma, mean.dtype))

    def ask(key, state, members):
        return perturbed(state.mean, state.sigmas, normal(key, members, n, state.mean.dtype))

    def weigh(state, fitness):
        return by_rank(fitness, jnp.asarray(w, state.mean.dtype))

    def recombine(state, solutions, weights):
        z = (solutions - state.mean) / state.sigmas
        return Sums(weights @ z, weights @ z**2)

    def update(state, sums, fitness):
        del fitness
        variance = jnp.maximum(sums.z_squared_w - sums.z_w**2, 0)  # about the parents' own mean
        sigmas = jnp.maximum(state.sigmas * jnp.sqrt(variance), jnp.minimum(sigma, sigma_limit))
        return State(
            mean=state.mean + state.sigmas * sums.z_w,
            sigma=jnp.exp(jnp.mean(jnp.log(sigmas))),
            sigmas=sigmas,
        )

    return Strategy(
        population_size=population_size,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
    )
