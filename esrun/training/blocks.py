"""Blocks: the population in pieces whose bits do not depend on where they are computed.

A block of members is evaluated and summed by itself. Sums of blocks are added in one balanced
binary tree over the block numbers, whoever computed them: each device adds the whole subtrees among
its own blocks, all devices add the rest. So the same configuration has the same bits on any number
of devices, as long as the blocks are the same.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from esrun.backend import devices, memory
from esrun.backend.fences import Fence
from esrun.strategies.parts.padding import unpadded
from esrun.types import Number, PyTree, Strategy


class Blocks(NamedTuple):
    """How something is cut."""

    count: int  # pyright: ignore[reportIncompatibleMethodOverride]
    size: int
    """Of each; the last one may be padded."""
    devices: int
    """That share them. Bits do not depend on it."""
    spread: bool = False
    """Whether blocks lie apart that follow each other, for devices to share the first ones, which
    are all that there are where the rest is padding."""
    alone: bool = False
    """Whether every device computes all blocks, those that there are members of, which costs less
    than sharing them."""

    @property
    def each(self) -> int:
        """Most blocks that a device computes."""
        return self.count if self.alone else math.ceil(self.count / self.devices)

    def numbers(self) -> np.ndarray:
        """-> [count], which block lies at every place where they are spread: 0, 4, 2, 6, 1, 5, 3, 7
        (bits in reverse)."""
        numbers = np.zeros(1, np.int32)
        while len(numbers) < self.count:
            numbers = np.concatenate([2 * numbers, 2 * numbers + 1])
        return numbers[numbers < self.count]

    def number_at(self, place: jax.Array) -> jax.Array:
        """-> which block lies there where they are spread; beyond the last place, any."""
        return jnp.asarray(self.numbers())[jnp.minimum(place, self.count - 1)]

    def range(self, device: int) -> tuple[int, int]:
        """-> the first block of a device, and the first behind its last."""
        return min(device * self.each, self.count), min((device + 1) * self.each, self.count)


KEPT = 2**25
"""Most bytes of the solutions of several blocks that a CPU keeps from `ask` to `recombine`."""


def worth_keeping(blocks: Blocks, solutions: PyTree) -> bool:
    """Whether a device keeps the `solutions` of all its blocks, each as large as these."""
    return devices.on_cpu() and blocks.each * memory.tree_bytes(solutions) <= KEPT


def over_blocks(
    blocks: Blocks,
    fence: Fence,
    work: Callable[[jax.Array, PyTree], tuple[PyTree, PyTree]],
    given: PyTree = None,
    members: Number | None = None,
) -> tuple[PyTree, PyTree]:
    """Do the `work` on every block: (the numbers of its members [size], what is `given` for it) ->
    (what stays, sums).

    -> (what stays of this device's blocks [each, ...], the sums of all blocks, the same on every
    device). What is given is of this device's blocks, [each, ...], such as what stayed earlier.
    Blocks beyond the first `members` are zeros, or on an accelerator of members that are not there.
    """
    if blocks.alone:
        return one_by_one(blocks, fence, work, given, members)
    first = devices.number() * blocks.each

    def block(i, own):  # `own` comes from outside the fence: how it was sliced is not fused with
        here = first + i
        number = blocks.number_at(here) if blocks.spread else here
        numbers = number * blocks.size + jnp.arange(blocks.size)
        there = here < blocks.count
        if members is not None:
            there &= numbers[0] < members
        return fence.around(work, numbers, own, where=there)

    if blocks.each == 1:
        stays, sums = block(jnp.int32(0), jax.tree.map(lambda x: x[0], given))
        nodes = jax.tree.map(lambda x: x[None], sums)
        return jax.tree.map(lambda x: x[None], stays), total(blocks, fence, nodes, lambda node: 0)

    levels = int(math.log2(blocks.each)) + 1
    each = (jnp.arange(blocks.each), given)
    _, sums = jax.eval_shape(block, *jax.tree.map(lambda x: x[0], each))
    forest = jax.tree.map(lambda x: jnp.zeros((2 * levels, *x.shape), x.dtype), sums)

    def body(forest, one):
        stays, sums = block(*one)
        return planted(forest, first, first + one[0], sums), stays

    forest, stays = jax.lax.scan(body, forest, each)
    return stays, total(blocks, fence, forest, place)


def one_by_one(
    blocks: Blocks, fence: Fence, work: Callable, given: PyTree, members: Number | None
) -> tuple[PyTree, PyTree]:
    """`over_blocks` on each device for itself, as far as there are members: sums are added in the
    order of the blocks."""

    def block(i):
        own = jax.tree.map(lambda x: x[i], given)
        return fence.around(work, i * blocks.size + jnp.arange(blocks.size), own)

    def body(i, loop):
        stays, sums = block(i)
        return (
            jax.tree.map(lambda all, x: all.at[i].set(x), loop[0], stays),
            jax.tree.map(jnp.add, loop[1], sums),
        )

    stays, sums = jax.eval_shape(block, jnp.int32(0))
    begin = (
        jax.tree.map(lambda x: jnp.zeros((blocks.count, *x.shape), x.dtype), stays),
        jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), sums),
    )
    there = blocks.count if members is None else -(-members // blocks.size)
    return jax.lax.fori_loop(0, there, body, begin)


def in_order(blocks: Blocks, cut: jax.Array, strategy: Strategy) -> jax.Array:
    """Fitness of all blocks [blocks, size], as they lie -> of all members [p], -inf where there are
    none."""
    if blocks.spread:
        cut = cut[np.argsort(blocks.numbers())]
    whole = rearrange(cut, "block m -> (block m)")[: strategy.population_size]
    return unpadded(whole, strategy.members, -jnp.inf)


def place(node: tuple[Any, Any]) -> Any:
    """-> where a node (level, number) lies in a device's forest. At one level at most one left
    child waits there for its sibling, and at most one right child has its sibling elsewhere."""
    level, number = node
    return 2 * level + number % 2


def planted(forest: PyTree, first: jax.Array, block: jax.Array, sums: PyTree) -> PyTree:
    """-> the forest [2 levels, ...] of a device whose blocks begin at `first`, with one block more,
    added to the subtrees that it completes (a binary counter)."""

    def completes(carry):
        (level, number), _ = carry
        return (number % 2 == 1) & ((number - 1) << level >= first)

    def join(carry):
        (level, number), sums = carry
        at = place((level, number - 1))
        sibling = jax.tree.map(
            lambda x: jax.lax.dynamic_index_in_dim(x, at, keepdims=False), forest
        )
        return (level + 1, number // 2), jax.tree.map(jnp.add, sibling, sums)

    node, sums = jax.lax.while_loop(completes, join, ((jnp.int32(0), block), sums))
    return jax.tree.map(
        lambda x, own: jax.lax.dynamic_update_index_in_dim(x, own, place(node), 0), forest, sums
    )


def subtrees(first: int, end: int) -> Iterator[tuple[int, int]]:
    """-> the largest whole subtrees over the blocks `first` to `end` - 1, as (level, number)."""
    while first < end:
        level = (end - first).bit_length() - 1
        while first % (1 << level):
            level -= 1
        yield level, first >> level
        first += 1 << level


def total(
    blocks: Blocks, fence: Fence, forest: PyTree, lies_at: Callable[[tuple[int, int]], int]
) -> PyTree:
    """-> the sums over all blocks, the same on every device. `lies_at` says where in the `forest`
    of its device a subtree lies."""
    own = [list(subtrees(*blocks.range(device))) for device in range(blocks.devices)]
    most = max(map(len, own))
    where = np.zeros((blocks.devices, most), np.int32)
    for device, nodes in enumerate(own):
        where[device, : len(nodes)] = [lies_at(node) for node in nodes]
    lies = jnp.asarray(where)[devices.number()]
    if blocks.devices == 2 and own[1] and most == 1:  # a sum of two has no order: nothing to gather
        here = lies[0] if where.any() else 0
        return devices.total(jax.tree.map(lambda x: x[here], forest))
    gathered = devices.gather(jax.tree.map(lambda x: x[lies], forest))
    known = {
        node: device * most + i for device, nodes in enumerate(own) for i, node in enumerate(nodes)
    }

    def added(gathered: PyTree, level: int, number: int) -> PyTree:
        if (level, number) in known:
            return jax.tree.map(lambda x: x[known[level, number]], gathered)
        left = added(gathered, level - 1, 2 * number)
        if (2 * number + 1) << (level - 1) >= blocks.count:
            return left
        return jax.tree.map(jnp.add, left, added(gathered, level - 1, 2 * number + 1))

    root = (blocks.count - 1).bit_length()
    return fence.around(lambda gathered: added(gathered, root, 0), gathered)


def added(sums: list[PyTree], plus: Callable[[PyTree, PyTree], PyTree]) -> PyTree:
    """-> the total of the sums of all blocks, in the same tree, where the host has them."""
    while len(sums) > 1:
        pairs = [sums[i : i + 2] for i in range(0, len(sums), 2)]
        sums = [plus(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return sums[0]


def level_of(blocks: Blocks, strategy: Strategy, hands: int) -> int | None:
    """-> the level whose subtrees so many `hands` add up, at least one each as far as there are
    blocks; None where sums are not shared: blocks that all compute, or that may be padding."""
    if blocks.alone or blocks.spread or strategy.members is not None:
        return None
    return max(blocks.count // hands, 1).bit_length() - 1
