"""ClipUp: normalised gradient, momentum, and a limit on the length of a step.

Toklu, Liskowski, Srivastava: ClipUp: A Simple and Powerful Optimizer for Distribution-based Policy
Evolution, 2020, https://arxiv.org/abs/2008.02387.
"""

import jax
import jax.numpy as jnp

from esrun.strategies.parts.shaping import length_of
from esrun.types import Number


def clipup(
    velocity: jax.Array,
    gradient: jax.Array,
    *,
    learning_rate: Number,
    momentum: Number,
    max_speed: Number,
) -> jax.Array:
    """Velocity [n] and an uphill gradient [n] -> the next velocity [n], which is the step to take.

    Only the gradient's direction counts. A gradient of zero has none: the velocity then fades by
    `momentum`.
    """
    velocity = momentum * velocity + learning_rate * (gradient / _length(gradient))
    return velocity * jnp.minimum(1, max_speed / _length(velocity))


def _length(x: jax.Array) -> jax.Array:
    """-> the norm of x, to divide by: 1 for zero."""
    norm = length_of(x)
    return jnp.where(norm > 0, norm, 1)
