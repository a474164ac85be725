"""Reference inputs: what a policy that needs some is given, drawn once and then the same for all
inputs (see `esrun.policies.layers.VirtualBatchNorm`)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.backend.keys import fold_in, split
from esrun.backend.rewriting import tuned
from esrun.tasks.environment import Step
from esrun.tasks.episodes import World
from esrun.tasks.normalizer import normalize
from esrun.types import Key, Moments, Policy, PyTree, Referred


def all_referred(
    policy: Policy, members: PyTree, references: jax.Array | None, normalizer: Moments | None
) -> PyTree:
    """-> the params [m, ...] of members as `policy.apply` takes them: what each makes of the
    `references` is computed here, once, not in every step."""
    if policy.refer is None:
        return members
    assert references is not None
    inputs = references if normalizer is None else normalize(normalizer, references)
    return Referred(members, tuned(jax.vmap(policy.refer, (0, None)))(members, inputs))


def referred(
    policy: Policy, params: PyTree, references: jax.Array | None, normalizer: Moments | None
) -> PyTree:
    """The same for one member's params."""
    if policy.refer is None:
        return params
    members = jax.tree.map(lambda x: x[None], params)
    return jax.tree.map(lambda x: x[0], all_referred(policy, members, references, normalizer))


class Met(NamedTuple):
    """Where an episode is, and the input of it that is kept."""

    now: Step  # without reward and end
    alive: jax.Array  # [] bool
    kept: jax.Array  # [*input_shape]


def met_at_random(world: World, key: Key, count: int) -> jax.Array:
    """-> inputs [count, *input_shape], each from an episode of its own, at a step of it that is as
    likely as any other.

    At random acts whoever says N(0, 1) of every output: of several actions each is as likely as
    another, and no illegal one is taken. Of several agents one is looked at.
    """
    environment, encoded, decoded, options = world
    agents = environment.agents

    def begin(key):
        now = environment.reset(fold_in(key, 0))
        still = now._replace(reward=None, ended=None)
        return Met(still, jnp.bool_(True), jnp.zeros(encoded.shape))

    def step(t, key, met):
        step_key, act_key, choice_key, agent_key = split(fold_in(key, t + 1), 4)
        x, mask = met.now.observation, met.now.mask
        if agents is not None:
            one = jax.random.randint(agent_key, (), 0, agents)
            x = jax.tree.map(lambda each: each[one], x)
        # the t-th takes the place of an earlier one with probability 1 / t (reservoir sampling)
        chosen = met.alive & (jax.random.uniform(choice_key) * (t + 1) < 1)
        kept = jnp.where(chosen, encoded.encode(x), met.kept)

        mask = None if mask is None else mask != 0
        if agents is None:
            action = decoded.decode(jax.random.normal(act_key, (decoded.size,)), mask)
        else:
            outputs = jax.random.normal(act_key, (agents, decoded.size))
            action = jax.vmap(decoded.decode)(outputs, mask)
        now = environment.step(step_key, met.now.state, action)
        still = now._replace(reward=None, ended=None)
        still = jax.tree.map(lambda new, old: new.astype(old.dtype), still, met.now)
        return Met(still, met.alive & ~now.ended, kept)

    def unfinished(loop):
        t, met = loop
        return (t < options["episode_length"]) & jnp.any(met.alive)

    def body(loop):
        t, met = loop
        return t + 1, jax.vmap(step, (None, 0, 0))(t, keys, met)

    keys = split(key, count)
    return jax.lax.while_loop(unfinished, body, (jnp.int32(0), jax.vmap(begin)(keys)))[1].kept
