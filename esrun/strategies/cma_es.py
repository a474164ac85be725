"""CMA-ES: covariance matrix adaptation.

Hansen: The CMA Evolution Strategy: A Tutorial, 2016, https://arxiv.org/abs/1604.00772. Equation
numbers are the tutorial's; figure 6 and table 1 hold the whole algorithm. Two choices are ours:
fitness is maximised, and solutions are drawn with the symmetric root of C, y = B D Bᵀ z, which has
the distribution of the tutorial's B D z and is continuous in C where B is not (a sign or an order
of eigenvectors that flips with the last bit would change every sample).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.constants import NOTHING, Rates, constants, numbers_of, root
from esrun.strategies.parts.defaults import checked_parents, whole_population
from esrun.strategies.parts.noise import normal, perturbed
from esrun.strategies.parts.products import multiply_rows
from esrun.strategies.parts.shaping import by_order
from esrun.strategies.parts.termination import (
    History,
    Spectrum,
    fresh_history,
    fresh_spectrum,
    fulfilled,
    noted,
    record,
)
from esrun.types import Number, Reason, Strategy

INDEFINITE_C = Reason("indefinite_C", failed=True)
"""C has a negative eigenvalue beyond rounding: it is no covariance any more."""


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 C), its evolution paths and the decomposition C = B
    D^2 Bᵀ."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    C: jax.Array  # [n, n]
    p_sigma: jax.Array  # [n]
    p_c: jax.Array  # [n]
    B: jax.Array  # [n, n] eigenvectors of C as of the last decomposition, one a column
    D: jax.Array  # [n] square roots of its eigenvalues
    generation: jax.Array  # [] int32
    spectrum: Spectrum  # of C when it was last decomposed
    history: History


class Sums(NamedTuple):
    """What the update needs of a slice of the population."""

    y_w: jax.Array  # [n] sum of w y over the parents
    white_w: jax.Array  # [n] D^-1 Bᵀ y_w
    rank_mu: jax.Array  # [n, n] sum of w° y yᵀ over all members


NEVER = 2**30
"""Generations after which a C that does not change is decomposed."""


def interval(n: int, c_1: Number, c_mu: Number) -> Number:
    """-> the generations between two decompositions of C, as in Hansen's purecma."""
    if isinstance(c_1 + c_mu, jax.Array):
        generations = 0.5 / (n * jnp.maximum(c_1 + c_mu, NOTHING))
        return jnp.clip(generations, 1, NEVER).astype(jnp.int32)
    return min(max(1, int(0.5 / (n * max(c_1 + c_mu, NOTHING)))), NEVER)


