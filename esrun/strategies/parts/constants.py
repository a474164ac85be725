"""The constants of CMA-ES, table 1 of Hansen's tutorial, which MA-ES starts from too.

https://arxiv.org/abs/1604.00772; equation numbers are the tutorial's.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend.fences import Fence
from esrun.types import Number

NOTHING = 1e-30
"""A divisor in the place of 0, where the quotient counts for nothing."""


class Rates(NamedTuple):
    """Those of table 1 that may be given, each [] or None for the table's own."""

    c_sigma: Number | None = None
    d_sigma: Number | None = None
    c_c: Number | None = None
    c_1: Number | None = None
    c_mu: Number | None = None


TUTORIALS = Rates()

Table = TypeVar("Table", bound=tuple)


class Constants(NamedTuple):
    """Table 1. `weights` [p] are sorted, the best member's first."""

    weights: np.ndarray | jax.Array
    mu_eff: Number
    c_sigma: Number
    d_sigma: Number
    c_c: Number
    c_1: Number
    c_mu: Number
    chi_n: Number


def constants(
    n: int,
    population_size: int,
    parents: Number,
    active: bool,
    rates: Rates = TUTORIALS,
    members: Number | None = None,
) -> Constants:
    """The strategy parameters (eqs. 49-58), with the positive weights on the first `parents`
    members. What depends on a rate that is given, such as the negative weights, goes by it. Where
    only so many `members` are there, they are those of as many, and the other weights are 0."""
    return tabled(_table_1, (n, population_size, active), parents, rates, members)


def _table_1(
    xp: Any, structure: tuple, parents: Number, rates: Rates, members: Number | None
) -> Constants:
    n, population_size, active = structure
    rank = xp.arange(1, population_size + 1)
    w = xp.log(parents + 0.5) - xp.log(rank)  # 49, parents = p / 2 there
    positive = xp.where(rank <= parents, xp.maximum(w, 0), 0)
    negative = xp.where(rank <= parents, 0, xp.minimum(w, 0))
    if members is not None:
        negative = xp.where(rank <= members, negative, 0)
    mu_eff = xp.maximum(1, positive.sum() ** 2 / (positive**2).sum())
    mu_eff_minus = negative.sum() ** 2 / xp.maximum((negative**2).sum(), NOTHING)

    c_1, c_mu = rates.c_1, rates.c_mu
    if c_1 is None:
        c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)  # 57
        c_1 = c_1 if c_mu is None else xp.minimum(c_1, 1 - c_mu)
    if c_mu is None:
        c_mu = 2 * (mu_eff - 2 + 1 / mu_eff) / ((n + 2) ** 2 + mu_eff)
        c_mu = xp.maximum(0, xp.minimum(1 - c_1 - 1e-8, c_mu))  # 58
    # with one parent and no other c_mu is 0, and no negative weight can unbalance what is never
    # added
    alpha = xp.minimum(
        1 + c_1 / xp.maximum(c_mu, NOTHING),  # 50
        xp.minimum(
            1 + 2 * mu_eff_minus / (mu_eff + 2),  # 51
            (1 - c_1 - c_mu) / (n * xp.maximum(c_mu, NOTHING)),  # 52
        ),
    )
    # 1 - c_1 - c_mu is rounded, and may then be less than 0
    scale = xp.maximum(0, alpha) / xp.maximum(-negative.sum(), NOTHING) if active else 0.0
    weights = positive / positive.sum() + scale * negative  # 53

    c_sigma = (mu_eff + 2) / (n + mu_eff + 5) if rates.c_sigma is None else rates.c_sigma  # 55
    d_sigma = 1 + 2 * xp.maximum(0, xp.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma  # 55
    c_c = (4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n)  # 56
    return Constants(
        weights=weights,
        mu_eff=mu_eff,
        c_sigma=c_sigma,
        d_sigma=d_sigma if rates.d_sigma is None else rates.d_sigma,
        c_c=c_c if rates.c_c is None else rates.c_c,
        c_1=c_1,
        c_mu=c_mu,
        chi_n=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )


def tabled(table: Callable[..., Table], structure: tuple, *numbers: Any) -> Table:
    """-> `table(xp, structure, *numbers)`, its weights and rates.

    Numbers that are known before the trace are computed by NumPy in 64 bits, others in JAX's, in a
    piece of their own, whose bits are the same in every program.
    """
    if any(isinstance(x, jax.Array) for x in jax.tree.leaves(numbers)):
        return _fenced(table)(structure, *numbers)
    found = table(np, structure, *numbers)
    return jax.tree.map(lambda x: x if np.ndim(x) else float(x), found)


@functools.cache
def _fenced(table: Callable[..., Table]) -> Callable[..., Table]:
    """-> (structure, *numbers) -> the table, compiled once a structure where it is asked for by
    itself."""

    def fenced(structure, *numbers):
        true = jnp.asarray(jax.tree.leaves(numbers)[0]) >= 0
        return Fence(true).around(
            lambda *numbers: _arrays(table(jnp, structure, *numbers)), *numbers
        )

    return jax.jit(fenced, static_argnums=0)


def _arrays(table: Table) -> Table:
    return jax.tree.map(lambda x: jnp.asarray(x, float), table)


def root(x: Number) -> Number:
    """-> the square root of x; in 64 bits where x is known before the trace."""
    return jnp.sqrt(x) if isinstance(x, jax.Array) else math.sqrt(x)


def numbers_of(parents: Number, table: Any) -> dict[str, Any]:
    """-> the numbers that hold, by their names, of a table such as `Constants`."""
    mu = parents if isinstance(parents, jax.Array) else int(parents)
    numbers = {name: x for name, x in table._asdict().items() if x is not None}
    return {"mu": mu} | {name: x for name, x in numbers.items() if jnp.ndim(x) == 0}
