"""Random keys: `jax.random`'s fold_in and split, to the bit, in a form that compiles small.

On a CPU jax.random rolls the rounds of its hash, threefry-2x32 (Salmon, Moraes, Dror, Shaw:
Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), into a loop: each use is eight kernels that
nothing fuses with. Here a use is one.
"""

import jax
import jax.numpy as jnp
import numpy as np

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)
PARITY = np.uint32(0x1BD11BDA)
"""Constants of the hash and its key schedule."""


def fold_in(key: jax.Array, number: jax.Array | int) -> jax.Array:
    """-> the key of that number; keys and numbers broadcast."""
    number = jnp.asarray(number).astype(jnp.uint32)
    return jax.random.wrap_key_data(
        jnp.stack(threefry(key, jnp.zeros_like(number), number), axis=-1)
    )


def split(key: jax.Array, count: int = 2) -> jax.Array:
    """-> keys [count]."""
    return fold_in(key, jnp.arange(count))


def threefry(key: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A random key, two uint32 words of counters (broadcast) -> two uint32 words of bits, by 20
    rounds."""
    words = jax.random.key_data(key)
    first, second = words[..., 0], words[..., 1]
    schedule = (first, second, first ^ second ^ PARITY)
    x, y = x + schedule[0], y + schedule[1]
    for block in range(5):
        for rotation in ROTATIONS[block % 2]:
            x = x + y
            y = (y << rotation) | (y >> (32 - rotation))
            y = x ^ y
        x = x + schedule[(block + 1) % 3]
        y = y + schedule[(block + 2) % 3] + np.uint32(block + 1)
    return x, y
