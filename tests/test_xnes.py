"""xNES against its algorithm with the z that solutions were made of, and the evaluations that it
needs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "xnes", population_size="auto", sigma=0.5)


def exponential(symmetric):
    eigenvalues, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.exp(eigenvalues)) @ vectors.T


@pytest.mark.parametrize("rates", [(1.0, None, None), (0.7, 0.2, 0.1)])
def test_thirty_updates_equal_the_algorithm(rates):
    # algorithm 5 line by line; it keeps z, which ours finds again from solutions
    n, p = 6, 9
    default = (9 + 3 * np.log(6)) / (5 * 6 * np.sqrt(6))
    eta_mean, eta_sigma, eta_shape = (default if rate is None else rate for rate in rates)
    u = np.maximum(0, np.log(p / 2 + 1) - np.log(np.arange(1, p + 1)))
    u = u / u.sum() - 1 / p
    mean, sigma, B, random = np.linspace(1, 2, n), 0.5, np.eye(n), np.random.default_rng(0)
    names = ("learning_rate", "learning_rate_sigma", "learning_rate_shape")
    strategy = make(n, population_size=p, **dict(zip(names, rates, strict=True)))
    state = fresh(strategy, jnp.asarray(mean))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    for _ in range(30):
        z = random.normal(size=(p, n))
        solutions = mean + sigma * z @ B.T
        values = (solutions**2 * 10 ** np.linspace(0, 2, n)).sum(axis=1) + solutions[
            :, 0
        ] * solutions[:, -1]
        best_first = z[np.argsort(values)]
        gradient = sum(
            weight * (np.outer(row, row) - np.eye(n))
            for weight, row in zip(u, best_first, strict=True)
        )
        gradient_sigma = np.trace(gradient) / n
        mean = mean + eta_mean * sigma * B @ (u @ best_first)
        sigma = sigma * np.exp(eta_sigma / 2 * gradient_sigma)
        B = B @ exponential(eta_shape / 2 * (gradient - gradient_sigma * np.eye(n)))
        state = update(state, solutions, -values)
    for ours, theirs in zip(state, (mean, sigma, B), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())
    np.testing.assert_allclose(np.linalg.det(state.B), 1, rtol=1e-9)
    assert np.abs(state.B - state.B.T).max() > 0.01  # or Bᵀ for B would pass


def test_a_rotated_ellipsoid_is_solved_in_15000_evaluations():
    scales = 10 ** jnp.linspace(0, 6, 10)
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0])

    def f(x):
        return jnp.sum(scales * (rotation @ x) ** 2)

    assert float(f(evolved(make(10, sigma=2.0), jnp.full(10, 3.0), f, 1500).mean)) < 1e-8


def test_an_all_equal_generation_moves_nothing():
    strategy = make(3, population_size=7)
    state = fresh(strategy, jnp.array([1.0, 2.0, 3.0]))
    moved = tell(
        strategy, state, strategy.ask(jax.random.key(0), state, jnp.arange(7)), jnp.full(7, 4.0)
    )
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14), moved, state
    )
