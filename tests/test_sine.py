"""The sine task: its points, rewards and error by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from esrun.tasks import normalizer
from esrun.tasks.sine import make_sine
from esrun.types import Policy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

FIXED = {
    "sequence_length": 8,
    "batch_size": 16,
    "span": 20.0,
    "jitter": 0.0,
    "reward": "negative_error",
    "episodes": 3,
}
LINEAR = Policy(lambda key: None, lambda: (), lambda w, carry, x: ((x @ w)[None], carry))
"""Answers the product of its weights [s - 1] and the input."""

# sin(a + h) = 2 cos(h) sin(a) - sin(a - h): the last two values say the next one exactly
EXACT = np.zeros(7)
EXACT[-1], EXACT[-2] = 2 * np.cos(1 / 8), -1


def probe(position):
    """-> weights that answer input number `position`."""
    return np.eye(7)[position]


def evaluate(keys, *weights, normalizer=None, **changes):
    return make_sine(**FIXED | changes).evaluate(
        keys, LINEAR, jnp.asarray(np.stack(weights), float), normalizer
    )


def points_by_hand(key, span, jitter, batch_size=16, s=8):
    """-> values [batch_size, s] of an episode, drawn with the task's key scheme and computed in
    NumPy."""
    end_key, jitter_key = jax.random.split(key)
    end = np.asarray(
        jax.random.uniform(end_key, (batch_size, 1), minval=-span, maxval=span), np.float64
    )
    moved = np.asarray(
        jax.random.uniform(jitter_key, (batch_size, s), minval=-jitter, maxval=jitter), np.float64
    )
    return np.sin(end - np.arange(s - 1, -1, -1) / s + moved)


@pytest.mark.parametrize("jitter", [0.0, 0.05])
def test_error_of_each_input_as_the_answer_is_its_mean_distance_from_the_target(keys, jitter):
    seen = evaluate(keys(3), *(probe(i) for i in range(7)), np.zeros(7), jitter=jitter)
    for e, key in enumerate(keys(3)):
        values = points_by_hand(key, 20.0, jitter)
        answers = np.concatenate([values[:, :-1], np.zeros((16, 1))], axis=1)
        expected = np.abs(answers - values[:, -1:]).mean(0)
        np.testing.assert_allclose(
            seen.measures["absolute_error"][:, e], expected, rtol=1e-4, atol=1e-5
        )


def test_without_jitter_the_last_two_values_say_the_next_exactly(keys):
    assert np.max(evaluate(keys(3), EXACT).measures["absolute_error"]) < 1e-5


def test_jitter_spoils_the_exact_answer_by_no_more_than_its_amount(keys):
    error = np.asarray(evaluate(keys(3), EXACT, jitter=0.001).measures["absolute_error"])
    assert np.all(error > 1e-4)
    assert np.all(error < 0.001 * (1 + 2 * np.cos(1 / 8) + 1))


def test_negative_error_is_minus_the_mean_absolute_error(keys):
    seen = evaluate(keys(3), probe(0), probe(6))
    np.testing.assert_array_equal(seen.returns, -seen.measures["absolute_error"])


def test_inverse_square_is_one_over_the_squared_error(keys):
    seen = evaluate(keys(3), probe(0), EXACT, reward="inverse_square")
    error = np.asarray(seen.measures["absolute_error"], np.float64)
    np.testing.assert_allclose(seen.returns, 1 / (error**2 + 1e-8), rtol=1e-5)


def test_shape_steps_and_sizes(keys):
    task = make_sine(**FIXED)
    assert (task.input_shape, task.output_size, task.episodes) == ((7,), 1, 3)
    seen = evaluate(keys(3), EXACT, EXACT)
    assert seen.returns.shape == (2, 3)
    np.testing.assert_array_equal(seen.steps, [48, 48])
    np.testing.assert_array_equal(seen.returns[0], seen.returns[1])


def test_end_points_span_the_whole_interval(keys):
    wide, narrow = (evaluate(keys(1), probe(6), span=span, batch_size=512) for span in (20.0, 1e-6))
    # the mean of |sin x - sin(x - 1/8)| is 2 sin(1/16) times the mean of |cos|: 2 / pi over
    # periods, cos(1/16) around 0
    assert wide.measures["absolute_error"][0, 0] == pytest.approx(
        2 * np.sin(1 / 16) * 2 / np.pi, rel=0.1
    )
    assert narrow.measures["absolute_error"][0, 0] == pytest.approx(
        2 * np.sin(1 / 16) * np.cos(1 / 16), rel=1e-4
    )


def test_normalizer_sees_the_inputs_of_every_sequence_and_the_policy_normalized_ones(keys):
    values = np.concatenate([points_by_hand(key, 20.0, 0.0) for key in keys(3)])
    inputs, targets = values[:, :-1], values[:, -1]
    moments = normalizer.Moments(
        jnp.array(4.0), jnp.full(7, 0.5), jnp.full(7, 4.0 * 0.25)
    )  # mean 1/2, deviation 1/2
    seen = evaluate(keys(3), probe(2), probe(6), normalizer=moments)
    after = normalizer.merge(normalizer.fresh((7,)), jax.tree.map(lambda x: x[1], seen.inputs))
    assert after.count == 48
    np.testing.assert_allclose(seen.inputs.first[0], (inputs - 0.5).sum(0), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(seen.inputs.second[0], ((inputs - 0.5) ** 2).sum(0), rtol=1e-4)
    expected = np.abs((inputs[:, 2] - 0.5) / 0.5 - targets).reshape(3, 16).mean(1)
    np.testing.assert_allclose(seen.measures["absolute_error"][0], expected, rtol=1e-4)
