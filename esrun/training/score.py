"""Scores: the mean policy on held-out episodes."""

from typing import NamedTuple

import jax
import numpy as np


class Score(NamedTuple):
    """The mean policy on held-out episodes."""

    generation: int
    mean: float
    std: float
    ci95: float
    """Half the width of the 95 % interval of the mean, 1.96 std / sqrt(episodes)."""
    episodes: int
    measures: dict[str, float]


def scored(generation: int, returns: jax.Array | np.ndarray, measures: dict) -> Score:
    """-> the score of held-out returns [episodes] and what else the task measured."""
    values = np.asarray(returns, np.float64)
    _, unit = np.frexp(np.max(np.abs(values)))  # of float64 too, squares may leave the range
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is told by its score
        scaled = np.ldexp(values, -unit)
        mean = float(np.ldexp(np.mean(scaled), unit))
        std = float(np.ldexp(np.std(scaled, ddof=1), unit))
    return Score(
        generation=generation,
        mean=mean,
        std=std,
        ci95=1.96 * std / len(values) ** 0.5,
        episodes=len(values),
        measures={name: float(np.mean(np.asarray(x, np.float64))) for name, x in measures.items()},
    )
