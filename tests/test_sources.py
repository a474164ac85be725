"""Presets made from other people's code: an update is what that code computes, given the same noise
and the same rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from asktell import fresh, tell

from esrun.config import registry
from esrun.config.check import checked
from esrun.config.compose import composed
from esrun.tasks.sine import make_sine

N, STEPS = 9, 6
TUTORIAL = {"activation": "gelu", "hidden": [64] * 3, "init": "uniform", "init_scale": 0.3}
"""The constants of its three scripts: --network_width, --network_depth, --init_scale."""
SIGMA, L2 = 0.03, 0.005


def config(preset, *more):
    return checked(composed([f"experiment={preset}", *more]).config)


def made(kind, model, **given):
    """-> a part with the numbers of a checked option."""
    options = model.model_dump(exclude={*model.run_keys, "name"})
    return registry.factory(kind, model.name)(**options, **given)


def ranks_from(rewards, first):
    """-> how many are worse, + `first`; all differ."""
    return np.array([np.sum(rewards < x) for x in rewards]) + first


def adam(gradient, state):
    """-> (the step of the tutorial's `adam_update`, its state)."""
    m, v, t = state
    a = 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    return -a * m / (np.sqrt(v) + 1e-8), (m, v, t + 1)


class Simple:
    """simple.py: `get_scaled_noise` and what it is added to."""

    members = 64

    def __init__(self, first):
        pass

    def step(self, mean, noise, rewards):
        a = (rewards - rewards.mean()) / (rewards.std() + 1)
        return mean + 0.007 / (64 * SIGMA) * (noise.T @ a)


class Advanced:
    """advanced.py; `noise` has the pairs, one behind the other."""

    members, batches = 128, 1

    def __init__(self, first):
        self._state = np.zeros(N), np.zeros(N), 1
        self._first = np.sum(first * first)

    def rewarded(self, reward, params):
        return reward / np.sum(params * params)

    def step(self, mean, noise, rewards):
        rewards = np.array(
            [self.rewarded(r, mean + x) for r, x in zip(rewards, noise, strict=True)]
        )
        sums = []
        for part, x in zip(
            np.split(rewards, self.batches), np.split(noise, self.batches), strict=True
        ):
            centered = ranks_from(part, 0) / (len(part) - 1) - 0.5
            sums.append((centered[::2] - centered[1::2]) @ x[::2])
        step, self._state = adam(-np.mean(sums, axis=0) + L2 * mean, self._state)
        return mean + step


class Parallel(Advanced):
    """parallel.py on one device."""

    batches = 4

    def rewarded(self, reward, params):
        return reward - (abs(self._first) - np.sum(params * params))


class EsTorch:
    """es_torch/optim.py, `ES.step`, and its `centered_rank`."""

    members = 30

    def __init__(self, first):
        pass

    def step(self, mean, noise, rewards):
        ranks = (ranks_from(rewards, 0) - (29 / 2)) / 29
        perturbed = mean + noise  # it multiplies what it has perturbed; the ranks add up to 0
        gradient = 0.04 / (30 * 0.025) * np.einsum("np,n->p", perturbed, ranks)
        return mean + gradient - 0.04 * 0.0025 * mean


SOURCES = {
    "sine_simple": Simple,
    "sine_advanced": Advanced,
    "sine_parallel": Parallel,
    "halfcheetah_es_torch": EsTorch,
}


@pytest.mark.usefixtures("float64", "quick_to_compile")
@pytest.mark.parametrize("preset", SOURCES)
def test_updates_are_those_of_the_code_that_a_preset_is_made_from(preset):
    random = np.random.default_rng(0)
    strategy = made("strategy", config(preset).strategy, n=N)
    mean = random.uniform(-0.3, 0.3, N)
    state, source = fresh(strategy, jnp.asarray(mean)), SOURCES[preset](mean)
    assert strategy.population_size == source.members
    begin = mean
    for g in range(STEPS):
        here = np.asarray(state.mean)
        solutions = strategy.ask(jax.random.key(g), state, jnp.arange(source.members))
        noise = np.asarray(solutions) - here
        if strategy.unit == 2:
            np.testing.assert_allclose(noise[::2], -noise[1::2], atol=1e-12)
        # rewards near enough for the weights to matter; some lower than the weights' part
        rewards = 1 + 0.05 * random.normal(size=source.members)
        told = jnp.asarray(rewards)
        if strategy.decay_fitness is not None:
            told = strategy.decay_fitness(solutions, told)
        state = tell(strategy, state, solutions, told)
        before, mean = mean, source.step(mean, noise, rewards)
        # their decay has three or four digits in the yaml
        np.testing.assert_allclose(state.mean - here, mean - before, rtol=1e-3, atol=2e-6)
    assert np.abs(mean - begin).max() > 1e-4


@pytest.mark.usefixtures("float64", "quick_to_compile")
@pytest.mark.parametrize("preset", ["sine_simple", "halfcheetah_es_torch", "sine_advanced"])
def test_another_unit_would_be_seen(preset):
    """A step without the conversion, or a decay without it, is not the source's."""
    mean = np.random.default_rng(0).uniform(0.1, 0.3, N)
    wrong = {
        "sine_simple": "strategy.learning_rate=0.007",
        "halfcheetah_es_torch": "strategy.weight_decay=0.0025",
        "sine_advanced": "strategy.weight_decay=0.005",
    }[preset]

    def stepped(*more):
        strategy = made("strategy", config(preset, *more).strategy, n=N)
        state = fresh(strategy, jnp.asarray(mean))
        solutions = strategy.ask(jax.random.key(0), state, jnp.arange(strategy.population_size))
        rewards = 1 + 0.05 * np.random.default_rng(1).normal(size=len(solutions))
        for _ in range(2):
            state = tell(strategy, state, solutions, jnp.asarray(rewards))
        return np.asarray(state.mean)

    assert np.abs(stepped() - stepped(wrong)).max() > 1e-5


@pytest.mark.parametrize("preset", ["sine_simple", "sine_advanced", "sine_parallel"])
def test_the_tutorials_sizes_are_its_own(preset):
    ours = config(preset)
    assert ours.policy.model_dump().items() >= TUTORIAL.items()
    assert (ours.generations, ours.strategy.sigma) == (10_000, SIGMA)
    task = make_sine(**ours.task.model_dump(exclude={*ours.task.run_keys, "name"}))
    assert (task.input_shape, ours.task.batch_size, ours.task.span) == ((7,), 64, 20.0)
    assert ours.task.jitter == (0.0 if preset == "sine_parallel" else 0.001)
    policy = made("policy", ours.policy, input_shape=(7,), output_size=1)
    params = jax.tree.leaves(policy.init(jax.random.key(0)))
    assert sum(x.size for x in params) == 8 * 64 + 2 * 65 * 64 + 65
    every = jnp.concatenate([x.ravel() for x in params])  # weights and biases
    assert 0.29 < jnp.max(jnp.abs(every)) <= 0.3
    assert all(jnp.std(x) > 0.1 for x in params if x.size > 1)


@pytest.mark.parametrize("error", [1.0, 0.05, 1e-6])
def test_the_reward_is_the_tutorials(error):
    from esrun.types import Policy

    chosen = config("sine_simple").task
    options = chosen.model_dump(exclude={"name", *chosen.run_keys})
    task = make_sine(**options | {"jitter": 0.0})
    off = Policy(lambda key: None, lambda: (), lambda w, carry, x: (exact(x)[None] + w, carry))
    seen = task.evaluate(jax.random.split(jax.random.key(0), 1), off, jnp.array([error]), None)
    assert float(seen.returns[0, 0]) == pytest.approx(1 / (error**2 + 1e-8), rel=0.1)


def exact(x):
    """-> the next point: sin(a + h) = 2 cos(h) sin(a) - sin(a - h)."""
    return 2 * jnp.cos(1 / 8) * x[-1] - x[-2]
