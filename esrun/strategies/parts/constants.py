"""The constants of CMA-ES, table 1 of Hansen's tutorial, which MA-ES starts from too.

https://arxiv.org/abs/1604.00772; equation numbers are the tutorial's.
"""

import math
from typing import NamedTuple

import numpy as np

NOTHING = 1e-300
"""A divisor in the place of 0, where the quotient counts for nothing."""


class Constants(NamedTuple):
    """Table 1. `weights` [p] are sorted, the best member's first."""

    weights: np.ndarray
    mu_eff: float
    c_sigma: float
    d_sigma: float
    c_c: float
    c_1: float
    c_mu: float
    chi_n: float


def constants(n: int, population_size: int, parents: float, active: bool) -> Constants:
    """The default strategy parameters (eqs. 49-58), with the positive weights on the first
    `parents` members."""
    w = math.log(parents + 0.5) - np.log(
        np.arange(1, population_size + 1)
    )  # 49, parents = p / 2 there
    positive, negative = np.maximum(w, 0), np.minimum(w, 0)
    mu_eff = positive.sum() ** 2 / (positive**2).sum()
    mu_eff_minus = negative.sum() ** 2 / max((negative**2).sum(), NOTHING)

    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)  # 57
    c_mu = min(1 - c_1 - 1e-8, 2 * (mu_eff - 2 + 1 / mu_eff) / ((n + 2) ** 2 + mu_eff))  # 58
    # with one parent and no other c_mu is 0, and no negative weight can unbalance what is never
    # added
    alpha = min(
        1 + c_1 / max(c_mu, NOTHING),  # 50
        1 + 2 * mu_eff_minus / (mu_eff + 2),  # 51
        (1 - c_1 - c_mu) / (n * max(c_mu, NOTHING)),  # 52
    )
    scale = alpha / max(-negative.sum(), NOTHING) if active else 0.0
    weights = positive / positive.sum() + scale * negative  # 53

    c_sigma = (mu_eff + 2) / (n + mu_eff + 5)  # 55
    return Constants(
        weights=weights,
        mu_eff=mu_eff,
        c_sigma=c_sigma,
        d_sigma=1 + 2 * max(0.0, math.sqrt((mu_eff - 1) / (n + 1)) - 1) + c_sigma,  # 55
        c_c=(4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n),  # 56
        c_1=c_1,
        c_mu=c_mu,
        chi_n=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
    )
