"""The memory plan: how many members a device holds at a time.

XLA's own account of the compiled program says what a generation takes. Where that is more than
there is, the program is compiled again for smaller slices of the population.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from esrun.backend import devices, memory
from esrun.backend.devices import OnEvery
from esrun.training.generation import Parts

CACHED = 2**25
"""Most bytes of solutions that `population_chunk: auto` holds on a CPU: what its caches keep
between making them and using them."""

SHARE_OF_SOLUTIONS = 1 / 16
"""The same on an accelerator, as a share of its memory: what does not fit into a slice is made
twice."""

UNKNOWN_MEMORY = 16 * 2**30
"""What an accelerator that does not say is taken to have: the least that is common."""

SHARE_OF_MEMORY = 0.9
"""How much of the memory `population_chunk: auto` plans with: metrics, saved states and libraries
need some too."""


class Plan(NamedTuple):
    """How a device works through its members, and the memory that XLA says a generation takes."""

    slices: tuple[int, int]
    """(slices, members a slice)."""
    bytes: int
    """Of a device: the training state as it was and as it will be, and all between."""


class FittingProgram:
    """`function` (slices, hyper, ...), compiled for `local_devices` and for slices that fit into
    their memory."""

    def __init__(
        self,
        function: Callable,
        build: Callable[..., Parts],
        local_devices: tuple,
        chunk: int | str,
    ):
        """`build` makes Parts of hyper. Nothing is compiled before it is needed."""
        self._build, self._devices, self._chunk = build, local_devices, chunk
        self._program = functools.cache(
            lambda slices: OnEvery(local_devices, functools.partial(function, slices))
        )
        self._plan: Plan | None = None

    def __call__(self, *arguments):
        """Run it."""
        plan = self._plan or self.compiling(*arguments)()
        return self._program(plan.slices)(*arguments)

    def compiling(self, *arguments) -> Callable[[], Plan]:
        """Trace it, for arrays or shapes -> what compiles it, which saves the first such call from
        compiling."""
        parts = self._build(arguments[0])
        slices = plan_slices(parts, self._devices, self._chunk)
        lowered = self._program(slices).lowered(*arguments)

        def compile_what_fits():
            plan, unit = Plan(slices, bytes_of(lowered.compile())), parts.strategy.unit
            limit = SHARE_OF_MEMORY * (memory.of_each(self._devices) or math.inf)
            while self._chunk == "auto" and plan.bytes > limit and plan.slices[1] > unit:
                fitting = int(plan.slices[1] * limit / plan.bytes)
                fewer = plan_slices(
                    parts, self._devices, max(unit, min(fitting, plan.slices[1] - unit))
                )
                plan = Plan(fewer, bytes_of(self._program(fewer).lowered(*arguments).compile()))
            self._plan = plan
            return plan

        return compile_what_fits

    def planned(self) -> Plan | None:
        """-> the plan of the compiled program, None before that."""
        return self._plan


def bytes_of(compiled) -> int:
    """-> what the compiled program takes on a device: arguments, results and temporaries, by XLA's
    account."""
    sizes = compiled.memory_analysis()
    if sizes is None:  # an accelerator whose compiler does not say
        return 0
    own = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return own - sizes.alias_size_in_bytes


def plan_slices(parts: Parts, local_devices: tuple, population_chunk: int | str) -> tuple[int, int]:
    """-> (slices, members a slice) that a device works through in turn, in whole units; the last
    ones may be padded."""
    here = math.ceil(parts.strategy.population_size / len(local_devices))
    if population_chunk == "auto":
        population_chunk = max(1, most_bytes(local_devices) // solution_bytes(parts))
    units = math.ceil(here / parts.strategy.unit)
    count = math.ceil(units / max(1, int(population_chunk) // parts.strategy.unit))
    return count, math.ceil(units / count) * parts.strategy.unit


def most_bytes(local_devices: tuple) -> int:
    """-> bytes of solutions beyond which a slice on each of the devices is no faster."""
    if devices.on_cpu(local_devices):
        return CACHED
    return int(SHARE_OF_SOLUTIONS * (memory.of_each(local_devices) or UNKNOWN_MEMORY))


def solution_bytes(parts: Parts) -> int:
    """-> the bytes of one member's solution."""
    key, mean = jax.eval_shape(lambda: (jax.random.key(0), jnp.zeros(parts.n)))
    state = jax.eval_shape(parts.strategy.init, key, mean)
    unit = jax.ShapeDtypeStruct((parts.strategy.unit,), jnp.int32)
    solutions = jax.tree.leaves(jax.eval_shape(parts.strategy.ask, key, state, unit))
    return sum(x.size * x.dtype.itemsize for x in solutions) // parts.strategy.unit
