"""SNES against its algorithm in NumPy, its utilities by hand, and the evaluations that it needs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

from esrun.strategies.parts.natural import utilities

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "snes", population_size="auto", sigma=0.5)


def test_utilities_by_hand():
    # p 4: ln 3 - ln k is positive for k = 1 and 2
    total = np.log(3) + np.log(1.5)
    np.testing.assert_allclose(
        utilities(4), [np.log(3) / total - 0.25, np.log(1.5) / total - 0.25, -0.25, -0.25]
    )


@pytest.mark.parametrize(
    ("rates", "eta_mean", "eta_sigma"), [((1.0, None), 1.0, None), ((0.7, 0.2), 0.7, 0.2)]
)
def test_thirty_updates_equal_the_algorithm(rates, eta_mean, eta_sigma):
    n, p = 6, 9
    eta_sigma = (3 + np.log(6)) / (5 * np.sqrt(6)) if eta_sigma is None else eta_sigma
    u = np.maximum(0, np.log(p / 2 + 1) - np.log(np.arange(1, p + 1)))
    u = u / u.sum() - 1 / p
    mean, sigmas, random = np.linspace(1, 2, n), np.full(n, 0.5), np.random.default_rng(0)
    strategy = make(n, population_size=p, learning_rate=rates[0], learning_rate_sigma=rates[1])
    state = fresh(strategy, jnp.asarray(mean))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    for _ in range(30):
        z = random.normal(size=(p, n))
        solutions = mean + sigmas * z
        values = (solutions**2 * 10 ** np.linspace(0, 2, n)).sum(axis=1)
        best_first = z[np.argsort(values)]
        mean = mean + eta_mean * sigmas * (u @ best_first)
        sigmas = sigmas * np.exp(eta_sigma / 2 * (u @ (best_first**2 - 1)))
        state = update(state, solutions, -values)
    for ours, theirs in zip(state, (mean, np.prod(sigmas) ** (1 / n), sigmas), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_a_separable_ellipsoid_is_solved_in_10000_evaluations():
    scales = 10 ** jnp.linspace(0, 6, 10)
    state = evolved(make(10, sigma=2.0), jnp.full(10, 3.0), lambda x: jnp.sum(scales * x**2), 1000)
    assert float(jnp.sum(scales * state.mean**2)) < 1e-8


def test_an_all_equal_generation_moves_nothing():
    strategy = make(3, population_size=7)
    state = fresh(strategy, jnp.array([1.0, 2.0, 3.0]))
    moved = tell(
        strategy, state, strategy.ask(jax.random.key(0), state, jnp.arange(7)), jnp.full(7, 4.0)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14), moved, state)
