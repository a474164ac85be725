"""OpenAI-ES against an implementation in NumPy, and what follows from its mirrored samples."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh
from conftest import quickly
from defaults import make_strategy

pytestmark = pytest.mark.usefixtures("quick_to_compile")
make = partial(
    make_strategy,
    "openai_es",
    population_size=8,
    sigma=0.2,
    sigma_decay=1.0,
    learning_rate_decay=1.0,
)


def generation(strategy, key, state, fitness_of):
    solutions = strategy.ask(key, state, jnp.arange(strategy.population_size))
    fitness = fitness_of(solutions)
    weights = strategy.weigh(state, fitness)
    return (
        strategy.update(state, strategy.recombine(state, solutions, weights), fitness),
        solutions,
        fitness,
    )


def ascend(mean, moments, gradient, step, learning_rate, optimizer):
    """One step uphill by the textbook: Kingma & Ba 2015, algorithm 1, or plain gradient ascent."""
    if optimizer == "sgd":
        return mean + learning_rate * gradient, moments
    m = 0.9 * moments[0] + 0.1 * gradient
    v = 0.999 * moments[1] + 0.001 * gradient**2
    return mean + learning_rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8), (
        m,
        v,
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("antithetic", [True, False])
@pytest.mark.parametrize("weight_decay", quickly([0.0, 0.3], 0.3))
def test_updates_equal_those_of_numpy(optimizer, antithetic, weight_decay):
    schedules = {
        "sigma_decay": 0.8,
        "sigma_limit": 0.11,  # 0.2, 0.16, 0.128, then the limit
        "learning_rate_decay": 0.7,
        "learning_rate_limit": 0.02,  # 0.05, 0.035, 0.0245, then the limit
    }
    strategy = make(
        6, optimizer=optimizer, antithetic=antithetic, weight_decay=weight_decay, **schedules
    )
    mean = np.linspace(-1, 2, 6)
    state = fresh(strategy, jnp.asarray(mean))
    moments = np.zeros(6), np.zeros(6)
    for g in range(6):
        sigma, learning_rate = max(0.2 * 0.8**g, 0.11), max(0.05 * 0.7**g, 0.02)
        np.testing.assert_allclose(state.sigma, sigma, rtol=1e-12)
        state, solutions, fitness = generation(
            strategy, jax.random.key(g), state, lambda x: -jnp.sum((x - 0.5) ** 2, axis=1)
        )
        weights = np.argsort(np.argsort(fitness)) / 7 - 0.5  # distinct fitness
        gradient = np.zeros(6)
        for member in range(8):
            gradient += weights[member] * (np.asarray(solutions[member]) - mean) / sigma
        gradient = gradient / (8 * sigma) - weight_decay * mean
        mean, moments = ascend(mean, moments, gradient, g + 1, learning_rate, optimizer)
        np.testing.assert_allclose(state.mean, mean, rtol=1e-10, atol=1e-12)
    assert int(state.generation) == 6


def test_antithetic_twins_are_mirror_images_to_the_bit():
    strategy = make(33, population_size=10)
    around_zero = strategy.ask(jax.random.key(0), fresh(strategy, jnp.zeros(33)), jnp.arange(10))
    np.testing.assert_array_equal(around_zero[0::2], -around_zero[1::2])
    assert len(np.unique(np.abs(around_zero[:, 0]))) == 5  # and no pair is another's


@pytest.mark.parametrize("shaping", ["centered_ranks", "z_score"])
@pytest.mark.parametrize("antithetic", [True, False])
def test_an_all_equal_generation_moves_nothing(shaping, antithetic):
    strategy = make(6, shaping=shaping, antithetic=antithetic)
    mean = jnp.linspace(-1.0, 2.0, 6)
    state, _, _ = generation(
        strategy, jax.random.key(0), fresh(strategy, mean), lambda x: jnp.full(len(x), 3.7)
    )
    np.testing.assert_array_equal(state.mean, mean)


def test_weight_decay_alone_shrinks_the_mean_by_its_share():
    strategy = make(6, optimizer="sgd", learning_rate=0.1, weight_decay=0.5)
    mean = jnp.linspace(-1.0, 2.0, 6)
    state, _, _ = generation(
        strategy, jax.random.key(0), fresh(strategy, mean), lambda x: jnp.zeros(len(x))
    )
    np.testing.assert_allclose(state.mean, 0.95 * mean, rtol=1e-6)


@pytest.mark.parametrize("antithetic", [True, False])
def test_raw_fitness_of_a_line_gives_its_slope(antithetic):
    # E[f(m + sigma z) z] / sigma = slope; 20,000 members leave an error of about |slope| sqrt(n /
    # p) = 0.04
    slope = jnp.array([1.0, -2.0, 0.5])
    strategy = make(
        3,
        population_size=20_000,
        shaping="raw",
        optimizer="sgd",
        learning_rate=1.0,
        antithetic=antithetic,
    )
    state, _, _ = generation(
        strategy, jax.random.key(0), fresh(strategy, jnp.zeros(3)), lambda x: x @ slope
    )
    np.testing.assert_allclose(state.mean, slope, atol=0.12)


def test_the_sphere_is_solved_to_a_thousandth_in_300_generations():
    strategy = make(
        10, population_size=32, sigma=0.05, learning_rate_decay=0.98, learning_rate_limit=0.0
    )

    def body(g, state):
        key = jax.random.fold_in(jax.random.key(0), g)
        return generation(strategy, key, state, lambda x: -jnp.sum(x**2, axis=1))[0]

    state = jax.lax.fori_loop(0, 300, body, fresh(strategy, jnp.ones(10)))
    assert jnp.sum(state.mean**2) < 1e-3


def test_options_that_the_optimizer_does_not_have_are_refused():
    with pytest.raises(
        ValueError, match=r"strategy\.optimizer_options do not fit optax\.adam: .*lookahead"
    ):
        make(6, optimizer_options={"lookahead": 3})
