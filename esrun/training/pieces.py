"""The parts of a generation as programs of their own, for a loop outside of the compiled one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import keys
from esrun.tasks.acting import acting
from esrun.tasks.environment import Step
from esrun.tasks.normalizer import nothing
from esrun.training import step_counts
from esrun.training.generation import (
    Parts,
    Seen,
    asked,
    decayed_fitness,
    keys_of,
    params_of,
    policy_of,
    recombined,
    told,
)
from esrun.training.program import HELD_OUT, TRAIN, stream
from esrun.training.stop import reached
from esrun.types import Moments, PyTree, TrainState


class Pieces:
    """The compiled parts of a generation; numbers are arguments of each."""

    def __init__(self, build: Callable[[Any], Parts]):
        """Nothing is compiled before it is needed."""
        self._build, self._latest = build, (None, None)

        def piece(function: Callable) -> Callable:
            return jax.jit(lambda hyper, *x: function(build(hyper), *x))

        self.drawn = piece(lambda parts, seed, g: keys_of(parts, stream(seed, TRAIN), g))
        self.ask, self.recombine, self.tell = piece(asked), piece(recombined), piece(told)
        self.params = piece(params_of)
        self.weigh = piece(lambda parts, *x: parts.strategy.weigh(*x))
        self.reached = piece(lambda parts, *x: reached(parts.strategy, *x))
        self.mean = piece(lambda parts, state: jax.tree.map(
            lambda x: x[None], parts.unravel(state.strategy.mean)
        ))  # fmt: skip
        self.begin = jax.jit(
            lambda hyper, normalizer, m, e: _begun(build(hyper), normalizer, m, e),
            static_argnums=(2, 3),
        )
        self._act = piece(lambda parts, state, *x: _acted(
            parts, policy_of(parts, state), state.normalizer, *x
        ))  # fmt: skip
        self._act_alone = piece(lambda parts, *x: _acted(parts, parts.policy, *x))
        self.seen = piece(_seen)
        self.held_out = jax.jit(lambda seed, i: keys.fold_in(stream(seed, HELD_OUT), i))
        self.mean_of = jax.jit(jnp.mean)
        self.plus = jax.jit(lambda one, other: jax.tree.map(jnp.add, one, other))

    def parts(self, hyper: Any) -> Parts:
        """-> the parts, whose numbers are at hand."""
        if self._latest[0] is not hyper:
            self._latest = hyper, self._build(hyper)
        assert self._latest[1] is not None
        return self._latest[1]

    def act_in(self, state: TrainState) -> tuple[Callable, Moments | None]:
        """-> what `acting` takes for members of the population."""
        return lambda hyper, *x: self._act(hyper, state, *x), state.normalizer

    def act_of(self, normalizer: Moments | None) -> tuple[Callable, Moments | None]:
        """-> what `acting` takes for plain parameters."""
        return lambda hyper, *x: self._act_alone(hyper, normalizer, *x), normalizer

    def acting(
        self,
        how: tuple[Callable, Moments | None],
        hyper: Any,
        params: PyTree,
        shape: tuple[int, int],
    ) -> Callable:
        """-> what `Pool.play` asks, for the params of `shape` = (members, episodes)."""
        act, normalizer = how

        def acted(observations, alive, kept):
            kept = self.begin(hyper, normalizer, *shape) if kept is None else kept
            seen = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), observations)
            actions, kept = act(hyper, params, seen, alive.reshape(shape), kept)
            return np.asarray(actions).reshape(-1, *actions.shape[2:]), kept

        return acted


def _begun(parts: Parts, normalizer: Any, m: int, e: int) -> tuple[PyTree, Any]:
    """-> (carries, inputs), [m, e, ...] each."""
    own = parts.policy.initial_carry(), normalizer and nothing(parts.task.input_shape)
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (m, e, *x.shape)), own)


def _acted(
    parts: Parts, policy: Any, normalizer: Any, params: PyTree, observations, alive, kept
) -> tuple[jax.Array, Any]:
    """-> (actions [m, e, ...], (carries, inputs))."""
    interface = parts.task.interface
    assert interface is not None
    act = acting(None, interface.encode, interface.decode, policy, normalizer)

    def one(member, observation, counts, kept):
        carry, inputs = kept
        now = Step(None, observation, jnp.zeros(()), ~counts)
        action, carry, seen = act.step(member, carry, now, counts)
        return action, (carry, jax.tree.map(jnp.add, inputs, seen))

    return jax.vmap(jax.vmap(one, (None, 0, 0, 0)))(params, observations, alive, kept)


def _seen(parts: Parts, members: jax.Array, solutions: PyTree, totals, steps, inputs) -> Seen:
    """-> what the episodes [m, e] of some members told."""
    real = members < parts.strategy.population_size
    of_members = jax.tree.map(lambda x: jnp.sum(x, axis=1), inputs)
    inputs = jax.tree.map(lambda x: jnp.tensordot(real.astype(x.dtype), x, 1), of_members)
    counted = step_counts.summed(jnp.where(real, jnp.sum(steps, axis=1), 0))
    fitness = jnp.mean(totals.astype(float), axis=1)
    return Seen(fitness, counted, inputs, decayed_fitness(parts, solutions, fitness))
