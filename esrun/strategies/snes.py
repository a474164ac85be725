"""SNES: separable natural evolution strategy, a natural gradient on the mean and on every
parameter's step size.

Wierstra, Schaul, Glasmachers, Sun, Peters, Schmidhuber: Natural Evolution Strategies, JMLR 15,
2014, https://jmlr.org/papers/v15/wierstra14a.html, algorithm 6; utilities and learning rates of
table 1.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.defaults import whole_population
from esrun.strategies.parts.natural import natural_gradients, utilities
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.shaping import by_rank
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, diag(sigmas)^2)."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # [] geometric mean of the sigmas
    sigmas: jax.Array  # [n] step size of every parameter


def make_snes(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
    learning_rate: Number,
    learning_rate_sigma: Number | None,
) -> Strategy:
    """SNES over n parameters.

    `population_size` may be "auto", 4 + floor(3 ln n); `learning_rate` is the mean's, and
    `learning_rate_sigma` None is (3 + ln n) / (5 sqrt(n)) (both table 1).
    """
    p = whole_population(population_size, n)
    eta_sigma = (
        (3 + math.log(n)) / (5 * math.sqrt(n))
        if learning_rate_sigma is None
        else learning_rate_sigma
    )
    u = utilities(p)

    def init(key, mean):
        del key
        return State(mean, jnp.asarray(sigma, mean.dtype), jnp.full(n, sigma, mean.dtype))

    def ask(key, state, members):
        return perturbed(state.mean, state.sigmas, normal(key, members, n, state.mean.dtype))

    def weigh(state, fitness):
        return by_rank(fitness, jnp.asarray(u, state.mean.dtype))

    def update(state, gradients, fitness):
        del fitness
        sigmas = state.sigmas * jnp.exp(eta_sigma / 2 * gradients.sigmas)
        return State(
            mean=state.mean + learning_rate * state.sigmas * gradients.mean,
            sigma=jnp.exp(jnp.mean(jnp.log(sigmas))),
            sigmas=sigmas,
        )

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=natural_gradients,
        update=update,
    )
