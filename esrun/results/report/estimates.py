"""What is said of several runs and how sure it is: scipy's statistics, over seeds.

Intervals have 95 %. They are percentiles of a bootstrap that resamples each sample by itself,
which is stratified where there are several (Agarwal et al.: Deep Reinforcement Learning at the
Edge of the Statistical Precipice, NeurIPS 2021), and are the same for the same numbers.
"""

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
from scipy import stats

RESAMPLES = 2000
FEW = 5
"""Seeds below which nothing is said about an interval."""
LEVEL, POWER = 0.05, 0.8
"""Of the tests: how often they may see what is not there, and are to see what is."""
MOST_SEEDS = 1000
"""Needed seeds, beyond which no number is said."""

Interval = tuple[float, float]


def iqm(values: np.ndarray, axis: int = -1) -> Any:
    """-> the interquartile mean: that of the middle half."""
    return stats.trim_mean(values, 0.25, axis=axis)


def interval(statistic: Callable[..., Any], *samples: np.ndarray, paired: bool = False) -> Interval:
    """-> the interval of `statistic(*samples, axis)` over samples [n] each, or over pairs; NaN
    below FEW in any of them."""
    if min(map(len, samples)) < FEW:
        return np.nan, np.nan
    found = stats.bootstrap(
        samples,
        statistic,
        paired=paired,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def rate_interval(successes: int, of: int) -> Interval:
    """-> Wilson's interval of a rate."""
    if of == 0:
        return np.nan, np.nan
    found = stats.binomtest(successes, of).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def running_time(times: np.ndarray, solved: np.ndarray) -> tuple[float, Interval]:
    """-> (the expected running time and its interval), of times [n] until runs reached a target,
    or ended where they are not `solved` [n]: all that was spent over the number of successes
    (Hansen et al.: COCO, 2021, section 4). Infinite where none was."""
    low, high = interval(_successes, times, solved.astype(float), paired=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.divide(np.sum(times), np.sum(solved))
        return float(mean), (float(np.divide(1, high)), float(np.divide(1, low)))


def _successes(times: np.ndarray, solved: np.ndarray, axis: int = -1) -> np.ndarray:
    """-> those per unit of time, whose quantiles are finite."""
    return np.sum(solved, axis) / np.maximum(np.sum(times, axis), 1e-300)


def improvement(a: np.ndarray, b: np.ndarray, paired: bool) -> tuple[float, Interval]:
    """-> (the probability that a run of `a` [n] scores higher than one of `b` [m], ties count half;
    its interval). Of pairs with the same seed where they are `paired`, with Wilson's interval,
    which is also that of samples that do not overlap: no resample of theirs does."""
    if paired:
        better, ties = int(np.sum(a > b)), int(np.sum(a == b))
        chance = (better + ties / 2) / len(a)
    else:
        chance = float(_higher(a, b))
        better, ties = round(chance * min(len(a), len(b))), 0
    if min(len(a), len(b)) < FEW:
        return chance, (np.nan, np.nan)
    if paired or chance in (0, 1):
        count = min(len(a), len(b))
        low, high = rate_interval(better, count)[0], rate_interval(better + ties, count)[1]
        return chance, (low, high)
    return chance, interval(_higher, a, b)


def _higher(a: np.ndarray, b: np.ndarray, axis: int = -1) -> Any:
    """-> Mann and Whitney's U over all pairs."""
    n, m = a.shape[axis], b.shape[axis]
    ranks = stats.rankdata(np.concatenate([a, b], axis), axis=axis)
    own = np.sum(np.take(ranks, range(n), axis), axis)
    return (own - n * (n + 1) / 2) / (n * m)


def compared(a: np.ndarray, b: np.ndarray, paired: bool) -> tuple[float, float]:
    """-> (p of Wilcoxon's signed ranks of pairs, or of Mann and Whitney's test, NaN where there are
    fewer than two runs; by how much the tested ranks of `a` are above even, negative below)."""
    if min(len(a), len(b)) < 2:
        return np.nan, 0.0
    if not paired:
        return float(stats.mannwhitneyu(a, b).pvalue), float(_higher(a, b)) - 0.5
    difference = a - b
    if not np.any(difference):
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(difference[difference != 0]))
    above = float(np.sum(ranks * np.sign(difference[difference != 0])))
    return float(np.asarray(stats.wilcoxon(a, b))[1]), above


def corrected(p_values: np.ndarray) -> np.ndarray:
    """-> p values [k] for k comparisons (Holm 1979), NaN where one is."""
    known = np.flatnonzero(~np.isnan(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    found = np.full(len(p_values), np.nan)
    steps = p_values[order] * np.arange(len(order), 0, -1)
    found[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return found


def fewest_seeds(paired: bool, comparisons: int) -> int:
    """-> how many seeds of each it takes that any outcome can be told apart, with LEVEL shared by
    the comparisons: the fewest whose most extreme ranks are that rare."""
    n = 2
    while 2 * (0.5**n if paired else 1 / comb(2 * n, n)) > LEVEL / comparisons:
        n += 1
    return n


def seeds_needed(a: np.ndarray, b: np.ndarray, paired: bool, comparisons: int) -> float:
    """-> how many seeds of each would tell the two apart with POWER, if they differ as much as
    these do and about normally, with LEVEL shared by the comparisons: those of a t test (Guenther:
    Sample size formulas for normal theory t tests, The American Statistician 1981) over the
    efficiency 3/pi of ranks. Infinite where they do not differ."""
    z, power = stats.norm.isf(LEVEL / comparisons / 2), stats.norm.isf(1 - POWER)
    if paired:
        apart, spread, groups = np.mean(a - b), np.std(a - b, ddof=1), 1
    else:
        pooled = (np.var(a, ddof=1) + np.var(b, ddof=1)) / 2
        apart, spread, groups = np.mean(a) - np.mean(b), np.sqrt(pooled), 2
    if apart == 0:
        return np.inf
    count = groups * ((z + power) * spread / apart) ** 2 * np.pi / 3 + z**2 / 2 / groups
    return float(max(np.ceil(count), fewest_seeds(paired, comparisons), len(a) + 1, len(b) + 1))
