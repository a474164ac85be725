"""What is said of the returns of some episodes."""

from typing import Any

import numpy as np
from scipy import stats

from esrun.training.score import scored

RESAMPLES = 9999
BATCH = 2**22
"""Numbers that are resampled at a time."""
MANY = 10_000
"""Values beyond which nothing is resampled: their mean is as good as normal, and a bootstrap takes
minutes."""


def figures(returns: np.ndarray, measures: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns [e] and what else was measured, each [e] -> `mean`, `std`, `ci95` and `episodes` as
    `summary.json` has them, the bootstrap `interval` of the mean, `median` and `worst`, and the
    mean of each measure."""
    with np.errstate(all="ignore"):  # returns may be anything, and then so are their figures
        score = scored(0, returns, measures)
    values = np.asarray(returns, np.float64)
    return {
        "episodes": score.episodes,
        "mean": score.mean,
        "std": score.std,
        "ci95": score.ci95,
        "interval": list(interval(values)),
        "median": float(np.median(values)),
        "worst": float(np.min(values)),
        **score.measures,
    }


def interval(values: np.ndarray) -> tuple[float, float]:
    """-> the 95 % interval of the mean of `values` [e] by the bias-corrected and accelerated
    bootstrap (Efron: Better Bootstrap Confidence Intervals, JASA 1987), the same for the same
    values, or for MANY the normal one; NaN where they are not all finite."""
    if not np.all(np.isfinite(values)):
        return np.nan, np.nan
    size = np.max(np.abs(values))
    scaled = values / size if size else values  # squares neither overflow nor vanish
    middle, spread = np.median(scaled), np.ptp(scaled)
    if spread == 0:
        return float(values[0]), float(values[0])
    low, high = _unscaled_interval((scaled - middle) / spread)
    return float((low * spread + middle) * size), float((high * spread + middle) * size)


def _unscaled_interval(values: np.ndarray) -> tuple[float, float]:
    if len(values) > MANY:
        half = 1.96 * np.std(values, ddof=1) / len(values) ** 0.5
        return np.mean(values) - half, np.mean(values) + half
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.95,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // len(values)),
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return found.low, found.high
