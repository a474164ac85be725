"""What natural evolution strategies share: utilities, and gradients in units of the step sizes.

Wierstra, Schaul, Glasmachers, Sun, Peters, Schmidhuber: Natural Evolution Strategies, JMLR 15,
2014, https://jmlr.org/papers/v15/wierstra14a.html, table 1.
"""

import math
from typing import NamedTuple

import jax
import numpy as np


class Sums(NamedTuple):
    """What the update needs of a slice of the population: the natural gradients."""

    mean: jax.Array  # [n] sum of u z
    sigmas: jax.Array  # [n] sum of u (z^2 - 1)


def utilities(population_size: int) -> np.ndarray:
    """-> utilities [p] by rank, the best member's first, with sum 0 (table 1)."""
    u = np.maximum(0, math.log(population_size / 2 + 1) - np.log(np.arange(1, population_size + 1)))
    return u / u.sum() - 1 / population_size


def natural_gradients(state, solutions: jax.Array, weights: jax.Array) -> Sums:
    """`recombine` of any state with a mean [n] and sigmas [n]: gradients in units of the sigmas."""
    z = (solutions - state.mean) / state.sigmas
    return Sums(weights @ z, weights @ (z**2 - 1))
