"""One generation: ask, evaluate, gather fitness, weigh, recombine by slices, update; see
docs/design.md, section 4."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange

from esrun.backend import devices, keys
from esrun.strategies.parts.shaping import finite_or_worst
from esrun.tasks import normalizer
from esrun.types import Policy, PyTree, Strategy, Task, TrainState


class Parts(NamedTuple):
    """What a run is composed of, built from its options."""

    task: Task
    policy: Policy
    strategy: Strategy
    unravel: Callable[[Any], PyTree]
    """(parameters [n]) -> the policy's tree."""
    n: int


def generation(
    parts: Parts, slices: tuple[int, int], train_key: jax.Array, state: TrainState
) -> tuple[TrainState, dict]:
    """One generation on one of the devices -> (state, a row of metrics), both the same on all of
    them.

    Best, mean and standard deviation are over the members whose fitness is finite.

    A slice is made, evaluated and forgotten; `recombine` makes it again from its member numbers, so
    that a device never holds more than one slice of solutions. A device with a single slice keeps
    it.
    """
    task, strategy = parts.task, in_full_precision(parts.strategy)
    p = strategy.population_size
    count, m = slices
    ask_key, task_key = keys.split(keys.fold_in(train_key, state.generation))
    episode_keys = keys.split(task_key, task.episodes)
    members = rearrange(devices.slice_of(count * m), "(count m) -> count m", m=m)

    def ask(numbers):
        return strategy.ask(ask_key, state.strategy, jnp.minimum(numbers, p - 1))

    def evaluate(numbers, solutions):
        seen = task.evaluate(episode_keys, *expressed(parts, state, solutions), state.normalizer)
        real = numbers < p
        sums = jax.tree.map(lambda x: jnp.tensordot(real.astype(x.dtype), x, 1), seen.inputs)
        return jnp.mean(seen.returns, axis=1), jnp.sum(jnp.where(real, seen.steps, 0)), sums

    def recombine(numbers, solutions, weights):
        own = jnp.where(numbers < p, weights[jnp.minimum(numbers, p - 1)], 0)
        return strategy.recombine(state.strategy, solutions, own)

    if count == 1:
        solutions = ask(members[0])
        fitness, steps, inputs = evaluate(members[0], solutions)
    else:
        fitness, steps, inputs = jax.lax.map(
            lambda numbers: evaluate(numbers, ask(numbers)), members
        )
        fitness = rearrange(fitness, "count m -> (count m)")
        steps, inputs = jax.tree.map(lambda x: jnp.sum(x, axis=0), (steps, inputs))

    fitness = devices.gather(fitness)[:p]
    weights = strategy.weigh(state.strategy, fitness)

    if count == 1:
        sums = recombine(members[0], solutions, weights)
    else:

        def add(sums, numbers):
            return jax.tree.map(jnp.add, sums, recombine(numbers, ask(numbers), weights)), None

        shapes = jax.eval_shape(lambda: recombine(members[0], ask(members[0]), weights))
        sums, _ = jax.lax.scan(
            add, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), members
        )

    sums, steps, inputs = devices.total((sums, steps.astype(jnp.uint32), inputs))
    after = strategy.update(state.strategy, sums, fitness)
    step = jnp.linalg.norm(after.mean - state.strategy.mean)
    finite = jnp.isfinite(fitness)
    row = {
        "fitness_best": jnp.max(finite_or_worst(fitness)),
        "fitness_mean": jnp.mean(fitness, where=finite),
        "fitness_std": jnp.std(fitness, where=finite),
        "sigma": state.strategy.sigma,
        "non_finite": p - jnp.sum(finite, dtype=jnp.int32),
        "tied": jnp.mean(tied(fitness), dtype=fitness.dtype),
        "step_per_sigma": step / state.strategy.sigma,
        "step_per_mean": step / jnp.linalg.norm(state.strategy.mean),
        "env_steps": steps,
    } | strategy.diagnose(state.strategy, fitness)
    return (
        TrainState(
            generation=state.generation + 1,
            strategy=after,
            normalizer=state.normalizer and normalizer.merge(state.normalizer, inputs),
            env_steps=add_wide(state.env_steps, steps),
            best_fitness=jnp.maximum(state.best_fitness, row["fitness_best"]),
            held_out=state.held_out,
            barren=jnp.where(jnp.any(finite), 0, state.barren + 1),
            incumbent=state.incumbent,
        ),
        row,
    )


def in_full_precision(strategy: Strategy) -> Strategy:
    """-> the strategy with products in its own type: a GPU would round what it multiplies to tf32's
    10 bits."""

    def full(function):
        def wrapped(*arguments):
            with jax.default_matmul_precision("highest"):
                return function(*arguments)

        return wrapped

    return strategy._replace(
        **{name: full(getattr(strategy, name)) for name in ("ask", "recombine", "update")}
    )


def expressed(parts: Parts, state: TrainState, solutions: PyTree) -> tuple[Policy, PyTree]:
    """-> the policy and its members' params [m, ...], as a task wants them.

    What members share, such as the mean that a low-rank perturbation is added to, enters the policy
    from outside the members' axis: a product with it stays one product for all of them.
    """
    if parts.strategy.express is None:
        return parts.policy, jax.vmap(parts.unravel)(solutions)
    express = parts.strategy.express(state.strategy)

    def apply(solution, carry, x):
        return parts.policy.apply(express(solution), carry, x)

    return parts.policy._replace(apply=apply), solutions


def tied(fitness: jax.Array) -> jax.Array:
    """Fitness [p] -> [p] bool in ascending order of fitness, whether another member has the
    same."""
    ascending = jnp.sort(finite_or_worst(fitness))  # the sort of the ranks: compiled and done once
    same = ascending[1:] == ascending[:-1]
    return jnp.append(same, False) | jnp.append(False, same)


def add_wide(wide: jax.Array, x: jax.Array) -> jax.Array:
    """A [2] uint32 number (high and low word) + x [] uint32."""
    low = wide[1] + x
    return jnp.stack([wide[0] + (low < x), low])
