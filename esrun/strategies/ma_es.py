"""MA-ES: CMA-ES without the covariance matrix, its decomposition and the second evolution path.

Beyer, Sendhoff: Simplify Your Covariance Matrix Adaptation Evolution Strategy, IEEE Transactions on
Evolutionary Computation 21(5), 2017, https://doi.org/10.1109/TEVC.2017.2680320. (M1)-(M12) are the
lines of the paper's figure 3, the constants those of the CMA-ES that it starts from.

Line (M11) needs the sum of w z zᵀ and solutions give y = M z only. Sums of w y and w y yᵀ add over
slices, and with sum w y yᵀ = M (sum w z zᵀ) Mᵀ one factorisation of M a generation turns them into
the paper's own quantities: the update is exact. M never becomes singular: (M11) multiplies it by a
positive definite matrix.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.constants import constants, numbers_of, root
from esrun.strategies.parts.defaults import checked_parents, whole_population
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.products import multiply_rows
from esrun.strategies.parts.shaping import by_order
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 M Mᵀ) and its evolution path."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    M: jax.Array  # [n, n]
    p_sigma: jax.Array  # [n]


class Sums(NamedTuple):
    """What the update needs of a slice of the population."""

    y_w: jax.Array  # [n] sum of w y over the parents
    rank_mu: jax.Array  # [n, n] sum of w y yᵀ over the parents


def make_ma_es(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
    parents: Number | None,
    c_m: Number,
) -> Strategy:
    """MA-ES over n parameters.

    `population_size` may be "auto", 4 + floor(3 ln n); `parents` None is half of it. Raises
    ValueError when there are more parents than members.
    """
    p = whole_population(population_size, n)
    mu = checked_parents(parents, p, default=p // 2)
    table = constants(n, p, mu, active=False)
    w, mu_eff, c_sigma, d_sigma, _, c_1, c_mu, chi_n = table

    def init(key, mean):
        del key
        return State(
            mean, jnp.asarray(sigma, mean.dtype), jnp.eye(n, dtype=mean.dtype), jnp.zeros_like(mean)
        )  # M1

    def ask(key, state, members):
        z = normal(key, members, n, state.mean.dtype)  # M4
        y = multiply_rows(z, state.M, p, axis=1)  # M5
        return perturbed(state.mean, state.sigma, y)  # M6

    def weigh(state, fitness):
        return by_order(fitness, jnp.asarray(w, state.mean.dtype))  # M8

    def recombine(state, solutions, weights):
        y = (solutions - state.mean) / state.sigma
        return Sums(weights @ y, (y.T * weights) @ y)

    def update(state, sums, fitness):
        del fitness
        mean, sigma, M, p_sigma = state
        factors = jax.scipy.linalg.lu_factor(M)
        z_w = jax.scipy.linalg.lu_solve(factors, sums.y_w)
        rank_mu = jax.scipy.linalg.lu_solve(factors, sums.rank_mu).T  # M (sum w z zᵀ)

        mean = mean + c_m * sigma * sums.y_w  # M9
        p_sigma = (1 - c_sigma) * p_sigma + root(mu_eff * c_sigma * (2 - c_sigma)) * z_w  # M10
        rank_one = jnp.outer(M @ p_sigma, p_sigma)
        M = (1 - c_1 / 2 - c_mu / 2) * M + c_1 / 2 * rank_one + c_mu / 2 * rank_mu  # M11
        sigma = sigma * jnp.exp(c_sigma / d_sigma * (jnp.linalg.norm(p_sigma) / chi_n - 1))  # M12
        return State(mean, sigma, M, p_sigma)

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        constants=numbers_of(mu, table._replace(c_c=None)),
    )
