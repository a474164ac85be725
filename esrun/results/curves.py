"""Learning curves: what runs noted along the way, and the middle of several. JAX is not imported
here."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.errors import ConfigError
from esrun.results.groups import Run
from esrun.runs.folder import shown
from esrun.runs.lines import columns, ranges
from esrun.runs.record import read_json

AXES = {"generations": "generation", "env_steps": "env_steps", "seconds": "wall_seconds"}
"""What a curve may be drawn against, and the figure of `metrics.jsonl` that has it."""
FIGURES = {
    "eval_mean": "held-out mean",
    "fitness_mean": "population mean",
    "fitness_best": "population best",
    "top_k_mean": "top-k mean, best members ever",
    "sigma": "sigma, step size",
    "mean_abs_sum": "total weight, sum of |parameters|",
}
"""What is drawn, and what it is called."""
FITNESS = ("eval_mean", "fitness_mean", "fitness_best", "top_k_mean")
"""Those in the task's own unit."""
SPREAD = "eval_std"
LARGEST = 1e100
"""A figure beyond is left out: there is no room for it on an axis."""
ALWAYS = ("fitness_best", "fitness_mean", "sigma")
"""What every generation tells, whichever version of esrun ran it."""
POINTS = 2000
"""Most points of a curve that is drawn."""


class Curve(NamedTuple):
    """One figure along one run, or its middle along several."""

    x: np.ndarray  # [k], ascending
    y: np.ndarray  # [k]
    low: np.ndarray | None = None  # [k], the band's lower edge
    high: np.ndarray | None = None  # [k]


Curves = dict[str, Curve]
"""By the names of `FIGURES`; what a run did not note is not there."""


def curves_of(run: Run, axis: str) -> tuple[Curves, list[str]]:
    """-> (the curves of a run, held-out means with their 95 % interval; what is to be said of its
    files). Raises ConfigError where they cannot be read."""
    path = run.folder.metrics
    try:
        found = columns(path, [*FIGURES, SPREAD, *AXES.values()])
    except FileNotFoundError:
        return {}, [f"{shown(run.folder.path)} has no metrics.jsonl yet"]
    except OSError as error:
        raise ConfigError(f"{shown(path)} cannot be read: {error}") from error
    notes = []
    if found.bad:
        where = ranges(found.bad)
        notes.append(f"{shown(path)}: left out what is no line of a generation: {where}")
    if not len(found.generation):
        return {}, [*notes, f"{shown(run.folder.path)} has no generation yet"]
    x = found.figures[AXES[axis]]
    notes += _left_out(run, found.figures, AXES[axis])
    lines = {name: _curve(x, found.figures[name]) for name in FIGURES}
    lines["eval_mean"] = _held_out(run, x, found.figures)
    return {name: line for name, line in lines.items() if len(line.x)}, notes


def _left_out(run: Run, figures: dict[str, np.ndarray], axis: str) -> Iterator[str]:
    """-> a line for what every generation tells and some of these do not as a number that can be
    drawn."""
    for name in (axis, *ALWAYS):
        bad = int(np.sum(~_drawable(figures[name])))
        if bad:
            yield (
                f"{shown(run.folder.path)}: {name} is no number that can be drawn in {bad} of "
                f"{len(figures[name])} generations, which are left out"
            )


def _curve(x: np.ndarray, *values: np.ndarray) -> Curve:
    """-> the curve of what can be drawn."""
    known = _drawable(x)
    for y in values:
        known &= _drawable(y)
    order = np.argsort(x[known], kind="stable")
    return Curve(x[known][order], *(y[known][order] for y in values))


def _drawable(x: np.ndarray) -> np.ndarray:
    return np.isfinite(x) & (np.abs(np.nan_to_num(x)) <= LARGEST)


def _held_out(run: Run, x: np.ndarray, figures: dict[str, np.ndarray]) -> Curve:
    """-> the held-out means, that of the first policy before them, with their interval where it is
    known."""
    mean, std = figures["eval_mean"], figures[SPREAD]
    if (first := first_score(read_json(run.folder.summary))) is not None:
        x, mean, std = np.append(0.0, x), np.append(first[0], mean), np.append(first[1], std)
    episodes = run.section("eval").get("episodes")
    alone = _curve(x, mean)
    if type(episodes) is not int or episodes < 1:
        return alone
    half = 1.96 * std / math.sqrt(episodes)
    with_interval = _curve(x, mean, mean - half, mean + half)
    return with_interval if len(with_interval.x) == len(alone.x) else alone


def first_score(summary: Any) -> tuple[float, float] | None:
    """-> mean and standard deviation of the policy before the first generation, as far as
    `summary.json` tells."""
    score = summary.get("eval_initial") if isinstance(summary, dict) else None
    mean, std = (score.get("mean"), score.get("std")) if isinstance(score, dict) else (None, None)
    return (mean, std) if isinstance(mean, float) and isinstance(std, float) else None


def middle(curves: Sequence[Curve]) -> Curve:
    """-> the median of several curves with the quartiles, as far as all of them go."""
    first, last = max(curve.x[0] for curve in curves), min(curve.x[-1] for curve in curves)
    grid = np.unique(np.concatenate([curve.x for curve in curves]))
    grid = _spread(grid[(first <= grid) & (grid <= last)])
    table = np.array([np.interp(grid, curve.x, curve.y) for curve in curves])
    low, median, high = np.quantile(table, [0.25, 0.5, 0.75], axis=0)
    return Curve(grid, median, low, high)


def beyond(curve: Curve, x: float) -> Curve:
    """-> what of a curve lies beyond `x`, with the last point before it."""
    start = max(int(np.searchsorted(curve.x, x, side="right")) - 1, 0)
    return Curve(curve.x[start:], curve.y[start:])


def thinned(curve: Curve, points: int = POINTS) -> Curve:
    """-> a curve with no more points than are drawn."""
    kept = _spread(np.arange(len(curve.x)), points)
    x, y, low, high = curve
    bands = (None, None) if low is None or high is None else (low[kept], high[kept])
    return Curve(x[kept], y[kept], *bands)


def _spread(x: np.ndarray, points: int = POINTS) -> np.ndarray:
    """-> at most so many of the points, its ends among them."""
    if len(x) <= points:
        return x
    return x[np.linspace(0, len(x) - 1, points).round().astype(int)]


def names_in(curves: Iterable[Curves]) -> list[str]:
    """-> the figures that any of them has, in order."""
    there = {name for one in curves for name in one}
    return [name for name in FIGURES if name in there]
