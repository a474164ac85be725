"""The blocks that the population is cut into, and on how many devices they pay."""

import math

import jax
import jax.numpy as jnp

from esrun.backend import devices, memory
from esrun.training.blocks import Blocks
from esrun.training.generation import Parts
from esrun.types import PyTree

CACHED = 2**25
"""About the most bytes of solutions in a block on a CPU: what its caches keep between making them
and using them."""

LARGEST = 128
"""About the most members of a block on a CPU, and the most held-out episodes anywhere: fewer cost
more for each than one core gains, more leave cores idle."""

SEEN = 40_000
"""About the most numbers that the policies of a block see in a step on a CPU: of more, the first
have left a core's cache before they are used."""

FEWEST = 8
"""Members of a block, however much they see."""

SMALL = 1024
"""Numbers in a population below which a second block costs more than a second core gains."""

WORTH_TWO = 2e6
"""Numbers a generation computes from which on a second core gains more than waiting for it costs,
some 0.1 ms (see docs/performance.md)."""

STEP = 50
"""What a step of an environment costs beside the policy, in numbers."""

SHARE_OF_SOLUTIONS = 1 / 16
"""Most solutions in a block on an accelerator, as a share of its memory: what does not fit into one
block is made twice."""

UNKNOWN_MEMORY = 16 * 2**30
"""What an accelerator that does not say is taken to have: the least that is common."""


def goes_by_memory(local_devices: tuple) -> bool:
    """Whether `population_chunk: auto` depends on the memory that there is: on accelerators. On a
    CPU a seed has one set of bits, whatever the machine."""
    return not devices.on_cpu(local_devices)


def plan_blocks(parts: Parts, local_devices: tuple, population_chunk: int | str) -> Blocks:
    """-> the population in blocks of whole units, as equal as they can be.

    On a CPU `auto` is a function of strategy and task alone: at least two blocks, of about LARGEST
    members, CACHED bytes or SEEN numbers, and a power of two of them, which cores share evenly; a
    population of fewer than SMALL numbers is one. On an accelerator it is at least a block a
    device, of what its memory holds. Where members are padding, blocks on a CPU are those of the
    smallest population that shares the program.
    """
    p, unit, size = parts.strategy.population_size, parts.strategy.unit, population_chunk
    room, least = p, 1
    padded, fewest = parts.strategy.members is not None, parts.strategy.least
    if fewest is not None and not goes_by_memory(local_devices):
        p = fewest
        if size == "auto" and work(parts, p) < WORTH_TWO:
            return Blocks(math.ceil(room / p), p, len(local_devices), alone=True)
    if size == "auto":
        bytes_of_each = max(1, solution_bytes(parts))
        if goes_by_memory(local_devices):
            whole = memory.of_each(local_devices) or UNKNOWN_MEMORY
            size, least = int(SHARE_OF_SOLUTIONS * whole) // bytes_of_each, len(local_devices)
        else:
            seen = parts.task.episodes * math.prod(parts.task.input_shape)
            size = min(LARGEST, CACHED // bytes_of_each, max(FEWEST, SEEN // max(1, seen)))
            least = 2 if p * parts.n >= SMALL else 1
    units = math.ceil(p / unit)
    most = max(1, int(size) // unit)
    count = max(min(least, units), math.ceil(units / most))
    if population_chunk == "auto" and not goes_by_memory(local_devices):
        count = min(units, 1 << round(math.log2(count)))
    each = math.ceil(units / count)
    return Blocks(math.ceil(room / (each * unit)), each * unit, len(local_devices), padded)


def worth(parts: Parts, found: tuple, population_chunk: int | str) -> int:
    """-> how many of the devices `runtime.devices: auto` takes: on a CPU one where several would
    only wait for each other, and never more than there are blocks. Bits do not depend on it."""
    if goes_by_memory(found):
        return min(len(found), parts.strategy.population_size)
    if work(parts, parts.strategy.population_size) < WORTH_TWO:
        return 1
    return min(len(found), plan_blocks(parts, found, population_chunk).count)


def work(parts: Parts, members: int) -> float:
    """-> about how many numbers a generation of so many members computes: the noise of all of them
    and a product with every parameter in every step; a matrix of the strategy's counts once a
    member. Infinite where only the run can tell how many steps there are."""
    steps = math.inf if parts.task.steps is None else parts.task.steps
    state = sum(x.size for x in jax.tree.leaves(state_shapes(parts)))
    return members * (steps * (parts.n + STEP) + state)


def plan_episodes(episodes: int, local_devices: tuple) -> Blocks:
    """-> the held-out episodes in blocks."""
    count = math.ceil(episodes / LARGEST)
    return Blocks(count, math.ceil(episodes / count), len(local_devices))


def solution_bytes(parts: Parts) -> int:
    """-> the bytes of one member's solution."""
    return block_bytes(parts, parts.strategy.unit) // parts.strategy.unit


def block_bytes(parts: Parts, members: int) -> int:
    """-> the bytes of the solutions of so many members."""

    def found():
        key = jax.eval_shape(lambda: jax.random.key(0))
        numbers = jax.ShapeDtypeStruct((members,), jnp.int32)
        solutions = jax.eval_shape(parts.strategy.ask, key, state_shapes(parts), numbers)
        return memory.tree_bytes(solutions)

    return parts.once(("block bytes", members), found)


def state_shapes(parts: Parts) -> PyTree:
    """-> the shapes of the strategy's state."""

    def found():
        key, mean = jax.eval_shape(lambda: (jax.random.key(0), jnp.zeros(parts.n)))
        return jax.eval_shape(parts.strategy.init, key, mean)

    return parts.once("state shapes", found)
