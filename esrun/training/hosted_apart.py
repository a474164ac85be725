"""Blocks whose members are played apart from each other, by processes that step environments, and a
generation that is told of them: the pieces of the compiled chunk, called one by one.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import memory
from esrun.tasks.normalizer import nothing
from esrun.tasks.simulators import SETS, Played, Pool, together
from esrun.training.apart import each_of, some_sums, stacked, zeros
from esrun.training.blocks import KEPT, Blocks, added, level_of
from esrun.training.generation import Parts, Seen
from esrun.training.memory_plan import Plan
from esrun.training.pieces import Pieces
from esrun.training.stop import Reached, Stop
from esrun.types import PyTree, TrainState


class HostedApart:
    """As `apart.Apart`: blocks that are played apart from each other, wherever."""

    at_once = SETS

    def __init__(self, pieces: Pieces, plan: Callable[[Any], Blocks], pool: Callable[[Any], Pool]):
        """Of hyper: how the population is cut, and what steps its environments here."""
        self._pieces, self.blocks, self._pool = pieces, plan, pool
        self._cut: Blocks | None = None
        self._sums: PyTree = None

    def wanted(self, hyper: Any) -> range:
        """-> the numbers of all blocks."""
        self._cut = self.blocks(hyper)
        return range(self._cut.count)

    def seen(self, hyper: Any, seed: Any, state: TrainState, numbers: list[int]) -> Seen:
        """As in `Apart`."""
        blocks, pool = self.blocks(hyper), self._pool(hyper)
        return stacked(seen(self._pieces, pool, blocks, hyper, seed, state, numbers, {}))

    def told(
        self, hyper: Any, seed: Any, state: TrainState, stop: Stop, seen: Seen, sums: PyTree = None
    ) -> tuple[TrainState, dict, Any, Reached]:
        """As in `Apart`."""
        blocks = self.blocks(hyper)
        done = each_of(seen)
        state, row = told(self._pieces, blocks, hyper, seed, state, done, {}, sums)
        rows = jax.tree.map(lambda x: np.asarray(x)[None], row)
        return state, rows, np.int32(1), self._pieces.reached(hyper, state, stop)

    def level(self, hyper: Any, hands: int) -> int | None:
        """As in `Apart`."""
        return level_of(self.blocks(hyper), self._pieces.parts(hyper).strategy, hands)

    def summed(
        self, hyper: Any, seed: Any, state: TrainState, seen: Seen, level: int, numbers: list[int]
    ) -> PyTree:
        """As in `Apart`."""
        pieces, blocks = self._pieces, self.blocks(hyper)
        _, weights = weighed(pieces, hyper, state, each_of(seen))
        found = []
        for number in numbers:
            part = range(number << level, min((number + 1) << level, blocks.count))
            found.append(summed(pieces, blocks, hyper, seed, state, weights, part, {}))
        return stacked(found)

    def together(self, sums: PyTree) -> PyTree:
        """As in `Apart`."""
        return added(each_of(sums), self._pieces.plus)

    def shapes_of_sums(self, hyper: Any, seed: Any, state: TrainState) -> PyTree:
        """As in `Apart`."""
        if self._sums is None:
            self._sums = jax.eval_shape(
                lambda *x: some_sums(self._pieces.parts(x[0]), self.blocks(hyper), *x[1:]),
                *(hyper, seed, state),
            )
        return self._sums

    def reached(self, hyper: Any, seed: Any, state: TrainState, stop: Stop, seen: Seen) -> Reached:
        """As in `Apart`."""
        return self._pieces.reached(hyper, state, stop)

    def nothing(self, hyper: Any, seed: Any, state: TrainState) -> Seen:
        """As in `Apart`."""
        pieces, blocks = self._pieces, self.blocks(hyper)

        def look(hyper, seed, state):
            drawn, members = pieces.drawn(hyper, seed, state.generation), jnp.arange(blocks.size)
            solutions = pieces.ask(hyper, drawn, state, members)
            shape = blocks.size, len(drawn.episodes)
            inputs = pieces.begin(hyper, state.normalizer, *shape)[1]
            none = jnp.zeros(shape)
            return pieces.seen(hyper, members, solutions, none, none.astype(int), inputs)

        return zeros(jax.eval_shape(look, hyper, seed, state), blocks.count)

    def planned(self) -> Plan | None:
        """-> how the members are cut, None before anybody has asked."""
        return self._cut and Plan(self._cut, 0)


def seeds_of(keys: jax.Array) -> np.ndarray:
    """Random keys [e] -> seeds [e] of 31 bits, which every generator of numbers takes."""
    return np.asarray(jax.random.key_data(keys), np.uint64)[:, -1] & np.uint64(2**31 - 1)


def seen(
    pieces: Pieces,
    pool: Pool,
    blocks: Blocks,
    hyper: Any,
    seed: Any,
    state: TrainState,
    numbers: Iterable[int],
    kept: dict[int, PyTree | None],
) -> list[Seen]:
    """-> what the members of the blocks of these numbers told; their solutions are `kept`, or None
    where these are too large."""
    drawn = pieces.drawn(hyper, seed, state.generation)
    parts, episodes = pieces.parts(hyper), seeds_of(drawn.episodes)
    p, paid = parts.strategy.population_size, parts.task.simulators.paid
    shape = (blocks.size, len(episodes))

    def evaluate(i: int) -> Callable[[int], Generator[None, None, Any]]:
        def played(number):
            members = i * blocks.size + np.arange(blocks.size)
            solutions = pieces.ask(hyper, drawn, state, members)
            params = pieces.params(hyper, solutions)
            act = pieces.acting(pieces.act_in(state), hyper, params, shape)
            real = np.repeat(members < p, len(episodes))
            seeds = np.tile(episodes, blocks.size)
            done: Played = yield from pool.play(number, seeds, real, act, paid)
            figures = done.totals.reshape(shape), done.steps.reshape(shape), done.memory[1]
            kept[i] = solutions if keeps(blocks, solutions) else None
            return pieces.seen(hyper, members, solutions, *figures)

        return played

    return together(map(evaluate, numbers))


def told(
    pieces: Pieces,
    blocks: Blocks,
    hyper: Any,
    seed: Any,
    state: TrainState,
    done: list[Seen],
    kept: dict[int, PyTree | None],
    sums: PyTree = None,
) -> tuple[TrainState, dict]:
    """One generation whose blocks have told what is `done` -> (state, a row of metrics). Solutions
    that are not `kept` are asked for again, and `sums` made unless they are given."""
    drawn = pieces.drawn(hyper, seed, state.generation)
    everything, weights = weighed(pieces, hyper, state, done)
    if sums is None:
        every = range(blocks.count)
        sums = summed(pieces, blocks, hyper, seed, state, weights, every, kept)
    return pieces.tell(hyper, drawn, state, everything.fitness, sums, everything)


def weighed(
    pieces: Pieces, hyper: Any, state: TrainState, done: list[Seen]
) -> tuple[Seen, jax.Array]:
    """What all blocks have told -> (the same of the whole population, its members' weights [p])."""
    p = pieces.parts(hyper).strategy.population_size
    each = [(seen.fitness, seen.decayed) for seen in done]
    fitness, decayed = jax.tree.map(lambda *x: jnp.concatenate(x)[:p], *each)
    steps, inputs = added([(seen.steps, seen.inputs) for seen in done], pieces.plus)
    everything = Seen(fitness, steps, inputs, decayed)
    return everything, pieces.weigh(hyper, state.strategy, everything.selected_by)


def summed(
    pieces: Pieces,
    blocks: Blocks,
    hyper: Any,
    seed: Any,
    state: TrainState,
    weights: jax.Array,
    part: Iterable[int],
    kept: dict[int, PyTree | None],
) -> PyTree:
    """-> the strategy's sums over the blocks of a `part`, a whole subtree; `kept` as in `told`."""
    drawn, sums = pieces.drawn(hyper, seed, state.generation), []
    for i in part:
        members = i * blocks.size + np.arange(blocks.size)
        if i not in kept:  # another process has played them
            solutions = pieces.ask(hyper, drawn, state, members)
            kept[i] = solutions if keeps(blocks, solutions) else None
        sums.append(pieces.recombine(hyper, drawn, state, members, weights, kept[i]))
    return added(sums, pieces.plus)


def structure_of(parts: Parts, state: TrainState) -> Any:
    """-> the structure of what is `Seen` of members."""
    inputs = state.normalizer and nothing(parts.task.input_shape)
    decayed = None if parts.strategy.decay_fitness is None else 0
    return jax.tree.structure(Seen(0, 0, inputs, decayed))  # type: ignore


def keeps(blocks: Blocks, solutions: PyTree) -> bool:
    """Whether the solutions of all blocks, each as large as these, are kept, not made again."""
    return blocks.count * memory.tree_bytes(solutions) <= KEPT
