"""xNES: exponential natural evolution strategy, a natural gradient on the mean and on the whole
covariance matrix.

Wierstra, Schaul, Glasmachers, Sun, Peters, Schmidhuber: Natural Evolution Strategies, JMLR 15,
2014, https://jmlr.org/papers/v15/wierstra14a.html, algorithm 5; utilities and learning rates of
table 1.

The algorithm draws with Bᵀ and steps with B, which is one thing only while B is symmetric; here
both are B, y = B z, as in Glasmachers, Schaul, Sun, Wierstra, Schmidhuber: Exponential Natural
Evolution Strategies, GECCO 2010. Solutions give y: sums of u y and u y yᵀ add over slices, and B⁻¹
(sum u y yᵀ) B⁻ᵀ is the algorithm's sum of u z zᵀ.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.defaults import whole_population
from esrun.strategies.parts.natural import utilities
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.products import multiply_rows
from esrun.strategies.parts.shaping import by_rank
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 B Bᵀ)."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    B: jax.Array  # [n, n], of determinant 1


class Sums(NamedTuple):
    """What the update needs of a slice of the population."""

    y_w: jax.Array  # [n] sum of u y
    y_squared_w: jax.Array  # [n, n] sum of u y yᵀ


def make_xnes(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
    learning_rate: Number,
    learning_rate_sigma: Number | None,
    learning_rate_shape: Number | None,
) -> Strategy:
    """xNES over n parameters.

    `population_size` may be "auto", 4 + floor(3 ln n); `learning_rate` is the mean's, and None for
    one of the others is (9 + 3 ln n) / (5 n sqrt(n)) (all table 1).
    """
    p = whole_population(population_size, n)
    default = (9 + 3 * math.log(n)) / (5 * n * math.sqrt(n))
    eta_sigma = default if learning_rate_sigma is None else learning_rate_sigma
    eta_B = default if learning_rate_shape is None else learning_rate_shape
    u = utilities(p)

    def init(key, mean):
        del key
        return State(mean, jnp.asarray(sigma, mean.dtype), jnp.eye(n, dtype=mean.dtype))

    def ask(key, state, members):
        z = normal(key, members, n, state.mean.dtype)
        y = multiply_rows(z, state.B, p, axis=1)
        return perturbed(state.mean, state.sigma, y)

    def weigh(state, fitness):
        return by_rank(fitness, jnp.asarray(u, state.mean.dtype))

    def recombine(state, solutions, weights):
        y = (solutions - state.mean) / state.sigma
        return Sums(weights @ y, (y.T * weights) @ y)

    def update(state, sums, fitness):
        del fitness
        mean, sigma, B = state
        factors = jax.scipy.linalg.lu_factor(B)
        half = jax.scipy.linalg.lu_solve(factors, sums.y_squared_w)
        gradient = jax.scipy.linalg.lu_solve(
            factors, half.T
        )  # sum of u (z zᵀ - I), for the utilities' sum is 0
        gradient = (gradient + gradient.T) / 2
        gradient_sigma = jnp.trace(gradient) / n
        gradient_B = gradient - gradient_sigma * jnp.eye(n, dtype=mean.dtype)

        mean = mean + learning_rate * sigma * sums.y_w  # sigma B times the sum of u z
        sigma = sigma * jnp.exp(eta_sigma / 2 * gradient_sigma)
        B = B @ jax.scipy.linalg.expm(eta_B / 2 * gradient_B)
        return State(mean, sigma, B)

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
    )
