"""Random keys: `jax.random`'s fold_in and split, to the bit, in a form that compiles small.

On a CPU jax.random rolls the rounds of its hash, threefry-2x32 (Salmon, Moraes, Dror, Shaw:
Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), into a loop: each use is eight kernels that
nothing fuses with. Here a use is one.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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
    rounds.

    Written in `jax.lax`: an operator of jax.numpy is a jitted function, which takes four times as
    long to trace, and a program has some 2,000 of these.
    """
    words = jax.random.key_data(key)
    shape = jnp.broadcast_shapes(words.shape[:-1], x.shape, y.shape)
    first, second, x, y = (
        jnp.broadcast_to(word, shape) for word in (words[..., 0], words[..., 1], x, y)
    )

    def constant(number):
        return lax.full(shape, number, np.uint32)

    third = lax.bitwise_xor(lax.bitwise_xor(first, second), constant(PARITY))
    schedule = (first, second, third)
    x, y = lax.add(x, first), lax.add(y, second)
    for block in range(5):
        for rotation in ROTATIONS[block % 2]:
            x = lax.add(x, y)
            left = lax.shift_left(y, constant(rotation))
            right = lax.shift_right_logical(y, constant(32 - rotation))
            y = lax.bitwise_xor(x, lax.bitwise_or(left, right))
        x = lax.add(x, schedule[(block + 1) % 3])
        y = lax.add(y, lax.add(schedule[(block + 2) % 3], constant(block + 1)))
    return x, y
