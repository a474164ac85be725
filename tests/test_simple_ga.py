"""The simple GA: its archive by NumPy, sums of slices, mutation and crossover, and what it
reaches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "simple_ga", population_size=20, elites=4, sigma=0.5, sigma_limit=0.0)


@pytest.mark.parametrize("crossover", [False, True])
def test_the_archive_is_the_best_members_in_order_generation_after_generation(crossover):
    strategy = make(3, crossover=crossover)
    state = fresh(strategy, jnp.ones(3))
    for g in range(8):
        solutions = np.asarray(strategy.ask(jax.random.key(g), state, jnp.arange(20)))
        np.testing.assert_array_equal(solutions[:4], state.archive)
        values = (solutions**2).sum(axis=1)
        weights = strategy.weigh(state, -values)
        slices = [slice(0, 1), slice(1, 9), slice(9, 20)]
        sums = sum(strategy.recombine(state, solutions[s], weights[s]) for s in slices)
        state = strategy.update(state, sums, values)
        expected = solutions[np.argsort(values, kind="stable")[:4]]
        np.testing.assert_array_equal(state.archive, expected)
        np.testing.assert_array_equal(state.mean, expected[0])


def test_weights_are_rows_of_the_archive_and_the_lower_number_wins_a_tie():
    weights = make(3, population_size=8, elites=3).weigh(
        fresh(make(3), jnp.zeros(3)), jnp.array([1.0, jnp.nan, 5.0, 2.0, 5.0, 2.0, jnp.inf, 0.0])
    )
    np.testing.assert_array_equal(weights, [0, 0, 1, 3, 2, 0, 0, 0])


def test_an_all_equal_generation_moves_nothing():
    strategy = make(3)
    state = fresh(strategy, jnp.zeros(3))._replace(
        archive=jnp.arange(12.0).reshape(4, 3), mean=jnp.arange(3.0)
    )
    moved = tell(
        strategy, state, strategy.ask(jax.random.key(0), state, jnp.arange(20)), jnp.full(20, 4.0)
    )
    jax.tree.map(np.testing.assert_array_equal, moved._replace(generation=state.generation), state)


def test_children_are_mutations_of_elites_drawn_with_equal_chances():
    # 8,000 children of 4 elites far apart: 2000 of each, to within five deviations of 39
    strategy = make(3, population_size=8004, sigma=0.1)
    archive = jnp.arange(4.0)[:, None] * jnp.full((1, 3), 100.0)
    state = fresh(strategy, jnp.zeros(3))._replace(archive=archive)
    children = np.asarray(strategy.ask(jax.random.key(0), state, jnp.arange(8004)))[4:]
    parents = np.rint(children / 100)
    assert (parents == parents[:, :1]).all()
    np.testing.assert_allclose(np.bincount(parents[:, 0].astype(int)), 2000, atol=200)
    np.testing.assert_allclose((children - 100 * parents).std(axis=0), 0.1, rtol=0.05)


def test_with_crossover_every_parameter_comes_from_either_parent():
    strategy = make(3, population_size=8002, elites=2, crossover=True, sigma=0.1)
    state = fresh(strategy, jnp.zeros(3))._replace(archive=jnp.array([[0.0] * 3, [100.0] * 3]))
    children = np.asarray(strategy.ask(jax.random.key(0), state, jnp.arange(8002)))[2:]
    counts = np.bincount((np.rint(children / 100) @ [1, 2, 4]).astype(int), minlength=8)
    # two elites make a pair with chance 1/2, and then any of the 8 patterns 1/8; alike parents have
    # the two pure ones
    np.testing.assert_allclose(counts, [2500, 500, 500, 500, 500, 500, 500, 2500], atol=250)


def test_sigma_decays_to_its_limit():
    strategy = make(3, sigma_decay=0.5, sigma_limit=0.1)
    state, sigmas = fresh(strategy, jnp.zeros(3)), []
    for _ in range(4):
        state = strategy.update(state, state.archive, jnp.zeros(20))
        sigmas.append(float(state.sigma))
    np.testing.assert_allclose(sigmas, [0.25, 0.125, 0.1, 0.1], rtol=1e-12)


def test_a_shifted_sphere_is_solved_in_20000_evaluations():
    strategy = make(5, population_size=100, elites=10, sigma_decay=0.97)
    state = evolved(strategy, jnp.zeros(5), lambda x: jnp.sum((x - 1) ** 2), 200)
    assert float(jnp.sum((state.mean - 1) ** 2)) < 1e-4
