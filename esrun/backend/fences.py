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
        shapes = jax.eval_shape(function, *arguments)

        def nothing(*_):
            return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

        return jax.lax.cond(self._true & where, function, nothing, *arguments)
