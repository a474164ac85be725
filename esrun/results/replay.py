"""A run's states again, from its configuration alone: training is a pure function of it."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.config.schema.run import Config
from esrun.training.archive import parameters
from esrun.training.build import Run
from esrun.training.generation import asked, keys_of
from esrun.training.program import DRAWS, TRAIN, stream
from esrun.training.restarts import search_until
from esrun.types import TrainState

DRAWN = 2048
"""Members, at least, that the distribution's shape is measured by."""


class Moment(NamedTuple):
    """What a generation left, as far as it is drawn."""

    generation: int
    mean: np.ndarray  # [n]
    members: np.ndarray  # [p, n], those of the next generation
    covariance: np.ndarray  # [2, 2] of the distribution's first two coordinates


def replayed(run: Run, generations: list[int]) -> list[Moment]:
    """-> what the `generations` left, as far as the run gets there, 0 being the beginning.

    It trains again, with the same bits; limits of time, which are none of the configuration's, are
    for the caller to have turned into generations.
    """
    config = run.config
    marks = sorted({x for x in generations if x})
    changes = {
        "generations": max(marks, default=1),
        "checkpoint": config.checkpoint.model_copy(update={"keep_at": marks}),
        "stop": config.stop.model_copy(update={"seconds": None}),
    }
    run = run._replace(config=config.model_copy(update=changes))
    seed, found = jnp.uint32(config.seed), {}
    looked = make_look(run, config)

    def save(state: TrainState, progress: object, final: bool) -> None:
        number = int(state.generation)
        if number in marks and number not in found:
            found[number] = looked(state)

    if 0 in generations:
        found[0] = looked(run.program.init(run.hyper, seed))
    if marks:
        search_until(run, lambda progress: None, save=save)
    return [found[x] for x in sorted(found)]


def make_look(run: Run, config: Config) -> Callable[[TrainState], Moment]:
    """-> state -> what is drawn of it. A search with another population has another compiled
    function, hidden in here."""

    parts = run.parts

    @jax.jit
    def drawn(seed: jax.Array, state: TrainState):
        p = parts.strategy.population_size

        def population(keys: jax.Array) -> jax.Array:
            solutions = asked(parts, keys_of(parts, keys, state.generation), state, jnp.arange(p))
            return parameters(state, parts.strategy, solutions)

        draws = jax.vmap(lambda i: jax.random.fold_in(stream(seed, DRAWS), i))
        many = jax.lax.map(lambda key: population(key)[:, :2], draws(jnp.arange(-(-DRAWN // p))))
        return population(stream(seed, TRAIN)), many.reshape(-1, many.shape[-1])

    def look(state: TrainState) -> Moment:
        members, many = drawn(jnp.uint32(config.seed), state)
        spread = np.cov(np.asarray(many, float).T).reshape(np.shape(many)[1], -1)
        mean = np.asarray(state.strategy.mean)
        return Moment(int(state.generation), mean, np.asarray(members), spread)

    return look
