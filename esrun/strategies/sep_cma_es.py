"""Separable CMA-ES: CMA-ES with a diagonal covariance matrix, linear in n in time and memory.

Ros, Hansen: A Simple Modification in CMA-ES Achieving Linear Time and Space Complexity, PPSN 2008,
https://doi.org/10.1007/978-3-540-87700-4_30. Equation numbers are those of CMA-ES' tutorial,
https://arxiv.org/abs/1604.00772, whose equations the paper takes over with C diagonal.

Two choices differ from the paper and agree with `SepCMA` of the package cmaes: the paper's single
rate c_cov, raised by (n + 2) / 3, is kept for the rank-mu update alone, and the rank-one update has
the tutorial's c_1. One is ours: c_mu is at most 1 - c_1, without which a large population in few
dimensions makes variances negative.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.constants import Constants, numbers_of, root, tabled
from esrun.strategies.parts.defaults import checked_parents, whole_population
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.shaping import by_order
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 diag(C)) and its evolution paths."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    C: jax.Array  # [n] the diagonal
    p_sigma: jax.Array  # [n]
    p_c: jax.Array  # [n]
    generation: jax.Array  # [] int32


class Sums(NamedTuple):
    """What the update needs of a slice of the population."""

    y_w: jax.Array  # [n] sum of w y over the parents
    rank_mu: jax.Array  # [n] sum of w y^2 over the parents


def constants(n: int, population_size: int, parents: Number) -> Constants:
    """The default strategy parameters, with the positive weights on the first `parents` members."""
    return tabled(_table, (n, population_size), parents)


def _table(xp: Any, structure: tuple, parents: Number) -> Constants:
    n, population_size = structure
    rank = xp.arange(1, population_size + 1)
    w = xp.where(rank <= parents, xp.maximum(0, xp.log(parents + 1) - xp.log(rank)), 0)
    weights = w / w.sum()
    mu_eff = xp.maximum(1, 1 / (weights**2).sum())

    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)  # 57
    c_cov = 2 / (mu_eff * (n + math.sqrt(2)) ** 2) + (1 - 1 / mu_eff) * xp.minimum(
        1.0, (2 * mu_eff - 1) / ((n + 2) ** 2 + mu_eff)
    )
    c_sigma = (mu_eff + 2) / (n + mu_eff + 3)
    return Constants(
        weights=weights,
        mu_eff=mu_eff,
        c_sigma=c_sigma,
        d_sigma=1 + 2 * xp.maximum(0.0, xp.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma,  # 55
        c_c=4 / (n + 4),
        c_1=c_1,
        c_mu=xp.minimum(1 - c_1, (n + 2) / 3 * c_cov),
        chi_n=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )


def make_sep_cma_es(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
    parents: Number | None,
    c_m: Number,
) -> Strategy:
    """Separable CMA-ES over n parameters.

    `population_size` may be "auto", 4 + floor(3 ln n); `parents` None is half of it. Raises
    ValueError when there are more parents than members.
    """
    p = whole_population(population_size, n)
    mu = checked_parents(parents, p, default=p // 2)
    table = constants(n, p, mu)
    w, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi_n = table

    def init(key, mean):
        del key
        zero = jnp.zeros_like(mean)
        return State(
            mean, jnp.asarray(sigma, mean.dtype), jnp.ones_like(mean), zero, zero, jnp.int32(0)
        )

    def ask(key, state, members):
        # the barrier keeps XLA from regrouping z's own products with sqrt(C): a row's bits must not
        # depend on its company
        z = jax.lax.optimization_barrier(normal(key, members, n, state.mean.dtype))
        y = jnp.sqrt(state.C) * z  # 39
        return perturbed(state.mean, state.sigma, y)  # 40

    def weigh(state, fitness):
        return by_order(fitness, jnp.asarray(w, state.mean.dtype))

    def recombine(state, solutions, weights):
        y = (solutions - state.mean) / state.sigma
        return Sums(weights @ y, weights @ y**2)

    def update(state, sums, fitness):
        del fitness
        mean, sigma, C, p_sigma, p_c, generation = state
        y_w = sums.y_w  # 41
        mean = mean + c_m * sigma * y_w  # 42

        step = root(c_sigma * (2 - c_sigma) * mu_eff) * y_w
        p_sigma = (1 - c_sigma) * p_sigma + step / jnp.sqrt(C)  # 43
        length = jnp.linalg.norm(p_sigma)
        sigma = sigma * jnp.exp(c_sigma / d_sigma * (length / chi_n - 1))  # 44

        expected = jnp.sqrt(1 - (1 - c_sigma) ** (2.0 * (generation + 1))) * chi_n
        h_sigma = (length < (1.4 + 2 / (n + 1)) * expected).astype(mean.dtype)
        p_c = (1 - c_c) * p_c + h_sigma * root(c_c * (2 - c_c) * mu_eff) * y_w  # 45
        delta = (1 - h_sigma) * c_c * (2 - c_c)
        C = (1 + c_1 * delta - c_1 - c_mu) * C + c_1 * p_c**2 + c_mu * sums.rank_mu  # 47
        C = jnp.maximum(C, jnp.finfo(C.dtype).tiny)  # it divides
        return State(mean, sigma, C, p_sigma, p_c, generation + 1)

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        constants=numbers_of(mu, table),
    )
