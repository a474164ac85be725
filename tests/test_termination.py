"""The termination tests of CMA-ES: each ends the search that it is made for, and stagnation as
NumPy tells it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh, tell
from defaults import make_strategy

from esrun.strategies.cma_es import decompose
from esrun.strategies.parts import termination
from esrun.strategies.parts.flat import still_where_flat
from esrun.strategies.parts.termination import fresh_history, record

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "cma_es", population_size="auto", sigma=0.5, decompose_every=1)


def search(f, n, limit=5000, **changes):
    """-> (generations, the tests that ended the search)."""
    strategy = make(n, **changes)

    def go_on(state):
        return ~jnp.any(jnp.stack(list(strategy.ended(state).values()))) & (
            state.generation < limit
        )

    def body(state):
        x = strategy.ask(
            jax.random.fold_in(jax.random.key(0), state.generation),
            state,
            jnp.arange(strategy.population_size),
        )
        return tell(strategy, state, x, -jax.vmap(f)(x))

    state = jax.jit(lambda: jax.lax.while_loop(go_on, body, fresh(strategy, jnp.ones(n))))()
    return int(state.generation), {
        reason.name for reason, yes in strategy.ended(state).items() if yes
    }


def flat_search(told, generations, **changes):
    """-> the generations of a flat function after which tolfun holds, those after `told` of a
    slope."""
    strategy = still_where_flat(make(5, population_size=20, **changes))
    state, ended = fresh(strategy, jnp.ones(5)), []

    @jax.jit
    def step(state, g):
        x = strategy.ask(jax.random.fold_in(jax.random.key(0), g), state, jnp.arange(20))
        state = tell(strategy, state, x, jnp.where(g < told, x[:, 0], 0.0))
        return state, strategy.ended(state)[termination.TOLFUN]

    for g in range(generations):
        state, yes = step(state, g)
        ended.append(bool(yes))
    return [g + 1 for g, yes in enumerate(ended) if yes]


def test_a_search_that_was_told_something_ends_by_tolfun_once_the_window_is_flat():
    window = 10 + 8  # 10 + 30 n / p, rounded up
    assert flat_search(3, 3 + window + 1) == [3 + window, 3 + window + 1]


def test_a_search_that_was_told_nothing_has_not_converged_unless_another_one_follows():
    assert flat_search(0, 25) == []
    assert flat_search(0, 19, restarts="bipop") == [18, 19]


@pytest.mark.parametrize(
    ("f", "n", "name"),
    [
        (lambda x: jnp.sum(x**2), 4, "tolfun"),
        (
            lambda x: 1e60 * jnp.sum(x**2),
            4,
            "tolx",
        ),  # fitness that differs however close to 0 the members are
        (lambda x: x[0], 4, "tolfacupx"),
        (lambda x: 1e60 * (x[0] ** 2 + 1e16 * (x[1] - 0.7 * x[0]) ** 2), 2, "tolconditioncov"),
    ],
    ids=["tolfun", "tolx", "tolfacupx", "tolconditioncov"],
)
def test_a_search_ends_by_the_test_that_is_made_for_it(f, n, name):
    generations, names = search(f, n)
    assert names == {name}
    assert 20 < generations < 5000


def found(mean, C, sigma):
    """-> the tests that hold for N(mean, sigma^2 C) after a fruitful search."""
    C, mean, sigma = jnp.asarray(C), jnp.asarray(mean), jnp.asarray(sigma)
    _, _, spectrum = decompose(C, mean, sigma)
    held = termination.fulfilled(
        mean,
        sigma,
        jnp.sqrt(jnp.diag(C)),
        jnp.ones(2),
        1e-3,
        spectrum,
        fresh_history(2, False, mean.dtype),
    )
    return {reason.name for reason, yes in held.items() if yes}


def test_an_axis_without_effect_is_found_where_no_coordinate_tells():
    # deviations of 1e-3 and 1e-8 along the diagonals; a mean of 1e9 resolves 1.2e-7, half of which
    # is rounded away
    diagonal = np.array([[1, 1], [1, -1]]) / np.sqrt(2)
    C = diagonal.T @ np.diag([1e-6, 1e-16]) @ diagonal
    assert found([1e9, 1e9], C, 1.0) == {"noeffectaxis"}
    assert found([1.0, 1.0], C, 1.0) == set()


def test_a_coordinate_without_effect_is_found():
    C = np.array([[1, 0.5], [0.5, 1]])  # every axis moves the second coordinate
    assert found([1e9, 1.0], C, 1e-7) == {"noeffectcoord"}
    assert found([1e9, 1.0], C, 1e-5) == set()


def stagnates(best, median, n, p):
    """The tutorial's words in NumPy, over all generations so far."""
    g = len(best)
    length = min(max(g // 5, 120 + -(-30 * n // p)), 20_000)
    if g < length:
        return False
    share = 3 * length // 10

    def worse(x):
        x = x[-length:]
        return np.sort(x[-share:])[share // 2] <= np.sort(x[:share])[share // 2]

    return worse(best) and worse(median)


@pytest.mark.parametrize("slope", [0.0, 0.02, -0.02])
def test_stagnation_is_told_as_numpy_tells_it(slope):
    p, n, generations = 10, 3, 3000
    fitness = (
        np.random.default_rng(0).normal(size=(generations, p))
        + slope * np.arange(generations)[:, None]
    )

    def step(history, row):
        g, values = row
        history = record(history, g, values, n)
        return history, history.stagnating

    start = fresh_history(n, True, jnp.zeros(()).dtype)
    _, told = jax.jit(
        lambda: jax.lax.scan(step, start, (jnp.arange(generations), jnp.asarray(fitness)))
    )()
    best, median = fitness.max(axis=1), np.median(fitness, axis=1)
    looks = np.arange(termination.PATIENCE, generations + 1, termination.PATIENCE)
    expected = [stagnates(best[:g], median[:g], n, p) for g in looks]
    np.testing.assert_array_equal(np.asarray(told)[looks - 1], expected)
    if slope:
        assert all(expected) == (slope < 0)
