"""When CMA-ES has nothing left to do: the termination tests of Hansen's tutorial,
https://arxiv.org/abs/1604.00772, appendix B.3, under the names that pycma gives them.

EqualFunValues is not among them: it ends a run whose best members have all reached the highest
fitness that a task can give, long before its mean has. Thresholds are the tutorial's, but for
precision that float32 does not have.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.padding import unpadded
from esrun.strategies.parts.shaping import finite_or_worst
from esrun.types import Number, Reason

TOLERANCE = 1e-12
"""Of the fitness, and of the coordinates in units of the first sigma."""
LONGEST, PATIENCE = 20_000, 250
"""Generations that the stagnation test remembers at most, and between two of its looks, which sort
all of them."""


TOLFUN = Reason("tolfun")
TOLX = Reason("tolx")
TOLFACUPX = Reason("tolfacupx")
TOLCONDITIONCOV = Reason("tolconditioncov")
NOEFFECTAXIS = Reason("noeffectaxis")
NOEFFECTCOORD = Reason("noeffectcoord")
TOLSTAGNATION = Reason("tolstagnation")


class Spectrum(NamedTuple):
    """What the latest decomposition of C showed."""

    smallest: jax.Array  # [] eigenvalue
    largest: jax.Array  # []
    no_effect: (
        jax.Array
    )  # [] bool, a tenth of a standard deviation along a principal axis left the mean as it was


class History(NamedTuple):
    """Fitness of past generations."""

    best: jax.Array  # [10 + 30 n / p] the latest ones, oldest first
    flat: (
        jax.Array
    )  # [] bool, the latest generation's fitness and all of `best` lie within TOLERANCE
    long_best: (
        jax.Array | None
    )  # [LONGEST] generation g at g modulo LONGEST; None where stagnation ends nothing
    long_median: jax.Array | None
    stagnating: jax.Array  # [] bool


def fresh_spectrum(dtype) -> Spectrum:
    """-> the identity's."""
    return Spectrum(jnp.ones((), dtype), jnp.ones((), dtype), jnp.bool_(False))


def fresh_history(n: int, long: bool, dtype) -> History:
    """-> an empty one. `long` if stagnation is to be told. Its shapes are those of the default
    population size."""
    ring = jnp.full(LONGEST, -jnp.inf, dtype) if long else None
    best = jnp.full(10 + math.ceil(30 * n / (4 + 3 * math.log(n))), -jnp.inf, dtype)
    return History(best, jnp.bool_(False), ring, ring, jnp.bool_(False))


def record(
    history: History,
    generation: jax.Array,
    fitness: jax.Array,
    n: int,
    members: Number | None = None,
) -> History:
    """-> the history with the fitness [p] of one more generation, the number of those before it
    given. Of the fitness that of the first `members` counts, None: all of it."""
    history = noted(history, fitness, n, members)
    if history.long_best is None or history.long_median is None:
        return history

    p = len(fitness) if members is None else members
    ascending = jnp.sort(unpadded(finite_or_worst(fitness), members, -jnp.inf))
    first = len(fitness) - p  # what is no member stands before them
    best = ascending[-1]
    median = (ascending[first + (p - 1) // 2] + ascending[first + p // 2]) / 2
    long_best = history.long_best.at[generation % LONGEST].set(best)
    long_median = history.long_median.at[generation % LONGEST].set(median)
    least = 120 - (-30 * n // p)
    length = jnp.clip((generation + 1) // 5, least, LONGEST)

    def look(_):
        return (generation + 1 >= length) & (
            ~_improved(long_best, generation, length) & ~_improved(long_median, generation, length)
        )

    stagnating = jax.lax.cond(
        (generation + 1) % PATIENCE == 0, look, lambda stagnating: stagnating, history.stagnating
    )
    return history._replace(long_best=long_best, long_median=long_median, stagnating=stagnating)


def noted(history: History, fitness: jax.Array, n: int, members: Number | None = None) -> History:
    """-> the history with the fitness [p] of a generation among the latest ones, which is all that
    one that tells nothing has to say."""
    best = jnp.max(unpadded(finite_or_worst(fitness), members, -jnp.inf))
    worst = jnp.min(unpadded(finite_or_worst(fitness), members, jnp.inf))
    recent = jnp.roll(history.best, -1).at[-1].set(best)
    length = 10 - (-30 * n // (len(fitness) if members is None else members))
    window, within = (recent[-length:], None) if members is None else (recent[::-1], length)
    highest = jnp.max(unpadded(window, within, -jnp.inf))
    span = highest - jnp.min(unpadded(window, within, jnp.inf))
    return history._replace(best=recent, flat=(span < TOLERANCE) & (best - worst < TOLERANCE))


def _improved(ring: jax.Array, generation: jax.Array, length: jax.Array) -> jax.Array:
    """Whether, of the latest `length` generations, the median of the last 30 % is better than that
    of the first."""
    age = (generation - jnp.arange(LONGEST)) % LONGEST
    share = (3 * length) // 10
    last, first = age < share, (age >= length - share) & (age < length)
    return _median(ring, last, share) > _median(ring, first, share)


def _median(values: jax.Array, chosen: jax.Array, count: jax.Array) -> jax.Array:
    ascending = jnp.sort(jnp.where(chosen, values, jnp.inf))
    return ascending[count // 2]


def fulfilled(
    mean: jax.Array,
    sigma: jax.Array,
    deviations: jax.Array,
    p_c: jax.Array,
    first_sigma: Number,
    spectrum: Spectrum,
    history: History,
) -> dict[Reason, jax.Array]:
    """-> which tests end the run, each [] bool. `deviations` [n] are the square roots of C's
    diagonal."""
    precision = jnp.finfo(mean.dtype).eps
    tiny = TOLERANCE * first_sigma
    return {
        TOLFUN: history.flat,
        TOLX: jnp.all(sigma * deviations < tiny) & jnp.all(sigma * jnp.abs(p_c) < tiny),
        TOLFACUPX: sigma * jnp.sqrt(spectrum.largest) > 1e4 * first_sigma,
        TOLCONDITIONCOV: spectrum.largest > min(1e14, 1 / float(precision)) * spectrum.smallest,
        NOEFFECTAXIS: spectrum.no_effect,
        NOEFFECTCOORD: jnp.any(mean == mean + 0.2 * sigma * deviations),
        TOLSTAGNATION: history.stagnating,
    }