def make_cma_es(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
    parents: Number | None,
    c_m: Number,
    c_sigma: Number | None,
    d_sigma: Number | None,
    c_c: Number | None,
    c_1: Number | None,
    c_mu: Number | None,
    active: bool,
    decompose_every: int | str,
    restarts: str | None,
    members: Number | None,
    least: int | None,
) -> Strategy:
    """CMA-ES over n parameters.

    `population_size` may be "auto", 4 + floor(3 ln n) (eq. 48); `parents` None is half of it.
    The rates that are None are those of the tutorial's table 1; c_1 + c_mu must be at most 1.
    `active` gives the worse half negative weights. C is decomposed every `decompose_every`
    generations: "auto" is max(1, floor(0.5 / (n (c_1 + c_mu)))), five times the tutorial's appendix
    B.2 and the same as in Hansen's purecma. Where `restarts` follow (see
    `esrun.training.restarts`), stagnation ends a search too; without restarts it would stop slow
    but useful progress on noisy tasks. `members`: only the first so many of the population are
    there, at least `least`, and all is as it is in a population of that size.
    """
    p = whole_population(population_size, n)
    size = p if members is None else jnp.asarray(members, float)
    mu = checked_parents(parents, size, default=size / 2)
    table = constants(n, p, mu, active, Rates(c_sigma, d_sigma, c_c, c_1, c_mu), members)
    w, mu_eff, c_sigma, d_sigma, c_c, c_1, c_mu, chi_n = table
    total = w.sum()
    every = interval(n, c_1, c_mu) if decompose_every == "auto" else int(decompose_every)

    def init(key, mean):
        del key
        identity, zero = jnp.eye(n, dtype=mean.dtype), jnp.zeros_like(mean)
        return State(
            mean,
            jnp.asarray(sigma, mean.dtype),
            identity,
            zero,
            zero,
            identity,
            jnp.ones_like(mean),
            jnp.int32(0),
            fresh_spectrum(mean.dtype),
            fresh_history(n, restarts is not None, mean.dtype),
        )

    rows = least or p  # a search of few does not multiply many

    def ask(key, state, members):
        z = normal(key, members, n, state.mean.dtype)  # 38
        y = multiply_rows(multiply_rows(z, state.B, rows) * state.D, state.B, rows, axis=1)  # 39
        return perturbed(state.mean, state.sigma, y)  # 40

    def weigh(state, fitness):
        return by_order(fitness, jnp.asarray(w, state.mean.dtype))

    def recombine(state, solutions, weights):
        y = (solutions - state.mean) / state.sigma
        parent_weights = jnp.maximum(weights, 0)
        y_w = parent_weights @ y
        if active:
            white = y @ state.B / state.D
            white_w = parent_weights @ white
            length = jnp.sum(jnp.square(white), axis=1)
            weights = jnp.where(weights < 0, weights * n / jnp.maximum(length, 1e-8), weights)  # 46
        else:
            white_w = y_w @ state.B / state.D
        return Sums(y_w, white_w, (y.T * weights) @ y)

    def update(state, sums, fitness):
        mean, sigma, C, p_sigma, p_c, B, D, generation, spectrum, history = state
        y_w = sums.y_w  # 41
        mean = mean + c_m * sigma * y_w  # 42

        whitened = B @ sums.white_w  # C^(-1/2) y_w
        p_sigma = (1 - c_sigma) * p_sigma + root(c_sigma * (2 - c_sigma) * mu_eff) * whitened  # 43
        length = jnp.linalg.norm(p_sigma)
        sigma = sigma * jnp.exp(c_sigma / d_sigma * (length / chi_n - 1))  # 44

        expected = jnp.sqrt(1 - (1 - c_sigma) ** (2.0 * (generation + 1))) * chi_n
        h_sigma = (length < (1.4 + 2 / (n + 1)) * expected).astype(mean.dtype)
        p_c = (1 - c_c) * p_c + h_sigma * root(c_c * (2 - c_c) * mu_eff) * y_w  # 45
        rank_one = jnp.outer(p_c, p_c)
        delta = (1 - h_sigma) * c_c * (2 - c_c)
        C = (1 + c_1 * delta - c_1 - c_mu * total) * C + c_1 * rank_one + c_mu * sums.rank_mu  # 47

        history = record(history, generation, fitness, n, members)
        generation = generation + 1
        B, D, spectrum = jax.lax.cond(
            generation % every == 0,
            lambda: decompose(C, mean, sigma),
            lambda: (B, D, spectrum),
        )
        return State(mean, sigma, C, p_sigma, p_c, B, D, generation, spectrum, history)

    def flat(state, fitness):
        """What has been told nothing yet has not converged: only restarts give up then."""
        kept = state._replace(history=noted(state.history, fitness, n, members))
        if restarts is not None:
            return kept
        return jax.tree.map(lambda a, b: jnp.where(state.generation > 0, a, b), kept, state)

    def ended(state):
        smallest, largest, _ = state.spectrum
        tests = fulfilled(
            state.mean,
            state.sigma,
            jnp.sqrt(jnp.diag(state.C)),
            state.p_c,
            sigma,
            state.spectrum,
            state.history,
        )
        return tests | {INDEFINITE_C: smallest < -n * jnp.finfo(smallest.dtype).eps * largest}

    def diagnose(state, fitness):
        del fitness
        smallest, largest, _ = state.spectrum
        condition = largest / jnp.maximum(smallest, jnp.finfo(smallest.dtype).tiny)
        return {"condition": condition, "axis_ratio": jnp.sqrt(condition)}

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        flat=flat,
        ended=ended,
        diagnose=diagnose,
        constants=numbers_of(mu, table) | {"decompose_every": every},
        members=members,
        least=least,
    )


def decompose(
    C: jax.Array, mean: jax.Array, sigma: jax.Array
) -> tuple[jax.Array, jax.Array, Spectrum]:
    """C [n, n] -> (B [n, n], D [n], its spectrum). Eigenvalues below the precision of the type are
    lifted to it."""
    eigenvalues, B = jnp.linalg.eigh(C)
    floor = jnp.finfo(C.dtype).eps * jnp.max(eigenvalues)
    D = jnp.sqrt(jnp.maximum(eigenvalues, floor))
    no_effect = jnp.any(jnp.all(mean[:, None] + 0.1 * sigma * B * D == mean[:, None], axis=0))
    return B, D, Spectrum(eigenvalues[0], eigenvalues[-1], no_effect)
