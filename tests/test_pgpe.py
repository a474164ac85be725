"""PGPE against its algorithm in NumPy, ClipUp by hand, and the limit on the change of sigma."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import evolved, fresh, tell
from defaults import make_strategy

from esrun.strategies.parts.clipup import clipup

pytestmark = pytest.mark.usefixtures("float64", "quick_to_compile")
make = partial(make_strategy, "pgpe", population_size=10, sigma=0.2, learning_rate=0.1)


def sampled(strategy, state, key):
    return strategy.ask(key, state, jnp.arange(strategy.population_size))


def test_a_first_step_is_the_learning_rate_long_whatever_the_gradient():
    options = {"learning_rate": 0.5, "momentum": 0.9, "max_speed": 10.0}
    for scale in (1e-9, 1.0, 1e9):
        velocity = clipup(jnp.zeros(2), scale * jnp.array([3.0, -4.0]), **options)
        np.testing.assert_allclose(velocity, [0.3, -0.4], rtol=1e-12)


def test_clipup_by_hand():
    options = {"learning_rate": 0.5, "momentum": 0.8, "max_speed": 1.0}
    free = clipup(jnp.array([0.5, 0.0]), jnp.array([0.0, 7.0]), **options)
    np.testing.assert_allclose(free, [0.4, 0.5], rtol=1e-12)  # 0.64 long
    clipped = clipup(jnp.array([0.9, 0.5]), jnp.array([2.0, 0.0]), **options)
    np.testing.assert_allclose(clipped, np.array([1.22, 0.4]) / np.hypot(1.22, 0.4), rtol=1e-12)
    without_gradient = clipup(jnp.array([0.5, -0.25]), jnp.zeros(2), **options)
    np.testing.assert_allclose(without_gradient, [0.4, -0.2], rtol=1e-12)
    np.testing.assert_array_equal(clipup(jnp.zeros(2), jnp.zeros(2), **options), [0, 0])


def utilities(fitness, shaping):
    """Of distinct fitness."""
    if shaping == "centered_ranks":
        return np.argsort(np.argsort(fitness)) / (len(fitness) - 1) - 0.5
    return fitness if shaping == "raw" else (fitness - fitness.mean()) / fitness.std()


@pytest.mark.parametrize("shaping", ["centered_ranks", "z_score", "raw"])
@pytest.mark.parametrize(("max_speed", "learning_rate_sigma"), [(None, 0.1), (0.13, 0.9)])
def test_thirty_updates_equal_the_algorithm(shaping, max_speed, learning_rate_sigma):
    n, p = 6, 10
    mean, sigmas, velocity = np.linspace(1, 2, n), np.full(n, 0.2), np.zeros(n)
    strategy = make(
        n, max_speed=max_speed, learning_rate_sigma=learning_rate_sigma, shaping=shaping
    )
    state = fresh(strategy, jnp.asarray(mean))
    update = jax.jit(lambda state, x, fitness: tell(strategy, state, x, fitness))
    random, clipped = np.random.default_rng(0), 0
    for _ in range(30):
        noise = sigmas * random.normal(size=(p // 2, n))
        solutions = np.stack([mean + noise, mean - noise], axis=1).reshape(p, n)
        fitness = -(solutions**2 * 10 ** np.linspace(0, 2, n)).sum(axis=1)
        r = utilities(fitness, shaping)
        baseline = r.mean()
        gradient, gradient_sigma = np.zeros(n), np.zeros(n)
        for i in range(p // 2):
            plus, minus = r[2 * i], r[2 * i + 1]
            gradient += noise[i] * (plus - minus) / 2
            gradient_sigma += ((plus + minus) / 2 - baseline) * (noise[i] ** 2 - sigmas**2) / sigmas
        velocity = 0.9 * velocity + 0.1 * gradient / np.linalg.norm(gradient)
        velocity *= min(1, (max_speed or 0.2) / np.linalg.norm(velocity))
        mean = mean + velocity
        wanted = sigmas + learning_rate_sigma * gradient_sigma / (p // 2)
        sigmas = np.clip(wanted, 0.8 * sigmas, 1.2 * sigmas)
        clipped += np.sum(sigmas != wanted)
        state = update(state, solutions, fitness)
    expected = mean, np.exp(np.log(sigmas).mean()), sigmas, velocity
    for ours, theirs in zip(state, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    if learning_rate_sigma == 0.9:
        assert clipped > 0


def test_the_learning_rate_may_follow_from_sigma_and_n():
    strategy = make(16, sigma=0.5, learning_rate=None, momentum=0.0)
    state = fresh(strategy, jnp.zeros(16))
    solutions = sampled(strategy, state, jax.random.key(0))
    after = tell(strategy, state, solutions, solutions[:, 0])
    np.testing.assert_allclose(jnp.linalg.norm(after.mean), 0.2, rtol=1e-12)  # 0.5 * 4 / 10


def test_no_sigma_changes_by_more_than_its_share():
    strategy = make(3, sigma=0.5, sigma_max_change=0.1, learning_rate_sigma=100.0)
    state = fresh(strategy, jnp.zeros(3))
    solutions = sampled(strategy, state, jax.random.key(0))
    # far from the mean is good along the first parameter, bad along the second
    after = tell(strategy, state, solutions, solutions[:, 0] ** 2 - 9 * solutions[:, 1] ** 2)
    np.testing.assert_allclose(after.sigmas[:2], [0.55, 0.45], rtol=1e-12)


@pytest.mark.parametrize("shaping", ["centered_ranks", "z_score", "raw"])
def test_an_all_equal_generation_has_no_weights(shaping):
    strategy = make(3, shaping=shaping)
    weights = strategy.weigh(fresh(strategy, jnp.zeros(3)), jnp.full(10, 3.7))
    np.testing.assert_array_equal(weights, 0)


def test_a_member_that_fails_counts_as_the_worst():
    strategy = make(3)
    state = fresh(strategy, jnp.zeros(3))
    solutions = sampled(strategy, state, jax.random.key(0))
    fitness = jnp.arange(10.0)
    failed, worst = (
        tell(strategy, state, solutions, fitness.at[4].set(bad)) for bad in (jnp.nan, -1.0)
    )
    jax.tree.map(np.testing.assert_array_equal, failed, worst)


def test_the_sphere_is_solved_to_a_thousandth_and_sigma_shrinks():
    strategy = make(10, population_size=32, sigma=0.5, learning_rate=0.01, learning_rate_sigma=0.3)
    state = evolved(strategy, jnp.full(10, 0.3), lambda x: jnp.sum(x**2), 400)
    assert jnp.sum(state.mean**2) < 1e-3
    assert state.sigma < 0.05
