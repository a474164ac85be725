"""What OpenAI-ES and its kin share: a gradient of the smoothed fitness, followed by an optimiser.

Salimans, Ho, Chen, Sidor, Sutskever: Evolution Strategies as a Scalable Alternative to
Reinforcement Learning, 2017, https://arxiv.org/abs/1703.03864, algorithm 1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from esrun.strategies.parts.defaults import decayed
from esrun.strategies.parts.shaping import signal_to_noise
from esrun.types import Number, Reason


class State(NamedTuple):
    """The search distribution N(mean, sigma^2 I) and the optimiser that moves its mean."""

    mean: jax.Array  # [n]
    sigma: jax.Array  # []
    optimizer: Any  # optax state
    generation: jax.Array  # [] int32


OPTIMIZER_OVERFLOW = Reason(
    "optimizer_overflow",
    failed=True,
    why="a square of the gradient has left the range of floats: write "
    "strategy.shaping=centered_ranks or runtime.precision=float64",
)


class GradientSearch(NamedTuple):
    """The functions of a `Strategy` that do not depend on how noise is drawn."""

    init: Callable[[jax.Array, jax.Array], State]
    weigh: Callable[[State, jax.Array], jax.Array]
    update: Callable[[State, jax.Array, jax.Array], State]
    """(State, sum of w z [n], fitness [p]) -> State."""
    diagnose: Callable[[State, jax.Array], dict[str, jax.Array]]
    ended: Callable[[State], dict[Reason, jax.Array]]


def make_gradient_search(
    *,
    population_size: int,
    sigma: Number,
    sigma_decay: Number,
    sigma_limit: Number,
    learning_rate: Number,
    learning_rate_decay: Number,
    learning_rate_limit: Number,
    weight_decay: Number,
    antithetic: bool,
    shaping: Callable[[jax.Array], jax.Array],
    optimizer: str,
    optimizer_options: dict,
) -> GradientSearch:
    """Sigma and the learning rate are multiplied by their decay after every generation, down to
    their limit: a limit above the first value leaves that as it is. `shaping` makes weights [p] of
    fitness [p]. `optimizer` names a factory of
    optax. Raises ValueError when optax refuses `optimizer_options`.
    """

    def scheduled_learning_rate(generation):
        return decayed(learning_rate, learning_rate_decay, learning_rate_limit, generation)

    try:
        descent = getattr(optax, optimizer)(scheduled_learning_rate, **optimizer_options)
    except TypeError as error:
        raise ValueError(
            f"strategy.optimizer_options do not fit optax.{optimizer}: {error}"
        ) from error

    def init(key, mean):
        del key
        return State(mean, jnp.asarray(sigma, mean.dtype), descent.init(mean), jnp.int32(0))

    def weigh(state, fitness):
        del state
        return shaping(fitness)

    def update(state, weighted_z, fitness):
        del fitness
        gradient = weighted_z / (population_size * state.sigma) - weight_decay * state.mean
        # optax descends and fitness is maximised: the one change of sign
        step, optimizer_state = descent.update(-gradient, state.optimizer, state.mean)
        generation = state.generation + 1
        return State(
            mean=state.mean + step,
            sigma=decayed(sigma, sigma_decay, sigma_limit, generation).astype(state.sigma.dtype),
            optimizer=optimizer_state,
            generation=generation,
        )

    def diagnose(state, fitness):
        del state
        return {"signal_to_noise": signal_to_noise(fitness)} if antithetic else {}

    def ended(state):
        finite = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(state.optimizer)]
        return {OPTIMIZER_OVERFLOW: ~jnp.all(jnp.stack([jnp.bool_(True), *finite]))}

    return GradientSearch(init, weigh, update, diagnose, ended)
