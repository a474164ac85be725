"""ARS: augmented random search, finite differences along the best of some random directions.

Mania, Guy, Recht: Simple random search provides a competitive approach to reinforcement learning,
2018, https://arxiv.org/abs/1803.07055, algorithm 2: V1 with all directions, V1-t with the top ones,
V2 and V2-t with the policy's input normaliser.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from esrun.strategies.parts.noise import make_noise, perturbed, weighted_noise
from esrun.strategies.parts.shaping import signal_to_noise, unit_of
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The policy and how far around it is searched."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []


def make_ars(
    *,
    n: int,
    population_size: int,
    sigma: Number,
    learning_rate: Number,
    parents: int | None,
    noise: str | jax.Array,
    noise_table_size: int,
) -> Strategy:
    """ARS over n parameters: members 2i and 2i + 1 are mean + sigma z and mean - sigma z, z being
    direction i.

    `parents` directions are used, None for all of them. `noise` is "threefry" or "table" (see
    `esrun.strategies.parts.noise`). A generation without any difference in fitness moves nothing.
    """
    directions = population_size // 2
    draw = make_noise(noise, noise_table_size, n, mirrored=True)

    def init(key, mean):
        del key
        return State(mean, jnp.asarray(sigma, mean.dtype))

    def ask(key, state, members):
        return perturbed(state.mean, state.sigma, draw(key, members, state.mean.dtype))

    def weigh(state, fitness):
        del state
        return difference_weights(fitness, parents or directions)

    def recombine(state, solutions, weights):
        return weighted_noise(state.mean, state.sigma, solutions, weights)

    def update(state, gradient, fitness):
        del fitness
        return state._replace(mean=state.mean + learning_rate * gradient)

    def diagnose(state, fitness):
        del state
        return {"signal_to_noise": signal_to_noise(fitness)}

    return Strategy(
        population_size=population_size,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=recombine,
        update=update,
        diagnose=diagnose,
        unit=2,
    )


def difference_weights(fitness: jax.Array, parents: int) -> jax.Array:
    """Fitness [p] of mirrored pairs -> weights [p], ±(r+ - r-) / (2 b sigma_R) for the b directions
    in use.

    These are the best `parents` directions, by the better member of the pair, and those tied with
    the last of them; a pair with a non-finite member is never one. sigma_R is the standard
    deviation of their 2 b rewards.
    """
    rewards = rearrange(fitness, "(direction sign) -> direction sign", sign=2)
    better = jnp.where(jnp.all(jnp.isfinite(rewards), axis=1), jnp.max(rewards, axis=1), -jnp.inf)
    used = jnp.isfinite(better) & (better >= jnp.sort(better)[-parents])
    rewards = rewards / unit_of(rewards, used[:, None])
    spread = jnp.std(rewards, where=used[:, None])
    scale = 2 * jnp.sum(used) * spread
    difference = jnp.where(used & (scale > 0), (rewards[:, 0] - rewards[:, 1]) / scale, 0)
    return rearrange(
        jnp.stack([difference, -difference], axis=1), "direction sign -> (direction sign)"
    )
