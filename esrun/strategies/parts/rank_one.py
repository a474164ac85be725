"""Natural gradients of the distribution N(mean, sigma^2 D (I + v vᵀ) D), in linear time.

Akimoto, Auger, Hansen: Comparison-Based Natural Gradient Optimization in High Dimension, GECCO
2014, https://doi.org/10.1145/2576768.2598258.
"""

import jax
import jax.numpy as jnp

from esrun.types import Number


def direction(v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """v [n] -> (vbar = v / |v| [n], |v|² []). Of 0 it is 0: the distribution is separable then, and
    stays so."""
    squared = v @ v
    return v / jnp.sqrt(jnp.where(squared > 0, squared, 1)), squared


def natural_gradients(
    vbar: jax.Array,
    squared: jax.Array,
    *,
    y_squared: jax.Array,
    y_along: jax.Array,
    weight: Number,
) -> tuple[jax.Array, jax.Array]:
    """vbar [n], |v|² [] and, of some members, the sums of w y² [n], w y (y · vbar) [n] and w ->
    (the sum of w s [n], by which D grows as a share of itself, that of w t [n], |v| times v's
    change).

    The paper's lines for one member, which are linear in these.
    """
    gamma, vbar_squared = 1 + squared, vbar**2
    largest = jnp.max(vbar_squared)
    largest = jnp.where(largest > 0, largest, 1)
    # 1 - alpha², of which b is a multiple |v|² times as large: a difference from 1 would lose it
    rest = jnp.maximum(0, 4 * gamma - (2 * gamma - jnp.sqrt(gamma)) / largest) / (2 + squared) ** 2
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
