"""One generation, in three parts that can be called one by one: *evaluated*, *recombined*, *told*.

The compiled chunk composes them (`generation`). A loop outside the compiled program, whose
environments or workers are elsewhere, calls them itself: fitness of any slices from `evaluated`, of
all members together the weights, sums of any slices from `recombined`, and `told` once.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.backend import devices, keys
from esrun.backend.devices import in_full_precision
from esrun.backend.fences import Fence
from esrun.backend.rewriting import settled
from esrun.strategies.parts.padding import how_many
from esrun.strategies.parts.shaping import length_of
from esrun.tasks import normalizer
from esrun.tasks.references import all_referred
from esrun.training import archive, step_counts
from esrun.training.blocks import Blocks, in_order, over_blocks, worth_keeping
from esrun.training.generation_metrics import figures, totals
from esrun.training.members import Parts, params_of, policy_of
from esrun.types import Moments, PyTree, Sums, TrainState


class Keys(NamedTuple):
    """The random keys of one generation."""

    ask: jax.Array
    """What all members' noise comes from."""
    episodes: jax.Array  # [e]; all members play the same ones


class Seen(NamedTuple):
    """What the evaluation of some members told."""

    fitness: jax.Array  # [m], the mean return of a member's episodes
    steps: jax.Array  # [4] uint32, the steps of all of them (see `training.step_counts`)
    inputs: Sums | None  # what their policies saw; None without an input normaliser
    decayed: jax.Array | None = None  # [m], see `Strategy.decay_fitness`

    @property
    def selected_by(self) -> jax.Array:
        """[m], what members are selected by."""
        return self.fitness if self.decayed is None else self.decayed


