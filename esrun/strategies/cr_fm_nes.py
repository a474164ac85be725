"""CR-FM-NES: natural gradients on a step size for every parameter and one direction, in linear
time and memory, weighted by distance while the mean moves fast.

Nomura, Ono: Fast Moving Natural Evolution Strategy for High-Dimensional Problems, CEC 2022,
https://arxiv.org/abs/2201.11422. The update, and what the paper leaves open, are those of the
authors' code, crfmnes 1.0.0, https://github.com/nomuramasahir0/crfmnes. Natural gradients of D and
v: Akimoto, Auger, Hansen: Comparison-Based Natural Gradient Optimization in High Dimension, GECCO
2014, https://doi.org/10.1145/2576768.2598258.

A member's part of the gradients depends on z and y = (x - mean) / (sigma D), which solutions give,
and is linear in y, y² and y (y · vbar). Sums of these with the members' weights add over slices,
and the gradients are formed of them once a generation: the update is exact. Which of two sets of
weights counts is known only when the sums of the whole population are there, so they are of both.

Three choices are ours. Fitness that is not finite ranks worst and ties share their weights; the
authors rank infeasible members by their distance and count the feasible ones. c_1 is 0 where the
paper's is negative, below five parameters: the rank-one update would then narrow the distribution
along its path. And the step of D and v is shortened, as a whole, where it is longer than 70 percent
of v or of a coordinate of D, as in pycma's VD-CMA, https://github.com/CMA-ES/pycma. The authors'
step has no limit: in a long valley across the axes their D falls below zero and all is NaN.
Elsewhere the limit seldom acts, and a generation in which it does not is theirs.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.strategies.parts.defaults import whole_population
from esrun.strategies.parts.noise import make_noise, perturbed
from esrun.strategies.parts.products import dots
from esrun.strategies.parts.rank_one import direction, natural_gradients
from esrun.strategies.parts.shaping import by_rank, signal_to_noise
from esrun.types import Number, Strategy

RANK, DISTANCE, EVERY = range(3)
"""Rows of `Sums`: weighted by rank, by rank and distance, and with 1 for every member there."""
NO_PARENT = -1.0
"""Weight of a member whose rank gives it none: 0 is for those that are not there."""
LARGEST_CHANGE = 0.7
"""Share of |v| and of each coordinate of D that a generation changes at most."""


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 D (I + v vᵀ) D) and its evolution paths."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    D: jax.Array  # [n], such that D (I + v vᵀ) D has determinant 1; 1 before the first update
    v: jax.Array  # [n]
    p_sigma: jax.Array  # [n] path of z
    p_c: jax.Array  # [n] path of the mean's steps


class Sums(NamedTuple):
    """What the update needs of a slice of the population, for each of the three sets of weights."""

    y: jax.Array  # [3, n] sum of w y
    y_squared: jax.Array  # [3, n] sum of w y²
    y_along: jax.Array  # [3, n] sum of w y (y · vbar)
    excess: jax.Array  # [3] sum of w (|z|² / n - 1)
    weight: jax.Array  # [3] sum of w


class Constants(NamedTuple):
    """The paper's parameters. `weights` [p] are sorted, the best member's first, with sum 1."""

    weights: np.ndarray
    mu_eff: float
    c_sigma: float
    c_c: float
    c_1: float
    chi_n: float
    alpha: float  # how much the distance of a member adds to its weight
    eta_stagnating: float  # of sigma, where the mean moves slowly
    eta_converging: float  # where it hardly moves
    eta_shape: float  # of D and v, the paper's eta_B


def constants(n: int, population_size: int) -> Constants:
    """The paper's parameters, with all members feasible."""
    p = population_size
    w = np.maximum(0, math.log(p / 2 + 1) - np.log(np.arange(1, p + 1)))
    w /= w.sum()
    mu_eff = float(1 / (w**2).sum())
    return Constants(
        weights=w,
        mu_eff=mu_eff,
        c_sigma=(mu_eff + 2) / (n + mu_eff + 5),
        c_c=(4 + mu_eff / n) / (n + 4 + 2 * mu_eff / n),
        c_1=max(0.0, 2 / ((n + 1.3) ** 2 + mu_eff) * (n - 5) / 6),
        chi_n=math.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2)),
        alpha=inverse_h(n) * min(1, math.sqrt(p / n)),
        eta_stagnating=math.tanh((0.024 * p + 0.7 * n + 20) / (n + 12)),
        eta_converging=2 * math.tanh((0.025 * p + 0.75 * n + 10) / (n + 4)),
        eta_shape=math.tanh((min(0.02 * p, 3 * math.log(n)) + 5) / (0.23 * n + 25)),
    )


def inverse_h(n: int) -> float:
    """-> the positive root of (1 + h²) exp(h² / 2) / 0.24 = 10 + n, by bisection."""
    low, high = 0.0, 10.0  # 10 is the root for 10^24 parameters
    for _ in range(60):
        h = (low + high) / 2
        too_low = (1 + h**2) * math.exp(h**2 / 2) / 0.24 < 10 + n
        low, high = (h, high) if too_low else (low, h)
    return low


