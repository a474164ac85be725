"""ARS against its algorithm in NumPy, its choice of directions by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

from esrun.strategies.ars import difference_weights

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(
    make_strategy, "ars", population_size=16, sigma=0.1, learning_rate=0.05, parents=None
)


@pytest.mark.parametrize("parents", [None, 3, 1])
def test_thirty_updates_equal_the_algorithm(parents):
    n, directions, nu, alpha = 6, 8, 0.1, 0.05
    b = parents or directions
    mean, random = np.linspace(1, 2, n), np.random.default_rng(0)
    strategy = make(n, parents=parents)
    state = fresh(strategy, jnp.asarray(mean))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    for _ in range(30):
        delta = random.normal(size=(directions, n))
        solutions = np.stack([mean + nu * delta, mean - nu * delta], axis=1).reshape(
            2 * directions, n
        )
        rewards = -(solutions**2 * 10 ** np.linspace(0, 1, n)).sum(axis=1)
        pairs = sorted(
            ((rewards[2 * k], rewards[2 * k + 1], delta[k]) for k in range(directions)),
            key=lambda pair: max(pair[0], pair[1]),
            reverse=True,
        )[:b]
        sigma_R = np.std([reward for plus, minus, _ in pairs for reward in (plus, minus)])
        mean = mean + alpha / (b * sigma_R) * sum(
            (plus - minus) * direction for plus, minus, direction in pairs
        )
        state = update(state, solutions, rewards)
    np.testing.assert_allclose(state.mean, mean, rtol=1e-9)
    np.testing.assert_array_equal(state.sigma, nu)


def test_the_directions_with_the_best_member_are_used():
    # directions (1, 9), (5, 6), (8, 2), (4, 4): best members 9, 6, 8, 4
    fitness = jnp.array([1.0, 9, 5, 6, 8, 2, 4, 4])
    two = np.array([-8, 8, 0, 0, 6, -6, 0, 0]) / (2 * 2 * np.std([1, 9, 8, 2]))
    np.testing.assert_allclose(difference_weights(fitness, 2), two, rtol=1e-12)
    all_four = np.array([-8, 8, -1, 1, 6, -6, 0, 0]) / (2 * 4 * np.std(fitness))
    np.testing.assert_allclose(difference_weights(fitness, 4), all_four, rtol=1e-12)


def test_directions_tied_with_the_last_one_are_used_too():
    fitness = jnp.array([7.0, 0, 9, 1, 3, 7, 2, 6])  # best members 7, 9, 7, 6
    three = np.array([7, -7, 8, -8, -4, 4, 0, 0]) / (2 * 3 * np.std([7, 0, 9, 1, 3, 7]))
    np.testing.assert_allclose(difference_weights(fitness, 2), three, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pair_with_a_member_that_fails_is_never_used(bad):
    fitness = jnp.array([1.0, 9, 5, bad, bad, 2, 4, 3])
    two = np.array([-8, 8, 0, 0, 0, 0, 1, -1]) / (2 * 2 * np.std([1, 9, 4, 3]))
    for parents in (2, 3, 4):
        np.testing.assert_allclose(difference_weights(fitness, parents), two, rtol=1e-12)
    np.testing.assert_array_equal(difference_weights(jnp.full(8, bad), 2), np.zeros(8))


@pytest.mark.parametrize("parents", [None, 2])
def test_an_all_equal_generation_moves_nothing(parents):
    strategy = make(3, parents=parents)
    state = fresh(strategy, jnp.array([1.0, 2.0, 3.0]))
    solutions = strategy.ask(jax.random.key(0), state, jnp.arange(16))
    jax.tree.map(
        np.testing.assert_array_equal, tell(strategy, state, solutions, jnp.full(16, 3.7)), state
    )


@pytest.mark.parametrize("parents", [None, 8])
def test_the_sphere_is_solved_to_a_thousandth_in_200_generations(parents):
    strategy = make(10, population_size=32, sigma=0.02, learning_rate=0.02, parents=parents)
    state = evolved(strategy, jnp.ones(10), lambda x: jnp.sum(x**2), 200)
    assert jnp.sum(state.mean**2) < 1e-3
