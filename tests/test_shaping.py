"""Fitness shaping: arrays by hand, ties, plateaus, non-finite fitness."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.strategies.parts.shaping import (
    SHAPING,
    by_order,
    by_rank,
    centered_ranks,
    make_shaping,
    ranks_in_batches,
    raw,
    tied_ranks,
    z_score,
)

WEIGHTS = jnp.array([0.5, 0.3, 0.2, 0.0, -0.4])
RANK_BASED = {
    "centered_ranks": centered_ranks,
    "by_rank": lambda fitness: by_rank(fitness, WEIGHTS),
}


def test_centered_ranks_of_distinct_fitness_are_evenly_spaced():
    np.testing.assert_array_equal(
        centered_ranks(jnp.array([3.0, -1.0, 10.0, 4.0, 0.0])), [0, -0.5, 0.5, 0.25, -0.25]
    )


def test_centered_ranks_of_tied_members_are_the_mean_of_their_ranks():
    np.testing.assert_array_equal(
        centered_ranks(jnp.array([2.0, 7.0, 2.0, 1.0, 2.0])), [0, 0.5, 0, -0.5, 0]
    )


def test_tied_ranks_are_the_first_and_last_rank_of_the_tie():
    first, last = tied_ranks(jnp.array([2.0, 7.0, 2.0, 1.0, 7.0]))
    np.testing.assert_array_equal(first, [2, 0, 2, 4, 0])
    np.testing.assert_array_equal(last, [3, 1, 3, 4, 1])


def test_z_score_by_hand():
    # mean 3, standard deviation sqrt((4 + 4 + 0 + 0) / 4) = sqrt 2
    np.testing.assert_allclose(
        z_score(jnp.array([1.0, 5.0, 3.0, 3.0])), np.array([-2, 2, 0, 0]) / np.sqrt(2), rtol=1e-6
    )


@pytest.mark.parametrize("offset", [0.5, 1.0, 30.0])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6, 1e25])
def test_an_offset_is_added_to_the_standard_deviation_in_units_of_fitness(offset, scale):
    fitness = scale * np.random.default_rng(0).normal(size=9)
    expected = (fitness - fitness.mean()) / (fitness.std() + offset)
    shape = make_shaping("z_score", jnp.float32(offset), None)
    np.testing.assert_allclose(shape(jnp.asarray(fitness, jnp.float32)), expected, rtol=2e-5)


def test_an_offset_of_nothing_changes_no_bit():
    fitness = jnp.asarray(np.random.default_rng(0).normal(size=50), jnp.float32)
    np.testing.assert_array_equal(
        jax.jit(make_shaping("z_score", jnp.float32(0.0), None))(fitness), jax.jit(z_score)(fitness)
    )


@pytest.mark.parametrize(("size", "batches"), [(12, 1), (12, 2), (12, 3), (15, 5), (2000, 2)])
def test_ranks_in_batches_are_the_ranks_of_each_batch_alone(size, batches):
    fitness = np.random.default_rng(size).integers(0, size // 2, size).astype(np.float32)  # ties
    fitness[:: size // 3] = np.nan, *fitness[size // 3 :: size // 3]
    expected = [centered_ranks(jnp.asarray(part)) for part in np.split(fitness, batches)]
    weights = jax.jit(make_shaping("centered_ranks", None, batches))(jnp.asarray(fitness))
    np.testing.assert_array_equal(weights, np.concatenate(expected))
    assert (batches == 1) == np.array_equal(weights, centered_ranks(jnp.asarray(fitness)))


def test_batches_that_are_flat_have_no_weight_whatever_lies_between_them():
    weights = ranks_in_batches(jnp.array([1.0, 1.0, 5.0, 5.0, 2.0, 3.0]), 3)
    np.testing.assert_array_equal(weights, [0, 0, 0, 0, -0.5, 0.5])


def test_by_rank_hands_the_weights_out_from_the_best_down():
    weights = by_rank(jnp.array([0.0, 9.0, -3.0, 4.0, 5.0]), WEIGHTS)
    np.testing.assert_array_equal(weights, WEIGHTS[jnp.array([3, 0, 4, 2, 1])])


def test_by_rank_gives_tied_members_the_mean_of_their_weights():
    weights = by_rank(jnp.array([1.0, 4.0, 4.0, 1.0, 1.0]), WEIGHTS)
    np.testing.assert_allclose(weights, [-0.2 / 3, 0.4, 0.4, -0.2 / 3, -0.2 / 3], rtol=1e-5)
    assert weights[0] == weights[3] == weights[4]
    assert weights[1] == weights[2]


def test_by_order_gives_the_lower_number_of_a_tie_the_better_place():
    weights = by_order(jnp.array([1.0, 4.0, jnp.nan, 4.0, 1.0]), WEIGHTS)
    np.testing.assert_array_equal(weights, WEIGHTS[jnp.array([2, 0, 4, 1, 3])])


@pytest.mark.parametrize("shape", RANK_BASED.values(), ids=RANK_BASED)
def test_ties_do_not_change_the_sum(shape):
    distinct, tied = jnp.arange(5.0), jnp.array([0.0, 1.0, 1.0, 1.0, 4.0])
    np.testing.assert_allclose(shape(tied).sum(), shape(distinct).sum(), atol=1e-6)


@pytest.mark.parametrize("shape", [centered_ranks, z_score])
@pytest.mark.parametrize("population_size", [2, 3, 10, 49, 1000])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e30])
def test_an_all_equal_generation_has_no_weight_at_all(shape, population_size, value):
    weights = jax.jit(shape)(jnp.full(population_size, value))
    np.testing.assert_array_equal(weights, np.zeros(population_size))


@pytest.mark.parametrize("shape", SHAPING.values(), ids=SHAPING)
def test_a_generation_without_any_finite_fitness_has_no_weight_at_all(shape):
    np.testing.assert_array_equal(
        shape(jnp.array([jnp.nan, jnp.inf, -jnp.inf, jnp.nan])), np.zeros(4)
    )


@pytest.mark.parametrize("shape", RANK_BASED.values(), ids=RANK_BASED)
def test_nan_and_infinities_share_the_worst_ranks(shape):
    spoilt = shape(jnp.array([jnp.nan, -2.0, jnp.inf, -1e30, -jnp.inf]))
    worst = shape(jnp.array([-9.0, 2.0, -9.0, 1.0, -9.0]))
    np.testing.assert_array_equal(spoilt, worst)


@pytest.mark.parametrize("shape", [raw, z_score])
def test_nan_and_infinities_stand_with_the_worst_finite_fitness(shape):
    spoilt = shape(jnp.array([jnp.nan, -2.0, jnp.inf, 5.0, -jnp.inf]))
    np.testing.assert_array_equal(spoilt, shape(jnp.array([-2.0, -2.0, -2.0, 5.0, -2.0])))


def test_raw_is_the_fitness():
    np.testing.assert_array_equal(raw(jnp.array([3.0, -1.5, 0.25])), [3.0, -1.5, 0.25])


@pytest.mark.parametrize("shape", RANK_BASED.values(), ids=RANK_BASED)
@pytest.mark.parametrize("rising", [jnp.exp, lambda f: f**3 - 7, lambda f: 1e20 * f, jnp.arctan])
def test_a_strictly_monotone_map_of_fitness_changes_no_weight(shape, rising):
    fitness = jnp.array([1.5, -3.0, 0.0, 1.5, 2.0])
    np.testing.assert_array_equal(shape(rising(fitness)), shape(fitness))
