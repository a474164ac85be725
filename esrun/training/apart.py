"""A generation whose blocks are evaluated apart from each other, wherever, and which is then told.

The pieces are those of the compiled chunk, fenced as there, so they have its bits: `seen` is what
it computes of a block, and `told` is the chunk itself, with what was seen in the place of
evaluating.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import devices, everywhere
from esrun.backend.fences import Fence
from esrun.strategies.parts.padding import how_many
from esrun.training.blocks import Blocks, added, in_order, level_of, over_blocks
from esrun.training.generation import Elsewhere, Seen, asked, evaluated, keys_of, recombined
from esrun.training.members import Parts
from esrun.training.memory_plan import FittingProgram, Plan
from esrun.training.slices import plan_blocks
from esrun.training.stop import Reached, Stop
from esrun.types import PyTree, TrainState


class Apart:
    """The two programs, for `local_devices`; nothing is compiled before it is needed."""

    def __init__(
        self,
        advance: Callable,
        train_key_of: Callable[[Any], jax.Array],
        build: Callable[[Any], Parts],
        local_devices: tuple,
        population_chunk: int | str,
    ):
        """`advance` (blocks, build, hyper, seed, state, stop, `Elsewhere`) is the chunk's function,
        `build` makes Parts of hyper."""
        self._build, self._devices, self._chunk = build, local_devices, population_chunk
        self._telling, self._telling_sums = (
            FittingProgram(advance, build, local_devices, population_chunk) for _ in range(2)
        )

        @functools.cache
        def looking(blocks: Blocks) -> everywhere.OnEvery:
            def look(hyper, seed, state, numbers):
                number = numbers[devices.number()]
                seen = _seen(build(hyper), blocks, train_key_of(seed), state, number)
                return devices.gather(jax.tree.map(lambda x: x[None], seen))

            return everywhere.OnEvery(local_devices, look)

        @functools.cache
        def summing(blocks: Blocks, part: Blocks) -> everywhere.OnEvery:
            def add(hyper, seed, state, seen, first):
                key = train_key_of(seed)
                return summed(build(hyper), blocks, key, state, seen, part, first)

            return everywhere.OnEvery(local_devices, add)

        self._looking, self._summing = looking, summing
        self._sums: PyTree = None  # the shape of sums
        self._plus = jax.jit(lambda one, other: jax.tree.map(jnp.add, one, other))

    @property
    def at_once(self) -> int:
        """-> how many blocks are evaluated side by side, one a device."""
        return len(self._devices)

    def blocks(self, hyper: Any) -> Blocks:
        """-> how the population is cut."""
        return plan_blocks(self._build(hyper), self._devices, self._chunk)

    def wanted(self, hyper: Any) -> range:
        """-> the numbers of the blocks that there are members of; the others are padding."""
        members = int(how_many(self._build(hyper).strategy))
        return range(-(-members // self.blocks(hyper).size))

    def seen(self, hyper: Any, seed: Any, state: TrainState, numbers: list[int]) -> Seen:
        """-> what the blocks of these numbers told, [numbers, ...] each, as NumPy's arrays."""
        program, each, parts = self._looking(self.blocks(hyper)), self.at_once, []
        for first in range(0, len(numbers), each):
            here = np.resize(np.asarray(numbers[first : first + each], np.int32), each)
            parts.append(program(hyper, seed, state, here))  # the next one, while the first runs
        whole = jax.tree.map(lambda *x: np.concatenate([np.asarray(one) for one in x]), *parts)
        return jax.tree.map(lambda x: x[: len(numbers)], whole)

    def told(
        self, hyper: Any, seed: Any, state: TrainState, stop: Stop, seen: Seen, sums: PyTree = None
    ) -> tuple[TrainState, dict, Any, Reached]:
        """-> as the chunk's own, after one generation of which all blocks, [blocks, ...], were
        `seen`. The `sums` over all of them are made here unless they are given."""
        one = stop._replace(generation=np.asarray(int(state.generation) + 1, np.int32))
        telling = self._telling if sums is None else self._telling_sums
        return telling(hyper, seed, state, one, Elsewhere(seen, sums))

    def level(self, hyper: Any, hands: int) -> int | None:
        """-> the level of the subtrees of blocks that so many `hands` add up, each at least one;
        None where they are not to be shared: few blocks, or such as may be padding."""
        return level_of(self.blocks(hyper), self._build(hyper).strategy, hands)

    def summed(
        self, hyper: Any, seed: Any, state: TrainState, seen: Seen, level: int, numbers: list[int]
    ) -> PyTree:
        """-> the strategy's sums over the blocks of subtrees, [numbers, ...] each, as NumPy's
        arrays, when all blocks were `seen`."""
        blocks, found = self.blocks(hyper), []
        for number in numbers:
            first = number << level
            part = blocks._replace(count=min(1 << level, blocks.count - first))
            add = self._summing(blocks, part)
            found.append(add(hyper, seed, state, seen, np.int32(first)))
        return stacked(found)

    def together(self, sums: PyTree) -> PyTree:
        """Sums of all subtrees of a level [subtrees, ...] -> their total."""
        return added(each_of(sums), self._plus)

    def shapes_of_sums(self, hyper: Any, seed: Any, state: TrainState) -> PyTree:
        """-> the shapes of the strategy's sums."""
        if self._sums is None:
            self._sums = jax.eval_shape(
                lambda *x: some_sums(self._build(x[0]), self.blocks(hyper), *x[1:]),
                *(hyper, seed, state),
            )
        return self._sums

    def reached(self, hyper: Any, seed: Any, state: TrainState, stop: Stop, seen: Seen) -> Reached:
        """-> which stop rules hold; what was `seen` is not looked at."""
        here = stop._replace(generation=np.asarray(int(state.generation), np.int32))
        return self._telling(hyper, seed, state, here, Elsewhere(seen))[3]

    def nothing(self, hyper: Any, seed: Any, state: TrainState) -> Seen:
        """-> zeros [blocks, ...], what is told of blocks that are padding."""
        blocks = self.blocks(hyper)

        def look(hyper, seed, state):
            return _seen(self._build(hyper), blocks, jax.random.key(seed), state, jnp.int32(0))

        return zeros(jax.eval_shape(look, hyper, seed, state), blocks.count)

    def planned(self) -> Plan | None:
        """-> how the members are cut, None until `told` is compiled."""
        return self._telling.planned()


