"""The 25 environments: their options say what gymnax does, and each trains by its own."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT, make_policy

from esrun.config.schema.environments import IMAGES, environments
from esrun.tasks.gymnax import make_gymnax
from esrun.training.loop import advance_until

pytestmark = pytest.mark.usefixtures("quick_to_compile")

NAMED = environments()
DOWNLOADING = NAMED.pop("MNISTBandit-bsuite")
ENDS_ITSELF = {
    "Catch-bsuite": 9,
    "MemoryChain-bsuite": 6,
    "SimpleBandit-bsuite": 1,
    "UmbrellaChain-bsuite": 10,
}
"""Steps after which an environment ends by itself, long before gymnax's limit."""
KINDS = ("Breakout-MinAtar", "Pendulum-v1")
"""Pictures and numbers, choices and forces; the others are slow to compile."""


def image_like(env):
    return env.endswith("-MinAtar") or env in IMAGES


def test_every_environment_has_an_option_and_one_that_downloads_needs_none():
    of_gymnax = {env for env in gymnax.registered_envs if not env.endswith("-test")}
    assert {*NAMED, "MNISTBandit-bsuite"} == of_gymnax
    assert len({option["option"] for option in NAMED.values()}) == 25
    assert DOWNLOADING["option"] == "gymnax"


@pytest.mark.parametrize("env", NAMED)
def test_parameters_are_those_of_gymnax_in_value_and_type(env):
    defaults = dict(vars(gymnax.make(env)[1]))
    del defaults["max_steps_in_episode"]
    said = NAMED[env]["env_params"]
    assert set(said) == set(defaults)
    for name, default in defaults.items():
        if isinstance(default, jax.Array):
            np.testing.assert_array_equal(np.asarray(said[name], np.float32), default)
            integers = jnp.issubdtype(default.dtype, jnp.integer)
            assert {type(x) for x in said[name]} == {int if integers else float}
        else:
            assert (type(said[name]), said[name]) == (type(default), default)


@pytest.mark.parametrize("env", NAMED)
def test_episodes_are_as_long_as_gymnax_lets_them_be(env):
    limit = gymnax.make(env)[1].max_steps_in_episode
    assert NAMED[env]["episode_length"] == ENDS_ITSELF.get(env, limit) <= limit


@pytest.mark.parametrize("env", ENDS_ITSELF)
def test_no_episode_would_go_on_longer(env, keys):
    longer = {"episode_length": ENDS_ITSELF[env] + 30}
    task = make_gymnax(env=env, env_params={}, **ROLLOUT | longer)
    sizes = {"input_shape": task.input_shape, "output_size": task.output_size}
    policy = make_policy("mlp", **sizes, hidden=[], init="normal")
    members = jax.vmap(policy.init)(keys(3))
    steps = jax.jit(lambda members: task.evaluate(keys(4), policy, members, None).steps)(members)
    np.testing.assert_array_equal(steps, [4 * ENDS_ITSELF[env]] * 3)


@pytest.mark.parametrize("env", NAMED)
def test_image_like_are_those_with_a_height_and_a_width(env):
    environment, params = gymnax.make(env)
    shape = environment.observation_space(params).shape
    assert image_like(env) == (len(shape) >= 2 and min(shape[:2]) > 1)


@pytest.mark.parametrize(
    "env",
    quickly(NAMED, *KINDS),
)
def test_trains(env, built):
    """Three generations of four members, one short episode each, by the environment's own option
    and its policy."""
    length = min(NAMED[env]["episode_length"], 12)
    run = built(
        f"task={NAMED[env]['option']}",
        "strategy=openai_es",
        "strategy.population_size=4",
        "task.episodes=1",
        f"task.episode_length={length}",
        "eval.episodes=2",
        "generations=3",
    )
    assert (run.config.policy.name == "cnn") == (
        len(run.program.parts(run.hyper).task.input_shape) == 3
    )
    reports = []
    outcome = advance_until(run.program, run.hyper, run.config, reports.append)
    rows = [row for progress in reports for row in progress.rows]
    assert [row["generation"] for row in rows] == [1, 2, 3]
    assert (outcome.reason.name, outcome.progress.generation, int(outcome.state.generation)) == (
        "generations",
        3,
        3,
    )
    assert np.isfinite(outcome.score.mean)
    assert outcome.score.episodes == 2
    assert sum(row["non_finite"] for row in rows) == 0
    # the compiled program and Python count the steps apart from each other
    high, low = (int(word) for word in outcome.state.env_steps)
    assert rows[-1]["env_steps"] == outcome.progress.env_steps == (high << 32) + low
    steps = np.diff([0, *(row["env_steps"] for row in rows)])
    assert steps.min() >= 4
    assert steps.max() <= 4 * length
