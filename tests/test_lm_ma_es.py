"""LM-MA-ES against its pseudo-code with the z that solutions were made of, its constants,
evaluations and memory."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

from esrun.strategies.lm_ma_es import constants

make = partial(make_strategy, "lm_ma_es", population_size="auto", sigma=0.5)


@pytest.mark.parametrize(("n", "p"), [(30, 14), (100, 17), (40, 38)])
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_thirty_updates_equal_the_pseudo_code(n, p):
    # algorithm 1 of the paper; it keeps z, which ours finds again from solutions. (40, 38) is where
    # c_sigma is held
    mu, k = p // 2, 4 + math.floor(3 * math.log(n))
    w = np.log(mu + 0.5) - np.log(np.arange(1, mu + 1))
    w /= w.sum()
    mu_w = 1 / (w**2).sum()
    c_s = min(1, 2 * p / n)
    c_d = [1 / (1.5 ** (i - 1) * n) for i in range(1, k + 1)]
    c_c = [p / (4 ** (i - 1) * n) for i in range(1, k + 1)]
    mean, sigma, p_s, m = np.linspace(1, 2, n), 0.5, np.zeros(n), np.zeros((k, n))

    strategy, random = make(n, population_size=p), np.random.default_rng(0)
    state = fresh(strategy, jnp.asarray(mean))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    for t in range(30):
        z = random.normal(size=(p, n))
        y = z.copy()
        for i in range(p):
            for j in range(min(t, k)):
                y[i] = (1 - c_d[j]) * y[i] + c_d[j] * m[j] * np.dot(m[j], y[i])
        solutions = mean + sigma * y
        values = (solutions**2 * 10 ** np.linspace(0, 4, n)).sum(axis=1) + solutions[
            :, 0
        ] * solutions[:, -1]
        best = np.argsort(values)[:mu]
        mean = mean + sigma * w @ y[best]
        p_s = (1 - c_s) * p_s + np.sqrt(mu_w * c_s * (2 - c_s)) * (w @ z[best])
        for j in range(k):
            m[j] = (1 - c_c[j]) * m[j] + np.sqrt(mu_w * c_c[j] * (2 - c_c[j])) * (w @ z[best])
        sigma = sigma * np.exp(c_s / 2 * (np.dot(p_s, p_s) / n - 1))
        state = update(state, solutions, -values)
    for ours, theirs in zip(state, (mean, sigma, p_s, m, 30), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9 * np.abs(theirs).max())


@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_asked_solutions_are_the_matrix_times_z():
    # M of two directions in use, written out; the third one waits for its generation
    strategy, state = (
        make(3, population_size=4, sigma=2.0),
        fresh(make(3), jnp.array([1.0, 2.0, 3.0])),
    )
    m = jnp.zeros((7, 3)).at[:3].set(jnp.array([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0], [5.0, 5.0, 5.0]]))
    z = (strategy.ask(jax.random.key(0), state, jnp.arange(4)) - state.mean) / state.sigma
    state = state._replace(m=m, generation=jnp.int32(2))
    assert constants(3, 4, 2).c_d[:2].tolist() == pytest.approx([1 / 3, 2 / 9])
    first = 2 / 3 * np.eye(3) + 1 / 3 * np.outer(m[0], m[0])
    second = 7 / 9 * np.eye(3) + 2 / 9 * np.outer(m[1], m[1])
    x = strategy.ask(jax.random.key(0), state, jnp.arange(4))
    np.testing.assert_allclose((x - state.mean) / state.sigma, z @ (second @ first).T, rtol=1e-12)


def test_constants_by_hand():
    # n 100, p 17: k = 4 + floor(3 ln 100) = 17, and p = auto is the same number
    w, mu_eff, c_sigma, c_d, c_c = constants(100, 17, 8)
    assert make(100).population_size == len(c_d) == len(c_c) == 17
    assert c_sigma == pytest.approx(0.34)
    assert c_d[:3].tolist() == pytest.approx([0.01, 0.01 / 1.5, 0.01 / 2.25])
    assert c_c[:3].tolist() == pytest.approx([0.17, 0.0425, 0.010625])
    raw = [math.log(8.5 / i) for i in range(1, 9)]
    assert w[:8].tolist() == pytest.approx([x / sum(raw) for x in raw])
    assert not w[8:].any()
    assert mu_eff == pytest.approx(sum(raw) ** 2 / sum(x * x for x in raw))


def test_of_several_paths_that_are_the_newest_step_one_is_a_direction():
    _, _, _, c_d, c_c = constants(6, 100, 50)  # 100 / (4^i 6): 16.7, 4.2, 1.04, 0.26, ...
    assert c_c[:4].tolist() == pytest.approx([1, 1, 1, 100 / (64 * 6)])
    assert c_d[:4].tolist() == pytest.approx([0, 0, 1 / (2.25 * 6), 1 / (3.375 * 6)])


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n", "generations"), [(5, 400), (20, 900)])
def test_a_population_larger_than_n_goes_along_a_valley(n, generations):
    def rosenbrock(x):
        return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    mean = evolved(
        make(n, population_size=100, sigma=1.0), jnp.zeros(n), rosenbrock, generations
    ).mean
    assert float(rosenbrock(mean)) < 1e-8


@pytest.mark.parametrize("n", [5, 30])
def test_a_population_larger_than_n_has_rates_of_at_most_one_and_converges(n):
    _, _, c_sigma, _, c_c = constants(n, 100, 50)
    assert (c_sigma, c_c[0]) == (1, 1)
    mean = evolved(
        make(n, population_size=100), jnp.full(n, 3.0), lambda x: jnp.sum(x**2), 100
    ).mean
    assert float(jnp.abs(mean).max()) < 1e-3


@pytest.mark.slow
@pytest.mark.usefixtures("float64", "quick_to_compile")
def test_a_sphere_and_a_rotated_cigar_are_solved_in_the_evaluations_of_the_authors_code():
    # n 100, p 17, from 3 with sigma 2 to 1e-8: lmmaes 0.3.2, by one of the authors, takes 10,200
    # and 273,241
    direction = jnp.asarray(np.random.default_rng(0).normal(size=100))
    direction = direction / jnp.linalg.norm(direction)

    def sphere(x):
        return x @ x

    def cigar(x):
        along = direction @ x
        across = x - along * direction
        return along**2 + 1e6 * across @ across

    for f, evaluations in ((sphere, 12_000), (cigar, 310_000)):
        state = evolved(make(100, sigma=2.0), jnp.full(100, 3.0), f, evaluations // 17)
        assert float(f(state.mean)) < 1e-8


def test_a_generation_of_100_000_parameters_needs_no_more_than_some_populations_of_memory():
    n = 100_000
    strategy = make(n)
    state = jax.eval_shape(lambda: fresh(strategy, jnp.zeros(n)))

    def generation(state, key):
        solutions = strategy.ask(key, state, jnp.arange(strategy.population_size))
        return tell(strategy, state, solutions, -jnp.sum(solutions**2, axis=1))

    compiled = jax.jit(generation).lower(state, jax.eval_shape(lambda: jax.random.key(0))).compile()
    population = 4 * strategy.population_size * n  # the directions are as many as members: 38
    memory = compiled.memory_analysis()
    assert memory.argument_size_in_bytes < 1.2 * population
    assert memory.temp_size_in_bytes < 6 * population  # n^2 would be 2600


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.usefixtures("float64")
def test_few_parameters_and_many_members_converge(n):
    mean = evolved(make(n, population_size=100), jnp.ones(n), lambda x: jnp.sum(x**2), 150).mean
    assert float(jnp.abs(mean).max()) < 1e-6


def test_more_parents_than_members_are_refused():
    with pytest.raises(
        ValueError, match=r"strategy\.parents must be at most the population size 8, got 9"
    ):
        make(50, population_size=8, parents=9)
