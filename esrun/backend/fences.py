"""Fences: pieces of a program that XLA compiles by themselves.

XLA fuses what stands side by side, and a fused kernel may round otherwise than two kernels do: a
product and a sum become one operation. Where a piece is fenced, its bits depend on its own text
alone, not on how many devices, loops or neighbours stand around it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from esrun.backend import devices
from esrun.backend.rewriting import settled


class Fence:
    """Fences off functions of a traced program."""

    def __init__(self, true: jax.Array):
        """`true` [] bool always is, which XLA must not be able to tell."""
        self._true = true

    def around(self, function: Callable, *arguments, where: Any = True) -> Any:
        """-> function(*arguments), compiled as a piece of its own.

        Where it says not (`where` [] bool), the results are zeros, or on an accelerator anything.
        On a CPU the fence is a branch: XLA:CPU drops `optimization_barrier` before it fuses. A
        GPU, which would have to ask the host which branch to take, keeps the barrier.
        """
        if not devices.on_cpu():
            arguments = jax.lax.optimization_barrier(arguments)
            return jax.lax.optimization_barrier(function(*arguments))
        function, shapes = settled(function, *arguments)

        def nothing(*_):
            return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        return jax.lax.cond(self._true & where, function, nothing, *arguments)

    def updating(self, function: Callable, state: Any, *arguments) -> tuple[Any, Any]:
        """-> function(state, *arguments), a state of the same shapes and something more, compiled
        as a piece of its own.

        On a CPU this fence is a loop that runs once: unlike a branch's, a loop's large arrays are
        changed where they lie.
        """
        if not devices.on_cpu():
            return self.around(function, state, *arguments)
        function, (_, shapes) = settled(function, state, *arguments)

        def body(loop):
            _, state, _ = loop
            return (False, *function(state, *arguments))

        nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return jax.lax.while_loop(lambda loop: loop[0], body, (self._true, state, nothing))[1:]
