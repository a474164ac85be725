"""Keys are those of jax.random, to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.backend.keys import fold_in, split


def bits(keys):
    return np.asarray(jax.random.key_data(keys))


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_keys_are_those_of_jax_random(seed):
    key = jax.random.key(seed)
    np.testing.assert_array_equal(bits(split(key)), bits(jax.random.split(key)))
    np.testing.assert_array_equal(bits(split(key, 11)), bits(jax.random.split(key, 11)))
    for number in (0, 1, 2**31 - 1):
        np.testing.assert_array_equal(
            bits(fold_in(key, number)), bits(jax.random.fold_in(key, number))
        )


def test_keys_and_numbers_broadcast():
    keys, numbers = jax.random.split(jax.random.key(3), 5), jnp.arange(5)
    expected = jnp.stack(
        [jax.random.fold_in(key, number) for key, number in zip(keys, numbers, strict=True)]
    )
    np.testing.assert_array_equal(bits(fold_in(keys, numbers)), bits(expected))
    np.testing.assert_array_equal(bits(jax.vmap(fold_in)(keys, numbers)), bits(expected))
    alone = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, 9)
    np.testing.assert_array_equal(bits(fold_in(keys, 9)), bits(alone))
