"""Fitness shaping: from the fitness of a population to the weights of its members.

Every function takes fitness [p], higher is better. Non-finite fitness counts as the worst. But for
`by_order`, tied members get the same weight, the average over the ranks that they share:
`argsort(argsort(f))` would hand a plateau in [+z, -z] order an update.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from einops import rearrange

from esrun.types import Number

FEW = 512
"""Members up to which each is compared with each."""


def finite_or_worst(fitness: jax.Array) -> jax.Array:
    """-> fitness [p] in which NaN and both infinities are -inf."""
    return jnp.where(jnp.isfinite(fitness), fitness, -jnp.inf)


def tied_ranks(fitness: jax.Array) -> tuple[jax.Array, jax.Array]:
    """-> (first [p], last [p]): the ranks, 0 = best, that a member shares with those tied with
    it."""
    ascending = jnp.sort(finite_or_worst(fitness))
    # either is a few kernels; the default, a loop of bisections, is a hundred of them on a GPU
    method = "compare_all" if len(fitness) <= FEW else "scan_unrolled"
    worse = jnp.searchsorted(ascending, finite_or_worst(fitness), side="left", method=method)
    not_better = jnp.searchsorted(ascending, finite_or_worst(fitness), side="right", method=method)
    return len(fitness) - not_better, len(fitness) - 1 - worse


def centered_ranks(fitness: jax.Array) -> jax.Array:
    """-> weights [p] in [-1/2, 1/2], best highest, sum 0 (Salimans et al. 2017, section 2.1, with
    averaged ties)."""
    first, last = tied_ranks(fitness)
    # subtracted as integers: compiled division by a constant is inexact, and 1/2 - 1/2 of a plateau
    # would not be 0
    return (len(fitness) - 1 - first - last).astype(fitness.dtype) / (2 * (len(fitness) - 1))


def ranks_in_batches(fitness: jax.Array, batches: int) -> jax.Array:
    """-> weights [p]: the centred ranks of each member among those of its batch, of which there are
    `batches` of consecutive members, as large as each other."""
    cut = rearrange(fitness, "(batch member) -> batch member", batch=batches)
    return rearrange(jax.vmap(centered_ranks)(cut), "batch member -> (batch member)")


def z_score(fitness: jax.Array, offset: Number | None = None) -> jax.Array:
    """-> (fitness - mean) / std [p], or / (std + offset); a non-finite member stands with the worst
    finite one; all zero without spread."""
    finite = raw(fitness)
    unit = unit_of(finite)
    finite = finite / unit
    std = jnp.where(jnp.max(finite) == jnp.min(finite), 0.0, jnp.std(finite))
    divisor = jnp.where(std > 0, std if offset is None else std + offset / unit, 1.0)
    return jnp.where(std > 0, (finite - jnp.mean(finite)) / divisor, 0.0)


def unit_of(values: jax.Array, where: jax.Array | bool = True) -> jax.Array:
    """-> a power of two [] as large as the largest of the values `where` they count.

    Fitness is of any scale, and float32 squares neither 1e20 nor 1e-30. What is divided by its unit
    first can be squared, and no digit is lost.
    """
    _, exponent = jnp.frexp(jnp.max(jnp.abs(values), where=where, initial=0.0))
    info = jnp.finfo(values.dtype)  # the reciprocal is none that a processor takes for 0
    return jnp.ldexp(jnp.ones((), values.dtype), jnp.clip(exponent, info.minexp, info.maxexp - 3))


def mean_and_std(values: jax.Array, where: jax.Array) -> tuple[jax.Array, jax.Array]:
    """-> (mean [], standard deviation []) of the values [p] `where` they count; NaN if none
    does."""
    unit = unit_of(values, where)
    scaled = jnp.where(where, values / unit, 0.0)
    return unit * jnp.mean(scaled, where=where), unit * jnp.std(scaled, where=where)


def length_of(x: jax.Array) -> jax.Array:
    """-> the Euclidean norm [] of x [n] of any scale."""
    unit = unit_of(x)
    return unit * jnp.linalg.norm(x / unit)


def raw(fitness: jax.Array) -> jax.Array:
    """-> fitness [p] as it is; a non-finite member stands with the worst finite one."""
    finite = jnp.isfinite(fitness)
    worst = jnp.min(jnp.where(finite, fitness, jnp.inf))
    return jnp.where(finite, fitness, jnp.where(jnp.any(finite), worst, 0.0))


def by_rank(fitness: jax.Array, weights: jax.Array) -> jax.Array:
    """-> weights [p], one a member: `weights[0]` for the best and so on; tied members share the
    mean of theirs."""
    first, last = tied_ranks(fitness)
    cumulative = jnp.concatenate([jnp.zeros(1, weights.dtype), jnp.cumsum(weights)])
    shared = (cumulative[last + 1] - cumulative[first]) / (last + 1 - first)
    return jnp.where(first == last, weights[first], shared)


def by_order(fitness: jax.Array, weights: jax.Array) -> jax.Array:
    """-> weights [p], one a member: `weights[0]` for the best and so on; of tied members the lower
    number stands first.

    For members that are independent draws, whose numbers are then a fair lot. `by_rank` shortens
    the weighted mean of tied members, and a path of such means takes that for a step too long.
    """
    order = jnp.argsort(-finite_or_worst(fitness), stable=True)
    return jnp.zeros_like(weights).at[order].set(weights)


def signal_to_noise(fitness: jax.Array) -> jax.Array:
    """Fitness [p] of mirrored pairs 2i, 2i + 1 -> [] how much of it is a slope along the
    perturbations.

    The root mean square of half the difference within a pair, over the standard deviation of the
    pairs' means. Fitness that is noise alone gives 1, a linear one infinity; pairs with a
    non-finite member are left out.
    """
    plus, minus = rearrange(fitness, "(pair sign) -> sign pair", sign=2)
    finite = jnp.isfinite(plus) & jnp.isfinite(minus)
    unit = unit_of(jnp.maximum(jnp.abs(plus), jnp.abs(minus)), finite)
    plus, minus = plus / unit, minus / unit
    slope = jnp.mean(((plus - minus) / 2) ** 2, where=finite)
    return jnp.sqrt(slope / jnp.var((plus + minus) / 2, where=finite))


SHAPING = {"centered_ranks": centered_ranks, "z_score": z_score, "raw": raw}


def make_shaping(
    shaping: str, offset: Number | None, batches: int | None
) -> Callable[[jax.Array], jax.Array]:
    """-> (fitness [p]) -> weights [p], by a name of `SHAPING`; `offset` is of "z_score" alone and
    `batches` of "centered_ranks"."""
    if offset is not None:
        return functools.partial(z_score, offset=offset)
    if batches is not None and batches > 1:
        return functools.partial(ranks_in_batches, batches=batches)
    return SHAPING[shaping]
