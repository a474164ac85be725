"""Episodes of many members at their beginning, and what takes all of them a step further."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import jax
import jax.numpy as jnp
from einops import repeat

from esrun.backend.keys import fold_in
from esrun.backend.rewriting import hoisted, tuned
from esrun.tasks.acting import acting
from esrun.tasks.environment import Environment, Step
from esrun.tasks.normalizer import nothing
from esrun.tasks.spaces import Decoding, Encoding
from esrun.types import Key, Moments, Number, Policy, PyTree, Sums


class Rollout(TypedDict):
    """The keys that every environment's option has."""

    episodes: int
    """Of a member in a generation."""
    episode_length: int
    """Most steps of an episode."""
    action: str
    """A continuous one is clipped ("clip") or squashed by tanh ("squash") into its bounds."""
    episodes_at_once: int | str
    """Of a member, played together; "auto": all. The bits are the same."""
    flat: bool
    """Whether members and episodes are one axis to the environment, for packages that do not work,
    or are slower, under two vmaps."""
    reward_offset: Number | None
    """Added to the reward of every step in training, never in held-out episodes."""
    alive_bonus: Number | None
    """Added in training to the reward of every step that does not end the episode. Rewards made for
    gradient methods pay for staying alive, which evolution takes for the goal: -1 takes 1 back."""
    trials: int
    """Of an episode (see `esrun.tasks.adapting`)."""
    feedback: bool
    """Whether the last action and reward are observed."""


class World(NamedTuple):
    """An environment and all that is done with it."""

    environment: Environment
    encoded: Encoding
    decoded: Decoding
    options: Rollout


class Episode(NamedTuple):
    """One running episode of one member."""

    now: Step  # without reward and end
    carry: PyTree  # the policy's
    total: jax.Array  # [] return so far
    steps: jax.Array  # [] int32
    alive: jax.Array  # [] bool
    inputs: Sums | None


def begun(
    world: World,
    keys: Key,
    policy: Policy,
    members: PyTree,
    normalizer: Moments | None,
    training: bool = False,
    alone: bool = False,
) -> tuple[Episode, Callable]:
    """-> (episodes [m, e] at their beginning, (t, episodes) -> episodes a step later).

    `alone`: whether the one episode of each member is one of several that are played one after the
    other, with the bits that it would have beside them.
    """
    environment, encoded, decoded, _ = world
    reset_keys, step_keys = fold_in(keys, 0), fold_in(keys, 1)
    act = acting(environment.agents, encoded.encode, decoded.decode, policy, normalizer)

    def reset(key):
        carry, inputs = act.carry(), normalizer and nothing(encoded.shape)
        now, zero, none = environment.reset(key), jnp.zeros(()), jnp.int32(0)
        now = now._replace(reward=None, ended=None)
        return Episode(now, carry, zero, none, jnp.bool_(True), inputs)

    def act_in(member, episode):
        return act.step(member, episode.carry, episode.now, episode.alive)

    def later(episode, acted, now):
        _, carry, seen = acted
        still = now._replace(reward=None, ended=None)
        reward = paid(now, world.options) if training else now.reward
        # where, not a product: it may be NaN after the end. The last reward counts
        return Episode(
            # packages mix types, a loop must not
            jax.tree.map(lambda new, old: new.astype(old.dtype), still, episode.now),
            carry,
            total=episode.total + jnp.where(episode.alive, reward, 0.0),
            steps=episode.steps + episode.alive,
            alive=episode.alive & ~now.ended,
            inputs=jax.tree.map(jnp.add, episode.inputs, seen),
        )

    m = len(jax.tree.leaves(members)[0])
    start = jax.tree.map(lambda x: jnp.broadcast_to(x, (m, *x.shape)), jax.vmap(reset)(reset_keys))

    def step_all(members, keys, running):
        act_all = jax.vmap(jax.vmap(act_in, (None, 0)))
        acted = beside_itself(act_all, members, running) if alone else act_all(members, running)
        now = stepped(environment, world.options["flat"], keys, running.now.state, acted[0])
        return jax.vmap(jax.vmap(later))(running, acted, now)

    all_steps = tuned(hoisted(step_all, members, step_keys, start))

    # step keys are made once for all members, who share them (common random numbers)
    return start, lambda t, running: all_steps(fold_in(step_keys, t), running)


def beside_itself(act_all: Callable, members: PyTree, running: Episode) -> PyTree:
    """-> what `act_all` says of one episode a member, computed as for two: a product with a single
    row is rounded otherwise than one with several."""
    twice = jax.tree.map(lambda x: jnp.concatenate([x, x], axis=1), running)
    both = act_all(members, jax.lax.optimization_barrier(twice))
    return jax.tree.map(lambda x: x[:, :1], jax.lax.optimization_barrier(both))


def paid(now: Step, options: Rollout) -> jax.Array:
    """-> the reward of a step in training."""
    reward, offset, bonus = now.reward, options["reward_offset"], options["alive_bonus"]
    if offset is not None:
        reward = reward + offset
    return reward if bonus is None else reward + jnp.where(now.ended, 0.0, bonus)


def stepped(environment: Environment, flat: bool, keys: Key, states: Any, actions: PyTree) -> Step:
    """Keys [e], states and actions [m, e, ...] -> steps [m, e, ...]."""
    if not flat:
        return jax.vmap(jax.vmap(environment.step), in_axes=(None, 0, 0))(keys, states, actions)
    m, e = jax.tree.leaves(actions)[0].shape[:2]
    merged = jax.tree.map(lambda x: x.reshape(m * e, *x.shape[2:]), (states, actions))
    after = jax.vmap(environment.step)(repeat_keys(keys, m), *merged)
    return jax.tree.map(lambda x: x.reshape(m, e, *x.shape[1:]), after)


def repeat_keys(keys: Key, m: int) -> Key:
    """Keys [e] -> [m * e], the same for each of m."""
    return jax.random.wrap_key_data(
        repeat(jax.random.key_data(keys), "e ... -> (m e) ...", m=m), impl=jax.random.key_impl(keys)
    )
