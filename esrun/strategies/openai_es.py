"""OpenAI-ES: a stochastic gradient of the smoothed fitness, followed by an optimiser.

Salimans, Ho, Chen, Sidor, Sutskever: Evolution Strategies as a Scalable Alternative to
Reinforcement Learning, 2017, https://arxiv.org/abs/1703.03864, algorithm 1 with sections 2.1
(mirrored sampling, rank shaping, weight decay).
"""

import jax

from esrun.strategies.parts.fitness_decay import make_fitness_decay
from esrun.strategies.parts.gradient import make_gradient_search
from esrun.strategies.parts.noise import make_noise, perturbed, weighted_noise
from esrun.strategies.parts.shaping import make_shaping
from esrun.types import Number, Strategy


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
    shaping_offset: Number | None,
    rank_batches: int | None,
    fitness_decay: str | None,
    fitness_decay_coefficient: Number | None,
    optimizer: str,
    optimizer_options: dict,
) -> Strategy:
    """OpenAI-ES over n parameters.

    Sigma and the learning rate are multiplied by their decay after every generation, down to their
    limit; a limit above the first value leaves that as it is. With `antithetic`, members 2i and 2i
    + 1 are mean + sigma z and mean - sigma z, and `population_size` is even. `noise` is "threefry"
    or "table" (see `esrun.strategies.parts.noise`). `optimizer` names a factory of optax. Raises
    ValueError when optax refuses `optimizer_options`.
    """
    draw = make_noise(noise, noise_table_size, n, mirrored=antithetic)
    search = make_gradient_search(
        population_size=population_size,
        sigma=sigma,
        sigma_decay=sigma_decay,
        sigma_limit=sigma_limit,
        learning_rate=learning_rate,
        learning_rate_decay=learning_rate_decay,
        learning_rate_limit=learning_rate_limit,
        weight_decay=weight_decay,
        antithetic=antithetic,
        shaping=make_shaping(shaping, shaping_offset, rank_batches),
        optimizer=optimizer,
        optimizer_options=optimizer_options,
    )

    def ask(key, state, members):
        return perturbed(state.mean, state.sigma, draw(key, members, state.mean.dtype))

    def recombine(state, solutions, weights):
        return weighted_noise(state.mean, state.sigma, solutions, weights)

    return Strategy(
        population_size=population_size,
        init=search.init,
        ask=ask,
        weigh=search.weigh,
        recombine=recombine,
        update=search.update,
        ended=search.ended,
        decay_fitness=make_fitness_decay(fitness_decay, fitness_decay_coefficient),
        diagnose=search.diagnose,
        unit=2 if antithetic else 1,
    )
