"""The input normaliser: sums that add, against NumPy on all the data at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.tasks import normalizer

DATA = np.asarray(5 + 3 * jax.random.normal(jax.random.key(0), (60, 2)) * jnp.array([1.0, 0.1]))


def seen(moments, data, counts=None):
    counts = jnp.ones(len(data), bool) if counts is None else counts
    sums = jax.vmap(normalizer.observe, in_axes=(None, 0, 0))(moments, jnp.asarray(data), counts)
    return jax.tree.map(lambda x: jnp.sum(x, axis=0), sums)


def grown(*slices):
    """Moments after the slices, one generation each."""
    moments = normalizer.fresh((2,))
    for data in slices:
        moments = normalizer.merge(moments, seen(moments, data))
    return moments


def assert_are_those_of(moments, data):
    assert moments.count == len(data)
    np.testing.assert_allclose(moments.mean, data.mean(0), rtol=1e-5)
    np.testing.assert_allclose(moments.m2 / moments.count, data.var(0), rtol=1e-4)


@pytest.mark.parametrize("cuts", [[], [30], [1], [59], [10, 20, 30, 40, 50], list(range(1, 60))])
def test_moments_of_slices_are_numpys_of_everything(cuts):
    assert_are_those_of(grown(*np.split(DATA, cuts)), DATA)


def test_sums_of_slices_of_one_generation_add():
    before = grown(DATA[:20])
    sums = jax.tree.map(
        lambda *x: sum(x), *(seen(before, part) for part in np.split(DATA[20:], [7, 19]))
    )
    assert_are_those_of(normalizer.merge(before, sums), DATA)


def test_what_does_not_count_leaves_no_trace():
    counts = np.arange(60) % 3 == 0
    dirty = np.where(counts[:, None], DATA, np.nan)
    moments = normalizer.fresh((2,))
    assert_are_those_of(
        normalizer.merge(moments, seen(moments, dirty, jnp.asarray(counts))), DATA[counts]
    )


def test_nothing_seen_changes_nothing():
    before = grown(DATA)
    after = normalizer.merge(before, seen(before, DATA, jnp.zeros(60, bool)))
    jax.tree.map(np.testing.assert_array_equal, after, before)


def test_normalized_data_have_mean_zero_and_deviation_one():
    x = np.asarray(
        jax.vmap(normalizer.normalize, in_axes=(None, 0))(grown(DATA), jnp.asarray(DATA))
    )
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(x.std(0), 1, rtol=1e-4)


def test_normalize_by_hand():
    moments = normalizer.Moments(
        jnp.array(4.0), jnp.array([1.0, -2.0]), jnp.array([16.0, 1.0])
    )  # deviations 2, 1/2
    np.testing.assert_allclose(normalizer.normalize(moments, jnp.array([5.0, -3.0])), [2, -2])


def test_an_input_that_has_not_varied_is_only_shifted():
    moments = grown(np.tile([3.0, 7.0], (10, 1)))
    np.testing.assert_allclose(normalizer.normalize(moments, jnp.array([3.5, 5.0])), [0.5, -2])


def test_fresh_moments_let_inputs_pass():
    np.testing.assert_array_equal(
        normalizer.normalize(normalizer.fresh((2,)), jnp.array([0.25, -9.0])), [0.25, -9]
    )


def test_normalized_inputs_are_cut_at_ten_deviations():
    moments = normalizer.Moments(jnp.array(1.0), jnp.zeros(3), jnp.ones(3))
    np.testing.assert_array_equal(
        normalizer.normalize(moments, jnp.array([1e6, -1e6, 9.5])), [10, -10, 9.5]
    )


def test_sums_about_the_mean_keep_a_small_variance_far_from_zero():
    data = 1000 + DATA
    moments = normalizer.Moments(jnp.array(1.0), jnp.array([1001.0, 1002.0]), jnp.zeros(2))
    after = normalizer.merge(moments, seen(moments, data))
    everything = np.concatenate([[[1001.0, 1002.0]], data])
    np.testing.assert_allclose(after.mean, everything.mean(0), rtol=1e-6)
    np.testing.assert_allclose(after.m2 / 61, everything.var(0), rtol=1e-3)
