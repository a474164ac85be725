"""A policy in an environment: what it sees is encoded and normalised, what it says is decoded."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.tasks.environment import Step
from esrun.tasks.normalizer import normalize, observe
from esrun.types import Moments, Policy, PyTree, Sums


class Acting(NamedTuple):
    """A policy in an environment, for one agent or for several."""

    carry: Callable[[], PyTree]
    step: Callable[[PyTree, PyTree, Step, jax.Array], tuple[PyTree, PyTree, Sums | None]]
    """(params, carry, where the environment is, whether that counts) -> (action, carry, inputs)."""


def acting(
    agents: int | None,
    encode: Callable,
    decode: Callable,
    policy: Policy,
    normalizer: Moments | None,
) -> Acting:
    """-> the policy between `encode` and `decode`. Several agents share its parameters."""

    def one(member, carry, observation, mask, counts):
        x, seen = encode(observation), None
        if normalizer is not None:
            seen = observe(normalizer, x, counts)
            x = normalize(normalizer, x)
        output, carry = policy.apply(member, carry, x)
        return decode(output, mask), carry, seen

    def step(member, carry, now, counts):
        mask = None if now.mask is None else now.mask != 0
        if agents is None:
            return one(member, carry, now.observation, mask, counts)
        each = jax.vmap(one, in_axes=(None, 0, 0, 0, None))
        actions, carry, seen = each(member, carry, now.observation, mask, counts)
        return actions, carry, jax.tree.map(lambda x: jnp.sum(x, axis=0), seen)

    def carry():
        fresh = policy.initial_carry()
        if agents is None:
            return fresh
        return jax.tree.map(lambda x: jnp.broadcast_to(x, (agents, *x.shape)), fresh)

    return Acting(carry, step)