def make_cr_fm_nes(
    *,
    n: int,
    population_size: int | str,
    sigma: Number,
) -> Strategy:
    """CR-FM-NES over n parameters: members 2i and 2i + 1 are made of z and -z.

    `population_size` is even; it may be "auto", 4 + floor(3 ln n) and one more where that is odd.
    """
    p = whole_population(population_size, n)
    if population_size == "auto":
        p += p % 2
    k = constants(n, p)
    draw = make_noise("threefry", 0, n, mirrored=True)

    def init(key, mean):
        v = jax.random.normal(key, (n,), mean.dtype) / math.sqrt(n)
        zero = jnp.zeros_like(mean)
        return State(mean, jnp.asarray(sigma, mean.dtype), jnp.ones_like(mean), v, zero, zero)

    def ask(key, state, members):
        z = draw(key, members, state.mean.dtype)
        vbar, squared = direction(state.v)
        along = dots(z[::2], vbar)
        along = jnp.stack([along, -along], axis=1).reshape(-1, 1)
        # for the same bits in any company, as in the next line
        y = perturbed(z, along, (jnp.sqrt(1 + squared) - 1) * vbar)
        return perturbed(state.mean, state.sigma * state.D, y)

    def weigh(state, fitness):
        weights = by_rank(fitness, jnp.asarray(k.weights, state.mean.dtype))
        # weights keep all their digits this way, which w - 1/p, their value in the update, would
        # not; and a member whose value happens to be 0 would not count as there
        return jnp.where(weights > 0, weights, NO_PARENT)

    def recombine(state, solutions, weights):
        vbar, squared = direction(state.v)
        y = (solutions - state.mean) / (state.sigma * state.D)
        along = y @ vbar
        z = y + along[:, None] * ((1 / jnp.sqrt(1 + squared) - 1) * vbar)
        z_squared = jnp.sum(z**2, axis=1)

        parent, there = jnp.maximum(weights, 0), (weights != 0).astype(weights.dtype)
        # weights by distance are divided by their sum: taking chi_n off changes nothing but that
        # exp(alpha |z|) is finite in float32. What is not there must not give 0 times infinity
        distance = jnp.where(parent > 0, jnp.sqrt(z_squared) - k.chi_n, 0)
        w = jnp.stack([parent - there / p, parent * jnp.exp(k.alpha * distance), there])
        return Sums(
            y=w @ y,
            y_squared=w @ y**2,
            y_along=(w * along) @ y,
            excess=w @ (z_squared / n - 1),
            weight=jnp.sum(w, axis=1),
        )

    def update(state, sums, fitness):
        del fitness
        mean, sigma, D, v, p_sigma, p_c = state
        vbar, squared = direction(v)
        z_w = sums.y[RANK] + (1 / jnp.sqrt(1 + squared) - 1) * (vbar @ sums.y[RANK]) * vbar
        p_sigma = (1 - k.c_sigma) * p_sigma + norm_of(k.c_sigma) * z_w
        length = jnp.linalg.norm(p_sigma)
        moving = length >= k.chi_n
        eta_sigma = jnp.where(
            moving,
            1.0,
            jnp.where(length >= 0.1 * k.chi_n, k.eta_stagnating, k.eta_converging),
        ).astype(sigma.dtype)

        def chosen(x):
            by_distance = x[DISTANCE] / sums.weight[DISTANCE] - x[EVERY] / p
            return jnp.where(moving, by_distance, x[RANK])

        y, y_squared, y_along, excess, _ = Sums(*(chosen(x) for x in sums))
        step = D * y
        p_c = (1 - k.c_c) * p_c + norm_of(k.c_c) * step

        # the path is one more member; the others' weights have the sum 0
        q = p_c / D
        s, t = natural_gradients(
            vbar,
            squared,
            y_squared=k.eta_shape * y_squared + k.c_1 * q**2,
            y_along=k.eta_shape * y_along + k.c_1 * (q @ vbar) * q,
            weight=k.c_1,
        )
        squared = jnp.where(squared > 0, squared, 1)
        change = jnp.maximum(jnp.max(jnp.abs(s)), jnp.linalg.norm(t) / squared)
        share = 1 / jnp.maximum(1, change / LARGEST_CHANGE)
        v = v + share * t / jnp.sqrt(squared)
        D = D * (1 + share * s)
        D = D / jnp.exp(jnp.mean(jnp.log(D)) + jnp.log1p(v @ v) / (2 * n))

        return State(
            mean=mean + sigma * step,  # eta_m is 1
            sigma=sigma * jnp.exp(eta_sigma / 2 * excess),
            D=D,
            v=v,
            p_sigma=p_sigma,
            p_c=p_c,
        )

    def norm_of(c):
        """-> the factor of a path's newest step, such that under random selection the path's
        variance stays 1."""
        return math.sqrt(c * (2 - c) * k.mu_eff)

    def diagnose(state, fitness):
        del state
        return {"signal_to_noise": signal_to_noise(fitness)}

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        diagnose=diagnose,
        unit=2,
    )
