"""The memory plan: the blocks that the population is cut into.

XLA's own account of the compiled program says what a generation takes. Where that is more than
there is, the program is compiled again for smaller blocks.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.backend import devices, memory
from esrun.backend.everywhere import OnEvery
from esrun.training.blocks import Blocks
from esrun.training.generation import Parts
from esrun.types import PyTree

CACHED = 2**25
"""About the most bytes of solutions in a block on a CPU: what its caches keep between making them
and using them."""

LARGEST = 128
"""About the most members of a block on a CPU, and the most held-out episodes anywhere: fewer cost
more for each than one core gains, more leave cores idle."""

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

WORTHWHILE = 0.95
"""Of the memory of a plan: what a smaller one must stay below, or its episodes are not what takes
the memory."""

UNKNOWN_MEMORY = 16 * 2**30
"""What an accelerator that does not say is taken to have: the least that is common."""

SHARE_OF_MEMORY = 0.9
"""How much of the memory a plan may take: metrics, saved states and libraries need some too."""


class Plan(NamedTuple):
    """How the members are cut, and the memory that XLA says a generation takes."""

    blocks: Blocks
    bytes: int
    """Of a device: the training state as it was and as it will be, and all between."""
    episodes: int | None = None
    """Of a member that are played at a time, None for all: bits do not depend on it."""


class FittingProgram:
    """`function` (blocks, parts, hyper, ...), compiled for `local_devices`, and for blocks and
    groups of episodes that fit into their memory."""

    def __init__(
        self,
        function: Callable,
        build: Callable[..., Parts],
        local_devices: tuple,
        chunk: int | str,
        name: str = "",
    ):
        """`build` makes Parts of hyper. Nothing is compiled before it is needed. `name`: as
        `OnEvery`'s."""
        self._build, self._devices, self._chunk = build, local_devices, chunk
        self._program = functools.cache(
            lambda blocks, episodes: OnEvery(
                local_devices,
                functools.partial(function, blocks, self._building(episodes)),
                name=name and f"advance {blocks} {episodes} {name}",
            )
        )
        self._plan: Plan | None = None

    def __call__(self, *arguments):
        """Run it."""
        plan = self._plan or self.compiling(*arguments)()
        return self._program(plan.blocks, plan.episodes)(*arguments)

    def compiling(self, *arguments) -> Callable[[], Plan]:
        """Trace it, for arrays or shapes -> what compiles it, which saves the first such call from
        compiling. That raises MemoryError where `auto` does not fit and does not go by memory."""
        parts = self._build(arguments[0])
        blocks = plan_blocks(parts, self._devices, self._chunk)
        lowered = self._program(blocks, None).lowered(*arguments)

        def compile_what_fits():
            plan, helps = Plan(blocks, bytes_of(lowered.compile())), True
            limit = SHARE_OF_MEMORY * (memory.of_each(self._devices) or math.inf)
            while plan.bytes > limit:
                smaller = self._smaller(plan, parts, limit, helps)
                if smaller is None:
                    break
                program = self._program(smaller.blocks, smaller.episodes)
                smaller = smaller._replace(bytes=bytes_of(program.lowered(*arguments).compile()))
                helps = smaller.bytes < WORTHWHILE * plan.bytes
                plan = smaller if helps or smaller.episodes == plan.episodes else plan
            self._plan = plan
            return plan

        return compile_what_fits

    def planned(self) -> Plan | None:
        """-> the plan of the compiled program, None before that."""
        return self._plan

    def _building(self, episodes: int | None) -> Callable[..., Parts]:
        def build(hyper) -> Parts:
            parts = self._build(hyper)
            if episodes is None:
                return parts
            assert parts.task.in_groups_of is not None
            return parts._replace(task=parts.task.in_groups_of(episodes))

        return build

    def _smaller(self, plan: Plan, parts: Parts, limit: float, helps: bool) -> Plan | None:
        """-> a plan that takes less, its bytes yet to be seen; None where there is none. Fewer
        episodes at a time come first, as long as that `helps`: the bits stay."""

        def fitting(now: int, least: int) -> int:
            return max(least, min(int(now * limit / plan.bytes), now - least))

        episodes, unit = plan.episodes or parts.task.episodes, parts.strategy.unit
        if helps and parts.task.in_groups_of is not None and episodes > 1:
            return plan._replace(episodes=fitting(episodes, 1))
        if self._chunk != "auto" or plan.blocks.size <= unit:
            return None
        size = fitting(plan.blocks.size, unit)
        if not goes_by_memory(self._devices):
            raise MemoryError(
                f"a generation takes {memory.shown(plan.bytes)} on each device, there are "
                f"{memory.shown(limit)}: write runtime.population_chunk={size}"
            )
        return plan._replace(blocks=plan_blocks(parts, self._devices, size))


def bytes_of(compiled) -> int:
    """-> what the compiled program takes on a device: arguments, results and temporaries, by XLA's
    account."""
    sizes = compiled.memory_analysis()
    if sizes is None:  # an accelerator whose compiler does not say
        return 0
    own = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return own - sizes.alias_size_in_bytes


def goes_by_memory(local_devices: tuple) -> bool:
    """Whether `population_chunk: auto` depends on the memory that there is: on accelerators. On a
    CPU a seed has one set of bits, whatever the machine."""
    return not devices.on_cpu(local_devices)


def plan_blocks(parts: Parts, local_devices: tuple, population_chunk: int | str) -> Blocks:
    """-> the population in blocks of whole units, as equal as they can be.

    On a CPU `auto` is a function of the strategy alone: at least two blocks, of about LARGEST
    members or CACHED bytes, and a power of two of them, which cores share evenly; a population of
    fewer than SMALL numbers is one. On an accelerator it is at least a block a device, of what its
    memory holds. Where members are padding, blocks on a CPU are those of the smallest population
    that shares the program.
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
            size, least = min(LARGEST, CACHED // bytes_of_each), 2 if p * parts.n >= SMALL else 1
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
