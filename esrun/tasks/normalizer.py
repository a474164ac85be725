"""The input normaliser: running mean and variance of what policies see.

Chan, Golub, LeVeque: Updating Formulae and a Pairwise Algorithm for Computing Sample Variances,
1979. What a slice of the population saw travels as plain sums about the current mean, so that
members, chunks and devices simply add.
"""

import jax
import jax.numpy as jnp

from esrun.types import Moments, Sums

CLIP = 10.0
"""Normalised inputs are cut at ±CLIP standard deviations, as OpenAI's baselines do: a policy's
first sight of a rare input must not be a hundred standard deviations large."""


LARGEST = 1e15
"""Distance from the mean beyond which an input's square would soon fill a float32."""


def fresh(input_shape: tuple[int, ...]) -> Moments:
    """-> moments of nothing seen; `normalize` is then the identity up to CLIP."""
    return Moments(jnp.zeros(()), jnp.zeros(input_shape), jnp.zeros(input_shape))


def normalize(moments: Moments, x: jax.Array) -> jax.Array:
    """X [*input_shape] -> (x - mean) / std, cut at ±CLIP; an input that has not varied is only
    shifted."""
    variance = moments.m2 / jnp.maximum(moments.count, 1)
    std = jnp.where(variance > 1e-12, jnp.sqrt(variance), 1.0)
    return jnp.clip((x - moments.mean) / std, -CLIP, CLIP)


def nothing(input_shape: tuple[int, ...]) -> Sums:
    """-> the sums of no input."""
    return Sums(jnp.zeros(()), jnp.zeros(input_shape), jnp.zeros(input_shape), jnp.zeros(()))


def observe(moments: Moments, x: jax.Array, counts: jax.Array) -> Sums:
    """One input x [*input_shape] as sums; nothing where `counts` [] is false.

    An input that is NaN, infinite or too large for a sum of squares in any place is left out, as a
    whole, and counted as such.
    """
    usable = jnp.all(jnp.abs(x - moments.mean) <= LARGEST)
    deviation = jnp.where(counts & usable, x - moments.mean, 0.0)
    one = counts.astype(x.dtype)
    return Sums(jnp.where(usable, one, 0.0), deviation, deviation**2, jnp.where(usable, 0.0, one))


def merge(moments: Moments, seen: Sums) -> Moments:
    """-> the moments after `seen`, whose sums are about `moments.mean`."""
    count = moments.count + seen.count
    shift = seen.first / jnp.maximum(count, 1)
    return Moments(
        count, moments.mean + shift, jnp.maximum(moments.m2 + seen.second - count * shift**2, 0.0)
    )
