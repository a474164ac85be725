"""The rollout: the loop over the steps of many episodes of many members, for any environment.

An adapter brings a package's environments into one form, `Environment`, of one episode; the rest
stands here: members and episodes, policies and their carries, the input normaliser, early ends,
what is kept to be looked at.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, Unpack

import jax
import jax.numpy as jnp
from einops import rearrange, reduce

from esrun.backend import devices, memory
from esrun.tasks.adapting import with_feedback, with_trials
from esrun.tasks.environment import Environment, plain
from esrun.tasks.episodes import Episode, Rollout, World, begun
from esrun.tasks.references import met_at_random
from esrun.tasks.spaces import decoding, encoding, interface
from esrun.types import Evaluation, Key, Moments, Policy, PyTree, Task


class Watched(NamedTuple):
    """Episodes, step by step: row t is what was there before step t; rows beyond LONGEST or
    WATCHED are missing."""

    states: Any  # the environment's, [t, k, ...] each
    observations: PyTree  # [t, k, ...] each
    totals: jax.Array  # [t, k] return so far
    steps: jax.Array  # [k] int32
    returns: jax.Array  # [k]


LONGEST, WATCHED = 20_000, 2**30
"""Most steps of an episode that are kept to be looked at, and most bytes of all."""


def make_rollout(environment: Environment, **rollout: Unpack[Rollout]) -> Task:
    """The environment as a task: see `Rollout`."""
    adapting = with_feedback(with_trials(environment, rollout["trials"]), rollout["feedback"])
    encoded = encoding(adapting.observation)
    decoded = decoding(adapting.action, rollout["action"])
    world = World(plain(adapting), encoded, decoded, rollout)
    as_it_is = rollout["reward_offset"] is None and rollout["alive_bonus"] is None

    def in_groups_of(k: int) -> Task:
        return make_rollout(environment, **{**rollout, "episodes_at_once": k})

    return Task(
        encoded.shape,
        decoded.size,
        rollout["episodes"],
        functools.partial(evaluate, world, True),
        steps=rollout["episodes"] * rollout["episode_length"],
        interface=interface(encoded, decoded),
        watch=functools.partial(watch, world),
        frame=adapting.frame,
        held_out=None if as_it_is else functools.partial(evaluate, world, False),
        references=functools.partial(met_at_random, world),
        in_groups_of=in_groups_of if rollout["episodes_at_once"] == "auto" else None,
    )


def played(world: World, *arguments) -> Episode:
    """-> the episodes [m, e] at their end (see `begun`)."""
    length = world.options["episode_length"]
    stride, (start, step) = stride_of(length), begun(world, *arguments)

    # the loop stands outside the vmaps and so ends as soon as every episode has
    def one_step(i, loop):
        t, running = loop
        return t + 1, step(t, running)

    def body(loop):
        if stride == 1:
            return one_step(0, loop)
        return jax.lax.fori_loop(0, stride, one_step, loop)

    def unfinished(loop):
        t, running = loop
        return (t < length) & jnp.any(running.alive)

    _, done = jax.lax.while_loop(unfinished, body, (jnp.int32(0), start))
    return done._replace(now=None, carry=None)


def evaluate(
    world: World,
    training: bool,
    keys: Key,
    policy: Policy,
    members: PyTree,
    normalizer: Moments | None,
) -> Evaluation:
    """-> how the members [m] did in the episodes of the keys [e]."""

    def play(some):
        alone = len(some) == 1 < len(keys)
        return played(world, some, policy, members, normalizer, training, alone)

    done = in_groups(world.options["episodes_at_once"], keys, play)
    measures = {"length": done.steps}
    if world.environment.succeeded is not None:
        success = world.environment.succeeded(~done.alive, done.total)
        measures["success"] = success.astype(jnp.int32)
    return Evaluation(
        returns=done.total,
        steps=reduce(done.steps, "m e -> m", "sum").astype(jnp.int32),
        inputs=jax.tree.map(lambda x: reduce(x, "m e ... -> m ...", "sum"), done.inputs),
        measures=measures,
    )


def watch(
    world: World,
    keys: Key,
    policy: Policy,
    member: PyTree,
    normalizer: Moments | None,
    which: jax.Array,
) -> Watched:
    """-> what happens in those `which` [k] of the episodes."""
    length = world.options["episode_length"]
    members = jax.tree.map(lambda x: x[None], member)
    start, step = begun(world, keys, policy, members, normalizer)

    def seen(running):
        those = running.now.state, running.now.observation, running.total
        return jax.tree.map(lambda x: _data(x)[0, which], those)

    def body(loop):
        t, running, rows = loop
        running = step(t, running)
        kept = jax.tree.map(lambda all, x: all.at[t + 1].set(x, mode="drop"), rows, seen(running))
        return t + 1, running, kept

    def unfinished(loop):
        t, running, _ = loop
        return (t < length) & jnp.any(running.alive[0, which])

    first = seen(start)
    most = max(1, WATCHED // memory.tree_bytes(first))
    rows_kept = min(length, LONGEST, most) + 1
    rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (rows_kept, *x.shape)), first)
    _, done, rows = jax.lax.while_loop(unfinished, body, (jnp.int32(0), start, rows))
    states, observations, totals = rows
    steps, returns = done.steps[0, which], done.total[0, which]
    return Watched(states, observations, totals, steps, returns)


def _data(x: jax.Array) -> jax.Array:
    """-> the array; of random keys their data, which NumPy can hold."""
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def in_groups(size: int | str, keys: Key, play: Callable[[Key], PyTree]) -> PyTree:
    """`play` (keys [k]) -> [m, k, ...], for `size` keys at a time -> [m, e, ...] for all."""
    e = len(keys)
    if size == "auto" or int(size) >= e:
        return play(keys)
    count = math.ceil(e / int(size))
    padded = keys[jnp.minimum(jnp.arange(count * int(size)), e - 1)].reshape(count, int(size))
    played = jax.lax.map(play, padded)
    return jax.tree.map(lambda x: rearrange(x, "g m k ... -> m (g k) ...")[:, :e], played)


def stride_of(episode_length: int) -> int:
    """-> the steps between two looks at whether all episodes have ended, a divisor of their length.

    On a CPU a look costs nothing; an accelerator stands still until the host has seen the answer.
    """
    most = 1 if devices.on_cpu() else 10
    return max(k for k in range(1, most + 1) if episode_length % k == 0)
