"""runtime.precision=float64: whatever can be composed computes in it, but for the environments
themselves."""

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import quickly
from defaults import ROLLOUT

from esrun.config.compose import options
from esrun.config.schema.environments import environments
from esrun.tasks.gymnax import make_gymnax
from esrun.training.stop import stop_at
from esrun.types import Policy

pytestmark = pytest.mark.usefixtures("quick_to_compile")

NAMED = {k: x for k, x in environments().items() if k != "MNISTBandit-bsuite"}  # it downloads
FLOAT64 = ("runtime.precision=float64", "task.episodes=2")
ANSWER = Policy(lambda key: None, lambda: (), lambda output, carry, x: (output, carry))
"""Answers its parameters."""


def kinds(tree):
    """-> the types of a tree's floats."""
    return {x.dtype for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)}


def chunk(run):
    """-> (state, metrics) of a chunk, traced and not compiled."""
    seed = jnp.uint32(0)
    state = jax.eval_shape(lambda: run.program.init(run.hyper, seed))
    return jax.eval_shape(
        lambda state: run.program.advance(run.hyper, seed, state, stop_at(run.config, 1))[:2], state
    )


RUNS = [
    *(f"task=sphere strategy={name}" for name in options("strategy")),
    "task=sine",
    "task=sine policy=rnn policy.normalize_input=true",
    "task=cartpole policy.normalize_input=true",
    "task=breakout strategy=openai_es policy.normalize_input=true",
]


@pytest.mark.parametrize(
    "words", quickly(RUNS, *RUNS[:1], "task=cartpole policy.normalize_input=true")
)
def test_a_run_is_in_float64_throughout(words, built):
    state, rows = chunk(built(*words.split(), *FLOAT64))
    assert kinds(state) == kinds(rows) == {jnp.dtype("float64")}


@pytest.mark.parametrize("env", NAMED)
def test_every_environment_gives_returns_in_float64(env, built):
    run = built(f"task={NAMED[env]['option']}", "strategy=openai_es", *FLOAT64)
    task, policy, *_ = run.program.parts(run.hyper)
    keys = jax.random.split(jax.random.key(0), 2)
    seen = jax.eval_shape(lambda: task.evaluate(keys, policy, jax.vmap(policy.init)(keys), None))
    assert (seen.returns.dtype, seen.steps.dtype) == (jnp.float64, jnp.int32)


@pytest.mark.parametrize(
    "env", ["DiscountingChain-bsuite", "FrozenLake-misc", "PointRobot-misc", "Reacher-misc"]
)
def test_an_environment_computes_the_same_in_either_precision(env, keys):
    """With outputs that both precisions hold exactly."""

    def returns():
        task = make_gymnax(env=env, env_params={}, **ROLLOUT | {"episodes": 3})
        outputs = jnp.asarray(np.eye(task.output_size) / 16, float)
        return task.output_size, jax.jit(lambda x: task.evaluate(keys(3), ANSWER, x, None).returns)(
            outputs
        )

    _, single = returns()
    with jax.enable_x64(True):
        size, double = returns()
    assert (single.dtype, double.dtype, double.shape) == (jnp.float32, jnp.float64, (size, 3))
    np.testing.assert_allclose(double, single, rtol=1e-6)


def test_a_rollout_in_float64_is_a_plain_loop(built):
    run = built(
        "task=pendulum",
        "task.env_params.g=9.0",
        "policy.hidden=[8]",
        "strategy.population_size=4",
        *FLOAT64,
    )
    task, policy, *_ = run.program.parts(run.hyper)
    keys = jax.random.split(jax.random.key(3), 2)
    members = jax.vmap(policy.init)(jax.random.split(jax.random.key(4), 3))
    seen = jax.jit(lambda members: task.evaluate(keys, policy, members, None))(members)

    pendulum, params = gymnax.make("Pendulum-v1")
    params = params.replace(g=9.0)
    for i in range(3):
        member = jax.tree.map(lambda x, i=i: x[i], members)
        for j in range(2):
            reset_key, step_key = jax.random.split(keys[j])
            with jax.enable_x64(False):
                observation, state = pendulum.reset_env(reset_key, params)
            total = 0.0
            for t in range(200):
                action, _ = policy.apply(member, (), observation.astype(float))
                assert action.dtype == jnp.float64
                with jax.enable_x64(False):
                    action = jnp.clip(action.astype(jnp.float32), -2, 2)
                    step = pendulum.step_env(jax.random.fold_in(step_key, t), state, action, params)
                observation, state, reward, *_ = step
                total += float(reward)
            np.testing.assert_allclose(seen.returns[i, j], total, rtol=1e-4)
