"""PGPE: policy gradients with parameter-based exploration, symmetric sampling and the optimiser
ClipUp.

Sehnke, Osendorfer, Rückstieß, Graves, Peters, Schmidhuber: Parameter-exploring policy gradients,
Neural Networks 23, 2010, https://doi.org/10.1016/j.neunet.2009.12.004, with symmetric sampling; and
as it is used by Toklu, Liskowski, Srivastava 2020 (see `esrun.strategies.parts.clipup`): the
baseline is the population's mean, fitness is ranked, and no sigma changes by more than a share of
itself. Step sizes that grow with sigma^2, the first paper's choice, make the gradients those of
SNES.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.strategies.parts.clipup import clipup
from esrun.strategies.parts.fitness_decay import make_fitness_decay
from esrun.strategies.parts.natural import natural_gradients
from esrun.strategies.parts.noise import make_noise, perturbed
from esrun.strategies.parts.shaping import make_shaping, signal_to_noise
from esrun.types import Number, Strategy


class State(NamedTuple):
    """The search distribution N(mean, diag(sigmas)^2) and the speed of its mean."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # [] geometric mean of the sigmas
    sigmas: jax.Array  # [n] step size of every parameter
    velocity: jax.Array  # [n] the latest step of the mean


def make_pgpe(
    *,
    n: int,
    population_size: int,
    sigma: Number,
    learning_rate: Number | None,
    learning_rate_sigma: Number,
    sigma_max_change: Number,
    momentum: Number,
    max_speed: Number | None,
    noise: str | jax.Array,
    noise_table_size: int,
    shaping: str,
    shaping_offset: Number | None,
    rank_batches: int | None,
    fitness_decay: str | None,
    fitness_decay_coefficient: Number | None,
) -> Strategy:
    """PGPE over n parameters: members 2i and 2i + 1 are mean + sigmas z and mean - sigmas z.

    `learning_rate` is the length of a step without momentum, None for a tenth of the first
    perturbations' length, sigma sqrt(n), or `max_speed` where that is less; `max_speed` is the
    length of the longest step, None for twice the learning rate. `sigma_max_change` is a share of
    sigma, less than 1. `noise` is "threefry" or "table" (see `esrun.strategies.parts.noise`).
    """
    p = population_size
    shape_fitness = make_shaping(shaping, shaping_offset, rank_batches)
    draw = make_noise(noise, noise_table_size, n, mirrored=True)
    tenth = sigma * math.sqrt(n) / 10
    alpha = learning_rate
    if alpha is None:
        alpha = tenth if max_speed is None else jnp.minimum(tenth, max_speed)
    limit = 2 * alpha if max_speed is None else max_speed

    def init(key, mean):
        del key
        return State(
            mean,
            jnp.asarray(sigma, mean.dtype),
            jnp.full(n, sigma, mean.dtype),
            velocity=jnp.zeros_like(mean),
        )

    def ask(key, state, members):
        return perturbed(state.mean, state.sigmas, draw(key, members, state.mean.dtype))

    def weigh(state, fitness):
        del state
        weights = shape_fitness(fitness)
        advantage = (
            weights - weights[0]
        )  # a difference first: equal fitness gives zeros, not rounding errors
        return advantage - jnp.mean(advantage)

    def update(state, gradients, fitness):
        del fitness
        velocity = clipup(
            state.velocity,
            state.sigmas * gradients.mean / p,
            learning_rate=alpha,
            momentum=momentum,
            max_speed=limit,
        )
        change = learning_rate_sigma * gradients.sigmas / p
        sigmas = state.sigmas * (1 + jnp.clip(change, -sigma_max_change, sigma_max_change))
        return State(
            mean=state.mean + velocity,
            sigma=jnp.exp(jnp.mean(jnp.log(sigmas))),
            sigmas=sigmas,
            velocity=velocity,
        )

    def diagnose(state, fitness):
        del state
        return {"signal_to_noise": signal_to_noise(fitness)}

    return Strategy(
        population_size=p,
        init=init,
        ask=ask,
        weigh=weigh,
        recombine=natural_gradients,
        update=update,
        decay_fitness=make_fitness_decay(fitness_decay, fitness_decay_coefficient),
        diagnose=diagnose,
        unit=2,
    )
