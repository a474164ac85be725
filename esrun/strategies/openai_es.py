"""OpenAI-ES: a stochastic gradient of the smoothed fitness, followed by an optimiser.

Salimans, Ho, Chen, Sidor, Sutskever: Evolution Strategies as a Scalable Alternative to
Reinforcement Learning, 2017, https://arxiv.org/abs/1703.03864, algorithm 1 with sections 2.1
(mirrored sampling, rank shaping, weight decay).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from esrun.strategies.parts.noise import make_noise, perturbed, weighted_noise
from esrun.strategies.parts.shaping import SHAPING, signal_to_noise
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 I) and the optimiser that moves its mean."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    optimizer: Any  # optax state
    generation: jax.Array  # [] int32


def make_openai_es(
    *,
    n: int,
    population_size: int,
    sigma: Number,
    sigma_decay: Number,
    sigma_limit: Number,
    learning_rate: Number,
    learning_rate_decay: Number,
    learning_rate_limit: Number,
    weight_decay: Number,
    antithetic: bool,
    noise: str | jax.Array,
    noise_table_size: int,
    shaping: str,
    optimizer: str,
    optimizer_options: dict,
) -> Strategy:
    """OpenAI-ES over n parameters.

    Sigma and the learning rate are multiplied by their decay after every generation and never fall
    below their limit. With `antithetic`, members 2i and 2i + 1 are mean + sigma z and mean - sigma
    z, and `population_size` is even. `noise` is "threefry" or "table" (see
    `esrun.strategies.parts.noise`). `optimizer` names a factory of optax. Raises ValueError when
    optax refuses `optimizer_options`.
    """
    shape_fitness = SHAPING[shaping]
    draw = make_noise(noise, noise_table_size, n, mirrored=antithetic)

    def scheduled_learning_rate(generation):
        return jnp.maximum(learning_rate * learning_rate_decay**generation, learning_rate_limit)

    try:
        descent = getattr(optax, optimizer)(scheduled_learning_rate, **optimizer_options)
    except TypeError as error:
        raise ValueError(
            f"strategy.optimizer_options do not fit optax.{optimizer}: {error}"
        ) from error

    def init(key, mean):
        del key
        return State(
            mean,
            jnp.maximum(sigma, sigma_limit).astype(mean.dtype),
            descent.init(mean),
            jnp.int32(0),
        )

    def ask(key, state, members):
        return perturbed(state.mean, state.sigma, draw(key, members, state.mean.dtype))

    def weigh(state, fitness):
        return shape_fitness(fitness)

    def recombine(state, solutions, weights):
        return weighted_noise(state.mean, state.sigma, solutions, weights)

    def update(state, weighted_z, fitness):
        del fitness
        gradient = weighted_z / (population_size * state.sigma) - weight_decay * state.mean
        # optax descends and fitness is maximised: the one change of sign
        step, optimizer_state = descent.update(-gradient, state.optimizer, state.mean)
        generation = state.generation + 1
        return State(
            mean=state.mean + step,
            sigma=jnp.maximum(sigma * sigma_decay**generation, sigma_limit).astype(
                state.sigma.dtype
            ),
            optimizer=optimizer_state,
            generation=generation,
        )

    def diagnose(state, fitness):
        del state
        return {"signal_to_noise": signal_to_noise(fitness)} if antithetic else {}

    return Strategy(
        population_size,
        init,
        ask,
        weigh,
        recombine,
        update,
        diagnose=diagnose,
        unit=2 if antithetic else 1,
    )
