"""Environments in which a policy is to adapt while it plays: several trials in the same world, and
what it did and won before as part of what it sees.

RL^2 (Duan et al. 2016, https://arxiv.org/abs/1611.02779): the carry of a recurrent policy lives
through all trials of an episode, and its input holds the last action, reward and end.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from esrun.tasks.environment import Environment, Step
from esrun.tasks.spaces import Box, Codes, Discrete, Joint, Space
from esrun.types import Key, PyTree


class Trial(NamedTuple):
    """Where an episode stands."""

    inner: Any  # the environment's own state
    key: jax.Array  # the data of the key that every trial begins with
    number: jax.Array  # [] int32


def with_trials(environment: Environment, trials: int) -> Environment:
    """-> episodes of `trials` trials, which all begin with the episode's own key: in one world. The
    return is that of all of them."""
    if trials == 1:
        return environment

    def reset(key: Key) -> Step:
        now = environment.reset(key)
        return now._replace(state=Trial(now.state, jax.random.key_data(key), jnp.int32(0)))

    def step(key: Key, state: Trial, action: PyTree) -> Step:
        now = environment.step(key, state.inner, action)
        over = jnp.asarray(now.ended) != 0
        again = environment.reset(jax.random.wrap_key_data(state.key))

        def chosen(first, now):
            return jnp.where(over, first, now).astype(jnp.asarray(now).dtype)

        inner, observation, mask = jax.tree.map(
            chosen,
            (again.state, again.observation, again.mask),
            (now.state, now.observation, now.mask),
        )
        number = state.number + over
        state = Trial(inner, state.key, number)
        return Step(state, observation, now.reward, number >= trials, mask)

    frame = environment.frame
    return environment._replace(
        reset=reset, step=step, frame=frame and (lambda state: frame(state.inner))
    )


FEEDBACK = {"action", "began", "observation", "reward"}
"""The parts of an observation with feedback."""


def with_feedback(environment: Environment, feedback: bool) -> Environment:
    """-> the environment that shows {"action", "began", "observation", "reward"}: the last action
    (one-hot, none before the first), whether a trial has just begun, and the last reward."""
    if not feedback:
        return environment
    of_action, agents = as_observed(environment.action), environment.agents

    def shown(now: Step, action: PyTree, reward: jax.Array, began: jax.Array) -> Step:
        past = (jnp.asarray(x, jnp.float32) for x in (reward, began))
        if agents is not None:
            past = (jnp.broadcast_to(x, (agents,)) for x in past)
        reward, began = past
        seen = {"observation": now.observation, "action": action}
        return now._replace(observation=seen | {"reward": reward, "began": began})

    def reset(key: Key) -> Step:
        now = environment.reset(key)
        none = nothing_done(environment.action)
        if agents is not None:
            none = jnp.broadcast_to(none, (agents, *none.shape))
        return shown(now, none, jnp.zeros(()), jnp.ones(()))

    def step(key: Key, state: Any, action: PyTree) -> Step:
        now = environment.step(key, state, action)
        began = jnp.zeros(())
        if isinstance(state, Trial):
            began = now.state.number != state.number
        return shown(now, action, now.reward, began)

    spaces = {"observation": environment.observation, "action": of_action}
    return environment._replace(
        reset=reset,
        step=step,
        observation=spaces | {"reward": Box(()), "began": Box(())},
    )


def as_observed(action: Space) -> Space:
    """-> the space of actions as one of observations."""
    if isinstance(action, Joint):
        return Codes(action.sizes)
    return Box(action.shape) if isinstance(action, Box) else action


def nothing_done(action: Space) -> jax.Array:
    """-> the action before the first: no code's one-hot vector has a 1 for it."""
    if isinstance(action, Box):
        return jnp.zeros(action.shape)
    return jnp.int32(-1) if isinstance(action, Discrete) else jnp.full(len(action.sizes), -1)
