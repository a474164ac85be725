"""What is said of the returns of some episodes."""

from typing import Any

import numpy as np
from scipy import stats

from esrun.training.score import scored

RESAMPLES = 9999
BATCH = 2**22
"""Numbers that are resampled at a time."""


def figures(returns: np.ndarray, measures: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns [e] and what else was measured, each [e] -> `mean`, `std`, `ci95` and `episodes` as
    `summary.json` has them, the bootstrap `interval` of the mean, `median` and `worst`, and the
    mean of each measure."""
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
    values; NaN where they are not all finite."""
    if not np.all(np.isfinite(values)):
        return np.nan, np.nan
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    found = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.95,
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // len(values)),
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)
