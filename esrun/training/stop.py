"""Where a run ends: its limits, the reasons that its summary names, and their test.

Declared here are the reasons that any run may end for; what else ends a strategy's search, it says
itself (`Strategy.ended`). `reached` is part of the compiled chunk of generations, `reason_to_stop`
asks the clock too.
"""

import functools
import json
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.config.schema.run import Config
from esrun.strategies.parts.defaults import least_sigma
from esrun.types import PyTree, Reason, Strategy, TrainState

BARREN_LIMIT = 10
"""Consecutive generations without a finite fitness after which a run gives up."""

UNSEEN = 16
"""Sigma has collapsed when a step of so many sigmas along the mean's largest coordinate is lost in
its rounding: members then differ from the mean in none of their large coordinates."""

LARGEST = 1e15
"""Of sigma and of the mean: beyond, squares of solutions approach the largest float32."""


class Stop(NamedTuple):
    """Limits at which a chunk ends. Arrays, so that one program serves all limits."""

    generation: jax.Array | np.ndarray  # [] int32
    fitness: jax.Array | np.ndarray  # [] best raw fitness of a member, +inf for none
    held_out: jax.Array | np.ndarray  # [] held-out mean, +inf for none
    env_steps: jax.Array | np.ndarray  # [2] uint32, high and low word


GENERATIONS = Reason("generations", final=True)
SECONDS = Reason("seconds", final=True)
SIGNAL = Reason("signal", final=True)
NON_FINITE_SCORE = Reason(
    "non_finite_eval", failed=True, why="the mean policy's held-out score is not a finite number"
)
FITNESS = Reason("fitness", final=True)
EVAL = Reason("eval", final=True)
ENV_STEPS = Reason("env_steps", final=True)
SIGMA_COLLAPSED = Reason("sigma_collapsed")
SIGMA_EXPLODED = Reason("sigma_exploded", failed=True, why=f"sigma has grown beyond {LARGEST:g}")
MEAN_EXPLODED = Reason("mean_exploded", failed=True, why=f"the mean has grown beyond {LARGEST:g}")
NON_FINITE_FITNESS = Reason(
    "non_finite_fitness",
    final=True,
    failed=True,
    why=f"no member had a finite fitness for {BARREN_LIMIT} generations",
)
NON_FINITE_STATE = Reason("non_finite_state", failed=True, why="the mean or sigma is not a number")
NON_FINITE_INPUTS = Reason(
    "non_finite_inputs", failed=True, why="the input normaliser has left the range of floats"
)


def stop_at(config: Config, generation: int) -> Stop:
    """-> the limits of a chunk that ends at `generation` at the latest."""
    stop = config.stop
    steps = 2**64 - 1 if stop.env_steps is None else stop.env_steps
    return Stop(
        generation=np.asarray(generation, np.int32),
        fitness=np.asarray(np.inf if stop.fitness is None else stop.fitness),
        held_out=np.asarray(np.inf if stop.eval is None else stop.eval),
        env_steps=np.array([steps >> 32, steps & 0xFFFFFFFF], np.uint32),
    )


@functools.partial(jax.tree_util.register_dataclass, data_fields=["hold"], meta_fields=["reasons"])
@dataclass(frozen=True)
class Reached:
    """Which of the stop rules hold: one array, which Python reads in one piece."""

    hold: jax.Array  # [len(reasons)] bool
    reasons: tuple[Reason, ...]

    def held(self) -> list[Reason]:
        """-> those that hold; waits for the devices."""
        return [
            reason for reason, yes in zip(self.reasons, np.asarray(self.hold), strict=True) if yes
        ]

    @staticmethod
    def written(fixed: tuple) -> bytes:
        """-> the reasons as a kept trace holds them (see `esrun.backend.traces`)."""
        return json.dumps(fixed).encode()

    @staticmethod
    def read(content: bytes) -> tuple:
        """-> what was `written`."""
        return tuple(tuple(Reason(*x) for x in reasons) for reasons in json.loads(content))


def reached(strategy: Strategy, state: TrainState, stop: Stop) -> Reached:
    """-> which of the stop rules hold. Besides what the user set: whether going on makes sense at
    all."""
    mean, sigma = state.strategy.mean, state.strategy.sigma
    steps, limit = state.env_steps, stop.env_steps
    largest, info = jnp.max(jnp.abs(mean)), jnp.finfo(sigma.dtype)
    rules = {
        FITNESS: is_at_least(state.best_fitness, stop.fitness),
        EVAL: is_at_least(state.held_out, stop.held_out),
        ENV_STEPS: (steps[0] > limit[0]) | ((steps[0] == limit[0]) & (steps[1] >= limit[1])),
        SIGMA_COLLAPSED: sigma < jnp.maximum(info.eps * largest / UNSEEN, least_sigma(sigma.dtype)),
        SIGMA_EXPLODED: sigma > LARGEST,
        MEAN_EXPLODED: largest > LARGEST,
        NON_FINITE_FITNESS: state.barren >= BARREN_LIMIT,
        NON_FINITE_STATE: jnp.isnan(sigma) | jnp.any(jnp.isnan(mean)),
        NON_FINITE_INPUTS: ~all_finite(state.normalizer),
    } | strategy.ended(state.strategy)
    reasons = tuple(sorted(rules))
    return Reached(jnp.stack([rules[reason] for reason in reasons]), reasons)


def reason_to_stop(
    config: Config, generation: int, seconds: float, reached: Reached
) -> Reason | None:
    """-> the limit that the run has reached, if any; a failure before any other.

    `reached` is the program's own word for its stop rules.
    """
    held = reached.held()
    if config.stop.seconds is not None and seconds >= config.stop.seconds:
        held.append(SECONDS)
    if generation >= config.generations:
        held.append(GENERATIONS)
    return next((reason for reason in held if reason.failed), held[0] if held else None)


def is_at_least(x: jax.Array, limit: jax.Array | np.ndarray) -> jax.Array:
    """Whether a limit is reached, [] bool; by what is not finite, none is."""
    return jnp.isfinite(x) & (x >= limit)


def all_finite(tree: PyTree) -> jax.Array:
    """Whether all numbers of a tree are finite, [] bool."""
    return jnp.all(
        jnp.stack([jnp.bool_(True), *(jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree))])
    )