class Elsewhere(NamedTuple):
    """What others have computed of a generation."""

    seen: Seen
    """Of all blocks, [blocks, ...] each."""
    sums: PyTree = None
    """The strategy's sums over all members; None where they are still to be made."""

    def look_up(self, size: int) -> Callable[[jax.Array, PyTree], tuple[PyTree, PyTree]]:
        """-> what takes the place of evaluating a block of so many members (see `over_blocks`)."""

        def look(members, _):
            told = jax.tree.map(lambda x: x[members[0] // size], self.seen)
            return (told.fitness, told.decayed, None), (told.steps, told.inputs)

        return look


def keys_of(parts: Parts, train_key: jax.Array, number: jax.Array) -> Keys:
    """-> the keys of generation `number`. The same generation always has the same ones."""
    ask_key, task_key = keys.split(keys.fold_in(train_key, number))
    return Keys(ask_key, keys.split(task_key, parts.task.episodes))


def asked(parts: Parts, drawn: Keys, state: TrainState, members: jax.Array) -> PyTree:
    """-> the solutions of the `members` [m], whole units; numbers beyond the last are padding."""
    last = how_many(parts.strategy) - 1
    with in_full_precision():
        return parts.strategy.ask(drawn.ask, state.strategy, jnp.minimum(members, last))


def evaluated(
    parts: Parts, drawn: Keys, state: TrainState, members: jax.Array, solutions: PyTree = None
) -> Seen:
    """-> how the `members` [m] did. Their `solutions` are made unless they are given.

    Any slice of whole units can be evaluated anywhere; padding counts nothing.
    """
    if solutions is None:
        solutions = asked(parts, drawn, state, members)
    policy, params = policy_of(parts, state), params_of(parts, solutions)
    params = all_referred(policy, params, state.references, state.normalizer)
    seen = parts.task.evaluate(drawn.episodes, policy, params, state.normalizer)
    real = members < how_many(parts.strategy)
    inputs = jax.tree.map(lambda x: jnp.tensordot(real.astype(x.dtype), x, 1), seen.inputs)
    steps = step_counts.summed(jnp.where(real, seen.steps, 0))
    fitness = jnp.mean(seen.returns, axis=1)
    return Seen(fitness, steps, inputs, decayed_fitness(parts, solutions, fitness))


def decayed_fitness(parts: Parts, solutions: PyTree, fitness: jax.Array) -> jax.Array | None:
    """-> what members [m] are selected by in the place of their `fitness` [m], if that is to be."""
    decay = parts.strategy.decay_fitness
    return None if decay is None else decay(solutions, fitness)


def recombined(
    parts: Parts,
    drawn: Keys,
    state: TrainState,
    members: jax.Array,
    weights: jax.Array,
    solutions: PyTree = None,
) -> PyTree:
    """-> the strategy's sums over the `members` [m]; sums of slices add. `weights` [p] are those of
    the whole population. `solutions` are made again unless they are given."""
    if solutions is None:
        solutions = asked(parts, drawn, state, members)
    p = parts.strategy.population_size
    own = jnp.where(members < p, weights[jnp.minimum(members, p - 1)], 0)
    with in_full_precision():
        return parts.strategy.recombine(state.strategy, solutions, own)


def told(
    parts: Parts,
    drawn: Keys,
    state: TrainState,
    fitness: jax.Array,
    sums: PyTree,
    seen: Seen,
    best_solutions: PyTree = None,
) -> tuple[TrainState, dict]:
    """-> (the state after a generation that was `drawn` from the `state`, a row of metrics).

    `fitness` [p] and `sums` are those of the whole population, and so is what was `seen`. The
    solutions of the best members (`archive.best_members`) are made again unless they are given.
    """
    best = state.archive
    if best is not None:
        ask = functools.partial(asked, parts, drawn, state)
        best, fitness = archive.after(best, state, parts.strategy, ask, fitness, best_solutions)
    seen = seen._replace(fitness=fitness)
    with in_full_precision():
        after = parts.strategy.update(state.strategy, sums, seen.selected_by)
    step, finite = length_of(after.mean - state.strategy.mean), jnp.isfinite(fitness)
    row = figures(parts.strategy, state.strategy, step, fitness, finite, seen.decayed)
    steps = step_counts.carried(seen.steps)
    best_so_far = jnp.maximum(state.best_fitness, row["fitness_best"])
    row |= {"env_steps": steps, "best_so_far": best_so_far} | totals(after.mean)
    if seen.inputs is not None:
        row |= {"non_finite_inputs": seen.inputs.ignored.astype(jnp.uint32)}
    if best is not None:
        row |= {"top_k_mean": archive.top_mean(best)}
    return (
        TrainState(
            generation=state.generation + 1,
            strategy=after,
            normalizer=merged(state.normalizer, seen.inputs),
            env_steps=step_counts.added(state.env_steps, steps),
            best_fitness=best_so_far,
            held_out=state.held_out,
            barren=jnp.where(jnp.any(finite), 0, state.barren + 1),
            incumbent=state.incumbent,
            archive=best,
            references=state.references,
        ),
        row,
    )


def merged(moments: Moments | None, inputs: Sums | None) -> Moments | None:
    """-> the input normaliser after a generation; None where there is none."""
    return moments if moments is None or inputs is None else normalizer.merge(moments, inputs)


def generation(
    parts: Parts,
    blocks: Blocks,
    train_key: jax.Array,
    state: TrainState,
    elsewhere: Elsewhere | None = None,
) -> tuple[TrainState, dict]:
    """One generation on one of the devices -> (state, a row of metrics), both the same on all.

    A block's solutions stay where they were made if that costs little, and are made again
    otherwise: what is fenced has the same bits in both cases. What was computed `elsewhere` is not
    computed again.
    """
    fence = Fence(state.generation >= 0)
    drawn = keys_of(parts, train_key, state.generation)

    def ask(members):
        return fence.around(lambda members: asked(parts, drawn, state, members), members)

    def worth_it():
        return worth_keeping(blocks, jax.eval_shape(ask, jnp.arange(blocks.size)))

    keeps = elsewhere is None and (blocks.each == 1 or worth_it())

    def evaluate(members, _):
        solutions = ask(members)
        seen = evaluated(parts, drawn, state, members, solutions)
        kept = solutions if keeps else None
        return (seen.fitness, seen.decayed, kept), (seen.steps, seen.inputs)

    def of_all(here):
        gathered = here if blocks.alone else devices.gather(here)
        return fence.around(lambda all: in_order(blocks, all, parts.strategy), gathered)

    there = parts.strategy.members
    look = evaluate if elsewhere is None else elsewhere.look_up(blocks.size)
    (*fitness, kept), (steps, inputs) = over_blocks(blocks, fence, look, members=there)
    fitness, decayed = jax.tree.map(of_all, fitness)
    seen = Seen(fitness, steps, inputs, decayed)
    weights = fence.around(parts.strategy.weigh, state.strategy, seen.selected_by)

    best = None
    if keeps and state.archive is not None:
        best = archive.best_members(len(state.archive.fitness), fitness)

    def recombine(members, solutions):
        solutions = solutions if keeps else ask(members)
        sums = recombined(parts, drawn, state, members, weights, solutions)
        among = None if best is None else archive.those_among(members, solutions, best)
        return None, (sums, among)

    if elsewhere is None or elsewhere.sums is None:
        _, (sums, best_solutions) = over_blocks(blocks, fence, recombine, given=kept, members=there)
    else:
        # fenced, or XLA would take what the update makes of them out of the chunk's loop
        sums, best_solutions = fence.around(lambda x: x, elsewhere.sums), None
    tell = functools.partial(told, parts, drawn)
    arguments = (state, fitness, sums, seen, best_solutions)
    return settled(tell, *arguments)[0](*arguments)
