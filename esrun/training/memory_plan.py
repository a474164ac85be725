"""The memory plan: programs that fit into their devices' memory.

XLA's own account of the compiled program says what a generation takes. Where that is more than
there is, the program is compiled again for smaller blocks.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from esrun.backend import memory
from esrun.backend.everywhere import OnEvery
from esrun.training.blocks import Blocks
from esrun.training.members import Parts
from esrun.training.slices import goes_by_memory, plan_blocks

WORTHWHILE = 0.95
"""Of the memory of a plan: what a smaller one must stay below, or its episodes are not what takes
the memory."""

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
        hyper = arguments[0]
        blocks = self._asked(hyper, lambda x: plan_blocks(x, self._devices, self._chunk))
        lowered = self._program(blocks, None).lowered(*arguments)

        def compile_what_fits():
            plan, helps = Plan(blocks, bytes_of(lowered.compile())), True
            limit = SHARE_OF_MEMORY * (memory.of_each(self._devices) or math.inf)
            while plan.bytes > limit:
                smaller = self._asked(hyper, lambda x: self._smaller(x, plan, limit, helps))  # noqa: B023
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

    def _asked(self, hyper: Any, question: Callable[[Parts], Any]) -> Any:
        """-> the answer to a question about the shapes of the parts: with numbers that are arrays,
        making them would take programs of its own."""
        answers = []
        jax.eval_shape(lambda hyper: answers.append(question(self._build(hyper))), hyper)
        return answers[0]

    def _smaller(self, parts: Parts, plan: Plan, limit: float, helps: bool) -> Plan | None:
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
