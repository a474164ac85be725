"""Products whose rows do not depend on their company."""

import math

import jax
import jax.numpy as jnp

from esrun.backend import devices

ROWS_ON_CPU, ROWS = 64, 1024
"""Most members that are multiplied by a matrix at a time: on a CPU more are no faster, on an
accelerator fewer leave it idle (docs/performance.md)."""


def multiply_rows(
    z: jax.Array, matrix: jax.Array, population_size: int, axis: int = 0
) -> jax.Array:
    """z [m, n], matrix [n, n] -> z @ matrix [m, n], or z @ matrixᵀ with axis 1.

    It is done in blocks whose size depends on the population's alone, so that a row's bits do not
    depend on its company. A plain product does not promise that: XLA picks another kernel for
    another m.
    """
    (m, n), most = z.shape, ROWS_ON_CPU if devices.on_cpu() else ROWS
    rows = math.ceil(population_size / math.ceil(population_size / most))
    blocks = jnp.pad(z, ((0, -m % rows), (0, 0))).reshape(-1, rows, n)
    contracted = (((1,), (axis,)), ((), ()))
    return jax.lax.map(
        lambda block: jax.lax.dot_general(block, matrix, contracted), blocks
    ).reshape(-1, n)[:m]


def dots(rows: jax.Array, x: jax.Array) -> jax.Array:
    """Rows [m, n], x [n] -> their products [m], each the same bits in any company."""
    if devices.on_cpu():  # where XLA picks another kernel for another m
        return jax.lax.map(lambda row: row @ x, rows)
    return jnp.sum(rows * x, axis=1)
