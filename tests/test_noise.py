"""Noise: the published answers of its hash, the normal distribution, independent members, slices of
a table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.backend.keys import threefry
from esrun.strategies.parts.noise import make_noise, make_table, normal


@pytest.mark.parametrize(
    ("key", "counter", "bits"),
    [  # the known answers of Random123, file kat_vectors, threefry2x32 with 20 rounds
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_the_hash_gives_the_published_answers(key, counter, bits):
    key = jax.random.wrap_key_data(jnp.asarray(key, jnp.uint32))
    assert tuple(int(word) for word in threefry(key, *np.asarray(counter, np.uint32))) == bits


@pytest.mark.parametrize("x64", [False, True])
def test_numbers_are_standard_normal(x64):
    with jax.enable_x64(x64):
        z = np.asarray(
            normal(jax.random.key(1), jnp.arange(1000), 1001, jnp.zeros(()).dtype), np.float64
        ).ravel()
    # moments to four standard errors, tails by count
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(z**power) - expected) < 4 * np.sqrt(variance / z.size)
    for limit, share in ((1, 0.317311), (3, 2.69980e-3), (4, 6.33425e-5)):
        assert abs(np.mean(np.abs(z) > limit) - share) < 4 * np.sqrt(share / z.size)
    assert np.isfinite(z).all()


def test_members_positions_and_keys_are_independent():
    z = np.asarray(normal(jax.random.key(1), jnp.arange(200), 500, jnp.float32))
    other = np.asarray(normal(jax.random.key(2), jnp.arange(200), 500, jnp.float32))
    limit = 5 / np.sqrt(500)
    assert np.abs(np.corrcoef(np.concatenate([z, other])) - np.eye(400)).max() < limit
    assert np.abs(np.corrcoef(z.T) - np.eye(500)).max() < 5.5 / np.sqrt(200)


def test_pairs_mirror_each_other_and_nobody_else():
    draw = make_noise("threefry", 0, 7, mirrored=True)
    z = draw(jax.random.key(0), jnp.arange(10), jnp.float32)
    np.testing.assert_array_equal(z[::2], -z[1::2])
    assert len(np.unique(np.abs(z[::2, 0]))) == 5


def test_a_members_row_is_a_slice_of_the_table():
    table = np.asarray(make_table(500, "float32"))
    rows = np.asarray(
        make_noise("table", 500, 20, mirrored=False)(jax.random.key(3), jnp.arange(50), jnp.float32)
    )
    windows = np.lib.stride_tricks.sliding_window_view(table, 20)
    starts = [int(np.flatnonzero((windows == row).all(axis=1))[0]) for row in rows]
    assert len(set(starts)) > 40  # all over the table: 481 starts, 50 draws
    assert max(starts) > 400
    given = make_noise(jnp.asarray(table), 500, 20, mirrored=False)(
        jax.random.key(3), jnp.arange(50), jnp.float32
    )
    np.testing.assert_array_equal(given, rows)


def test_a_table_shorter_than_a_row_is_refused():
    with pytest.raises(
        ValueError,
        match=r"noise_table_size must be at least the 20 parameters of the policy, got 19",
    ):
        make_noise("table", 19, 20, mirrored=True)
