"""LM-MA-ES: MA-ES whose matrix is a product of a few rank-one changes of the identity, O(n log n)
in memory and time.

Loshchilov, Glasmachers, Beyer: Large Scale Black-box Optimization by Limited-Memory Matrix
Adaptation, IEEE Transactions on Evolutionary Computation 23(2), 2019,
https://arxiv.org/abs/1705.06693. Line numbers are those of the paper's algorithm 1.

The update needs the weighted mean of z, and solutions give y = M z only. M = A_t ... A_1 with the
factors A_j = (1 - c_d,j) I + c_d,j m_j m_jᵀ, each of which the formula of Sherman and Morrison
undoes in O(n). M is linear, so the factors are undone once a generation, on the sum of w y: the
update is exact.

Three choices are ours, since the paper's rates are made for populations much smaller than n, and
grow with the population's size. They are at most 1 here, which makes a path its newest step: above
1 a path would change its sign every generation, above 2 it has no root. And of several paths that
are the newest step, which would stretch what is drawn along it again and again until the search
explodes, the slowest alone is a direction of M. In a population larger than n sigma grows by a
factor of e at most in a generation, as in Hansen's purecma.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.strategies.parts.constants import numbers_of, root, tabled
from esrun.strategies.parts.defaults import checked_parents, whole_population
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.shaping import by_order
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 M Mᵀ), its evolution path and the directions that M
    is made of."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    p_sigma: jax.Array  # [n]
    m: jax.Array  # [k, n] paths of z, the one with the shortest memory first
    generation: jax.Array  # [] int32


class Constants(NamedTuple):
    """The paper's default parameters. `weights` [p] are sorted, the best member's first."""

    weights: np.ndarray | jax.Array
    mu_eff: Number
    c_sigma: Number
    c_d: np.ndarray | jax.Array  # [k] how much of a direction goes into M
    c_c: np.ndarray | jax.Array  # [k] rate of a direction's path


def constants(n: int, population_size: int, parents: Number) -> Constants:
    """The default strategy parameters for k = 4 + floor(3 ln n) directions."""
    return tabled(_table, (n, population_size), parents)


def _table(xp: Any, structure: tuple, parents: Number) -> Constants:
    n, population_size = structure
    rank = xp.arange(1, population_size + 1)
    w = xp.where(rank <= parents, xp.maximum(0, xp.log(parents + 0.5) - xp.log(rank)), 0)
    i = np.arange(4 + int(3 * math.log(n)))
    rate = population_size / (4.0**i * n)
    again = np.append(rate[1:] >= 1, False)  # the next one is the newest step too
    return Constants(
        weights=w / w.sum(),
        mu_eff=xp.maximum(1, w.sum() ** 2 / (w**2).sum()),
        c_sigma=min(1.0, 2 * population_size / n),
        # 1/2: with n = 1 the paper's first factor has no inverse
        c_d=np.where(again, 0, np.minimum(1 / 2, 1 / (1.5**i * n))),
        c_c=np.minimum(1.0, rate),
    )


def make_lm_ma_es(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
    parents: Number | None,
    c_m: Number,
) -> Strategy:
    """LM-MA-ES over n parameters.

    `population_size` may be "auto", 4 + floor(3 ln n); `parents` None is half of it. Raises
    ValueError when there are more parents than members.
    """
    p = whole_population(population_size, n)
    mu = checked_parents(parents, p, default=p // 2)
    table = constants(n, p, mu)
    w, mu_eff, c_sigma, c_d, c_c = table

    def factors(state):
        """-> (c_d [k], m [k, n]); a direction that is not in use yet has c_d 0, which makes its
        factor the identity."""
        in_use = jnp.arange(len(c_d)) < state.generation
        return jnp.where(in_use, jnp.asarray(c_d, state.mean.dtype), 0), state.m

    def init(key, mean):
        del key
        zero = jnp.zeros_like(mean)
        return State(
            mean,
            jnp.asarray(sigma, mean.dtype),
            zero,
            jnp.zeros((len(c_c), n), mean.dtype),
            jnp.int32(0),
        )

    def ask(key, state, members):
        def transform(y, factor):
            c, m = factor
            return (1 - c) * y + c * (y @ m)[:, None] * m, None  # 10

        z = normal(key, members, n, state.mean.dtype)
        y, _ = jax.lax.scan(transform, z, factors(state))  # 9
        return perturbed(state.mean, state.sigma, y)

    def weigh(state, fitness):
        return by_order(fitness, jnp.asarray(w, state.mean.dtype))

    def recombine(state, solutions, weights):
        return weights @ ((solutions - state.mean) / state.sigma)

    def update(state, y_w, fitness):
        del fitness

        def undo(y, factor):
            c, m = factor
            return (y - c * (m @ y) / (1 - c + c * (m @ m)) * m) / (1 - c), None

        mean, sigma, p_sigma, m, generation = state
        z_w, _ = jax.lax.scan(undo, y_w, factors(state), reverse=True)

        mean = mean + c_m * sigma * y_w  # 12
        p_sigma = (1 - c_sigma) * p_sigma + root(mu_eff * c_sigma * (2 - c_sigma)) * z_w
        c = jnp.asarray(c_c, m.dtype)[:, None]
        m = (1 - c) * m + jnp.sqrt(mu_eff * c * (2 - c)) * z_w
        growth = c_sigma / 2 * (p_sigma @ p_sigma / n - 1)
        sigma = sigma * jnp.exp(jnp.minimum(growth, 1) if p > n else growth)  # 19
        return State(mean, sigma, p_sigma, m, generation + 1)

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        constants=numbers_of(mu, table),
    )
