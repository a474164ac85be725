"""Counts beyond 32 bits, on devices that add in 32: a minute's work on a GPU is more steps than
2^32."""

import jax
import jax.numpy as jnp
import numpy as np

BYTES = np.arange(0, 32, 8, dtype=np.uint32)
"""Where the four bytes of a number begin."""


def summed(counts: jax.Array) -> jax.Array:
    """Counts [m] below 2^32 -> the sums [4] of their bytes, lowest first. Such sums add, exactly
    for up to 2^24 counts in all."""
    return jnp.sum((counts.astype(jnp.uint32)[:, None] >> BYTES) & 255, axis=0, dtype=jnp.uint32)


def carried(sums: jax.Array) -> jax.Array:
    """Sums of bytes [4] -> the [2] uint32 number, high and low word."""
    whole = jnp.zeros(2, jnp.uint32)
    for byte, place in zip(sums, BYTES, strict=True):
        low = byte << place
        high = byte >> (32 - place) if place else jnp.uint32(0)
        whole = added(whole, jnp.stack([high, low]))
    return whole


def added(x: jax.Array, y: jax.Array) -> jax.Array:
    """-> the sum of two [2] uint32 numbers."""
    low = x[1] + y[1]
    return jnp.stack([x[0] + y[0] + (low < x[1]), low])


def number(words: np.ndarray) -> np.ndarray:
    """Words [..., 2] -> [...] uint64."""
    words = np.asarray(words, np.uint64)
    return (words[..., 0] << np.uint64(32)) | words[..., 1]
