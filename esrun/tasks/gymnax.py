"""Any gymnax environment (Lange 2022, https://github.com/RobertTLange/gymnax) as a task."""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Unpack

import jax
import jax.numpy as jnp

from esrun.backend.deferred import deferred
from esrun.tasks.environment import Environment, Step, narrowed
from esrun.tasks.episodes import Rollout
from esrun.tasks.rollout import make_rollout
from esrun.tasks.spaces import Box, Discrete, Space
from esrun.types import Task

# some of its modules make arrays when they are imported, and five import these for their pictures:
# 1 s of a start. (`from matplotlib import colors` loads the package unless they are there already.)
DRAWING = ("matplotlib", "matplotlib.colors", "matplotlib.pyplot", "seaborn")
with jax.enable_x64(False), deferred(*DRAWING):
    import_module("matplotlib.colors")
    import gymnax
    from gymnax.environments import spaces


def make_gymnax(*, env: str, env_params: dict, **rollout: Unpack[Rollout]) -> Task:
    """The environment `env` with gymnax's parameters but for `env_params`."""
    gym, given = opened(env, env_params, rollout["episode_length"])
    params = narrowed(given)

    def reset(key):
        observation, state = gym.reset_env(key, params)
        return Step(state, observation, jnp.zeros(()), jnp.bool_(False))

    def step(key, state, action):
        observation, state, reward, terminated, _ = gym.step_env(key, state, action, params)
        return Step(state, observation, reward, terminated)

    observations, actions = gym.observation_space(given), gym.action_space(given)
    environment = Environment(
        reset, step, space_of(observations), space_of(actions), succeeded=goal_of(env)
    )
    return make_rollout(environment, **rollout)


def space_of(space: Any) -> Space:
    """-> one of gymnax's spaces as one of ours."""
    if isinstance(space, spaces.Discrete):
        return Discrete(space.n)
    return Box(tuple(space.shape), space.low, space.high)


def opened(env: str, env_params: dict, episode_length: int) -> tuple[Any, Any]:
    """-> (gymnax's environment, its parameters). Raises ValueError where it needs data that is not
    there."""
    # some branch on their own arrays as they are made
    with jax.ensure_compile_time_eval(), jax.enable_x64(False):
        try:
            environment, defaults = gymnax.make(env)
        except OSError as error:
            raise ValueError(f"task.env={env} needs data that gymnax downloads: {error}") from error
    arrays = {
        key: jnp.asarray(value) for key, value in env_params.items() if isinstance(value, list)
    }
    # a float in BernoulliBandit-misc, which relies on it
    limit = type(defaults.max_steps_in_episode)(episode_length)
    return environment, defaults.replace(**env_params | arrays, max_steps_in_episode=limit)


GOALS = ("Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0", "FourRooms-misc")
"""Environments that end an episode where it has reached its goal, and only there."""
REWARDED = ("FrozenLake-misc", "Catch-bsuite", "MemoryChain-bsuite")
"""Environments whose episodes have a positive return if they have reached their goal, and only
then."""


def goal_of(env: str) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """-> (whether an episode has ended, its return) -> whether it has reached the goal; None where
    the environment has none."""
    if env in GOALS:
        return lambda ended, total: ended
    return (lambda ended, total: total > 0) if env in REWARDED else None