def zeros(shapes: PyTree, count: int) -> PyTree:
    """-> zeros [count, ...] of such shapes, as NumPy's arrays."""
    return jax.tree.map(lambda x: np.zeros((count, *x.shape), x.dtype), shapes)


def stacked(trees: list) -> Any:
    """Trees of arrays -> one of NumPy's arrays [trees, ...]."""
    return jax.tree.map(lambda *x: np.stack([np.asarray(one) for one in x]), *trees)


def each_of(tree: PyTree) -> list:
    """A tree of arrays [count, ...] -> the trees that are `stacked` in it."""
    count = len(jax.tree.leaves(tree)[0])
    return [jax.tree.map(lambda x: x[i], tree) for i in range(count)]  # noqa: B023


def _seen(
    parts: Parts, blocks: Blocks, train_key: jax.Array, state: TrainState, number: jax.Array
) -> Seen:
    """-> what the members of one block told, as in the chunk."""
    fence, drawn = Fence(state.generation >= 0), keys_of(parts, train_key, state.generation)

    def look(members):
        solutions = fence.around(lambda members: asked(parts, drawn, state, members), members)
        return evaluated(parts, drawn, state, members, solutions)

    return fence.around(look, number * blocks.size + jnp.arange(blocks.size))


def summed(
    parts: Parts,
    blocks: Blocks,
    train_key: jax.Array,
    state: TrainState,
    seen: Seen,
    part: Blocks,
    first: jax.Array,
) -> PyTree:
    """-> the strategy's sums over the blocks of a `part`, a whole subtree that begins at the block
    `first`, as `generation` adds them; `seen` [blocks, ...] is what all blocks have told."""
    fence, drawn = Fence(state.generation >= 0), keys_of(parts, train_key, state.generation)
    fitness = fence.around(lambda all: in_order(blocks, all, parts.strategy), seen.selected_by)
    weights = fence.around(parts.strategy.weigh, state.strategy, fitness)

    def recombine(own, _):
        members = own + first * blocks.size
        solutions = fence.around(lambda members: asked(parts, drawn, state, members), members)
        return None, recombined(parts, drawn, state, members, weights, solutions)

    return over_blocks(part, fence, recombine)[1]


def some_sums(parts: Parts, blocks: Blocks, seed: jax.Array, state: TrainState) -> PyTree:
    """-> the strategy's sums over a block of no weight, of which only the shapes count."""
    drawn, members = keys_of(parts, jax.random.key(seed), state.generation), jnp.arange(blocks.size)
    weights = jnp.zeros(parts.strategy.population_size, state.strategy.mean.dtype)
    return recombined(parts, drawn, state, members, weights)
