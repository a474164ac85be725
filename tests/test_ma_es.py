"""MA-ES against its pseudo-code with the z that solutions were made of, and the evaluations that it
needs."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "ma_es", population_size="auto", sigma=0.5)


@pytest.mark.parametrize(("n", "p"), [(2, 6), (10, 10), (20, 13)])
def test_thirty_updates_equal_the_pseudo_code(n, p):
    # figure 3 of the paper line by line; it keeps z, which ours finds again from solutions
    mu = p // 2
    w = np.log(mu + 0.5) - np.log(np.arange(1, mu + 1))
    w /= w.sum()
    mu_eff = 1 / (w**2).sum()
    c_s = (mu_eff + 2) / (mu_eff + n + 5)
    c_1 = 2 / ((n + 1.3) ** 2 + mu_eff)
    c_w = min(1 - c_1, 2 * (mu_eff + 1 / mu_eff - 2) / ((n + 2) ** 2 + mu_eff))
    d_s = 1 + c_s + 2 * max(0, np.sqrt((mu_eff - 1) / (n + 1)) - 1)
    chi = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
    mean, sigma, s, M = np.linspace(1, 2, n), 0.5, np.zeros(n), np.eye(n)

    strategy, random = make(n, population_size=p), np.random.default_rng(0)
    state = fresh(strategy, jnp.asarray(mean))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    for _ in range(30):
        z = random.normal(size=(p, n))
        solutions = mean + sigma * z @ M.T
        values = (solutions**2 * 10 ** np.linspace(0, 2, n)).sum(axis=1) + solutions[
            :, 0
        ] * solutions[:, -1]
        best = z[np.argsort(values)[:mu]]
        mean = mean + sigma * M @ (w @ best)
        s = (1 - c_s) * s + np.sqrt(mu_eff * c_s * (2 - c_s)) * (w @ best)
        zz = sum(weight * np.outer(row, row) for weight, row in zip(w, best, strict=True))
        M = M @ (np.eye(n) + c_1 / 2 * (np.outer(s, s) - np.eye(n)) + c_w / 2 * (zz - np.eye(n)))
        sigma = sigma * np.exp(c_s / d_s * (np.linalg.norm(s) / chi - 1))
        state = update(state, solutions, -values)
    for ours, theirs in zip(state, (mean, sigma, M, s), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())


def test_a_rotated_ellipsoid_is_solved_in_8000_evaluations():
    # n 10, p 10; BBOB-2009, f10: CMA-ES needs about 6100 to 1e-8
    scales = 10 ** jnp.linspace(0, 6, 10)
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(10, 10)))[0])

    def f(x):
        return jnp.sum(scales * (rotation @ x) ** 2)

    assert float(f(evolved(make(10, sigma=2.0), jnp.full(10, 3.0), f, 800).mean)) < 1e-8


def test_solutions_have_the_distribution_of_the_state():
    M = jnp.array([[2.0, 0.0], [1.0, 0.5]])
    strategy = make(2, population_size=20_000)
    state = fresh(strategy, jnp.array([3.0, -1.0]))._replace(M=M)
    y = (strategy.ask(jax.random.key(0), state, jnp.arange(20_000)) - state.mean) / state.sigma
    np.testing.assert_allclose(np.cov(y.T), M @ M.T, atol=0.15)


def test_more_parents_than_members_are_refused():
    with pytest.raises(
        ValueError, match=r"strategy\.parents must be at most the population size 8, got 9"
    ):
        make(5, population_size=8, parents=9)
