"""The simple Gaussian strategy: mean and deviations of the parents by NumPy, its floor, and what it
reaches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "simple_gaussian", sigma=0.5, sigma_limit=1e-3)


@pytest.mark.parametrize(
    ("population_size", "parents", "expected"), [(20, 5, 5), (100, None, 10), (12, None, 2)]
)
def test_the_best_members_are_refitted_generation_after_generation(
    population_size, parents, expected
):
    strategy = make(4, population_size=population_size, parents=parents)
    state = fresh(strategy, jnp.ones(4))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    for g in range(8):
        solutions = np.asarray(strategy.ask(jax.random.key(g), state, jnp.arange(population_size)))
        values = (solutions**2).sum(axis=1)
        best = solutions[np.argsort(values)[:expected]]
        state = update(state, solutions, -values)
        sigmas = np.maximum(best.std(axis=0), 1e-3)
        np.testing.assert_allclose(state.mean, best.mean(axis=0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(state.sigmas, sigmas, rtol=1e-9)
        np.testing.assert_allclose(state.sigma, np.prod(sigmas) ** 0.25, rtol=1e-9)


def test_no_deviation_falls_below_the_limit():
    strategy = make(2, population_size=4, parents=2, sigma_limit=0.25)
    solutions = jnp.array([[1.0, 3.0], [1.0, 5.0], [9.0, 9.0], [9.0, 8.0]])
    state = tell(
        strategy, fresh(strategy, jnp.zeros(2)), solutions, jnp.array([2.0, 2.0, 1.0, 0.0])
    )
    np.testing.assert_allclose(state.mean, [1, 4], rtol=1e-12)
    np.testing.assert_allclose(state.sigmas, [0.25, 1], rtol=1e-12)
    np.testing.assert_allclose(state.sigma, 0.5, rtol=1e-12)


def test_with_the_floor_the_sphere_is_solved_in_10000_evaluations():
    # floor 0.02: deviations meet it before the mean arrives, which goes on in steps of that length
    state = evolved(make(10, sigma_limit=0.02), jnp.ones(10), lambda x: jnp.sum(x**2), 100)
    assert float(jnp.sum(state.mean**2)) < 1e-3
    np.testing.assert_allclose(state.sigma, 0.02, rtol=1e-6)


def test_in_an_all_equal_generation_everybody_is_a_parent():
    strategy = make(3, population_size=10)
    state = fresh(strategy, jnp.array([1.0, 2.0, 3.0]))
    solutions = np.asarray(strategy.ask(jax.random.key(0), state, jnp.arange(10)))
    moved = tell(strategy, state, solutions, jnp.full(10, 4.0))
    np.testing.assert_allclose(moved.mean, solutions.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(moved.sigmas, solutions.std(axis=0), rtol=1e-12)
