"""Natural gradients of the distribution N(mean, sigma^2 D (I + v vᵀ) D), in linear time.

Akimoto, Auger, Hansen: Comparison-Based Natural Gradient Optimization in High Dimension, GECCO
2014, https://doi.org/10.1145/2576768.2598258.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.types import Number


class Direction(NamedTuple):
    """The one direction in which the distribution is longer than D alone makes it.

    What others divide by is computed here, once, for one set of bits (docs/design.md).
    """

    vbar: jax.Array  # [n], v / |v|
    squared: jax.Array  # [], |v|²
    length: jax.Array  # [], |v|, or 1 where that is 0
    stretch: jax.Array  # [], sqrt(1 + |v|²), the length along vbar


def direction(v: jax.Array) -> Direction:
    """Of v [n]. Where that is 0 vbar is 0: the distribution is separable then, and stays so."""
    squared = v @ v
    length = jnp.sqrt(jnp.where(squared > 0, squared, 1))
    return Direction(v / length, squared, length, jnp.sqrt(1 + squared))


def natural_gradients(
    along: Direction,
    *,
    y_squared: jax.Array,
    y_along: jax.Array,
    weight: Number,
) -> tuple[jax.Array, jax.Array]:
    """Of some members the sums of w y² [n], w y (y · vbar) [n] and w -> (the sum of w s [n], by
    which D grows as a share of itself, that of w t [n], |v| times v's change).

    The paper's lines for one member, which are linear in these.
    """
    vbar, squared, _, stretch = along
    gamma, vbar_squared = 1 + squared, vbar**2
    largest = jnp.max(vbar_squared)
    largest = jnp.where(largest > 0, largest, 1)
    # 1 - alpha², of which b is a multiple |v|² times as large: a difference from 1 would lose it
    rest = jnp.maximum(0, 4 * gamma - (2 * gamma - stretch) / largest) / (2 + squared) ** 2
    alpha = jnp.sqrt(1 - rest)
    b = 2 * (1 - rest) - rest * squared**2 / gamma
    H = 2 - (b + 2 * (1 - rest)) * vbar_squared

    t = y_along - vbar * (vbar @ y_along + gamma * weight) / 2
    s = y_squared - squared / gamma * vbar * y_along - weight
    s = s - alpha / gamma * ((2 + squared) * vbar * t - squared * vbar_squared * (vbar @ t))
    inner = vbar_squared / H
    s = s / H - b / (1 + b * (vbar_squared @ inner)) * (inner @ s) * inner
    t = t - alpha * ((2 + squared) * s * vbar - vbar * (vbar_squared @ s))
    return s, t
