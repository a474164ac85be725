"""Noise: standard normal numbers as a pure function of (key, member, position).

Any row can be drawn anywhere, again, alone or in company, and is the same to the bit: devices and
chunks pass random keys and member numbers, never noise. There are two sources.

- "threefry": a counter-based generator, threefry-2x32 with 20 rounds (Salmon, Moraes, Dror, Shaw:
  Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011), the counter being (member, position),
  followed by the transform of Box and Muller (1958). `jax.random.normal` uses the same hash, but
  throws half of its output away and rolls its rounds into a loop that no compiler fuses; this costs
  a third of it (docs/performance.md).
- a table: one long array of normals, made once; a member's noise is the slice at an offset drawn
  for it (Salimans et al. 2017, section 2.1). Slices overlap, so members are slightly correlated;
  they cost next to nothing.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange

from esrun.backend import devices
from esrun.backend.kernels import sine_of_quarters
from esrun.backend.keys import threefry


def make_noise(source: str | jax.Array, table_size: int, n: int, *, mirrored: bool) -> Callable:
    """-> (key, member numbers [m], dtype) -> z [m, n] ~ N(0, I), a row for each member.

    `source` is "threefry", "table", or the table itself, which a run makes once and passes to its
    programs. When `mirrored`, members come in whole pairs: 2i and 2i + 1 get z and -z, drawn once.
    Raises ValueError when the table is shorter than a row.
    """
    fresh = isinstance(source, str) and source == "threefry"
    if not fresh and table_size < n:
        raise ValueError(
            f"strategy.noise_table_size must be at least the {n} parameters of the policy, got "
            f"{table_size}: "
            f"write strategy.noise_table_size={16 * n}"
        )

    def draw(key, members, dtype):
        if fresh:
            return normal(key, members, n, dtype)
        table = make_table(table_size, str(jnp.dtype(dtype))) if isinstance(source, str) else source
        offsets, _ = threefry(key, members.astype(jnp.uint32), jnp.zeros_like(members, jnp.uint32))
        starts = (offsets % np.uint32(table_size - n + 1)).astype(jnp.int32)
        # on a CPU one copy after another: side by side they become a gather, number by number
        over_members = jax.lax.map if devices.on_cpu() else lambda f, x: jax.vmap(f)(x)
        return over_members(lambda start: jax.lax.dynamic_slice(table, (start,), (n,)), starts)

    def draw_pairs(key, members, dtype):
        z = draw(key, members[::2] // 2, dtype)
        return rearrange(jnp.stack([z, -z], axis=1), "pair sign n -> (pair sign) n")

    return draw_pairs if mirrored else draw


def perturbed(mean: jax.Array, sigma: jax.Array, z: jax.Array) -> jax.Array:
    """Mean [n], sigma [] or [n], z [m, n] -> mean + sigma z [m, n]."""
    # 2 * t is exact, so mean + 2 * t rounds once, fused or not: the same bits in every program. On
    # a CPU the barrier stops XLA from regrouping sigma / 2 * z; on an accelerator, which does not,
    # it would write z to memory.
    if devices.on_cpu():
        z = jax.lax.optimization_barrier(z)
    return mean + 2 * (sigma / 2 * z)


def weighted_noise(
    mean: jax.Array, sigma: jax.Array, solutions: jax.Array, weights: jax.Array
) -> jax.Array:
    """Mean [n], sigma [], solutions mean + sigma z [m, n], weights w [m] -> sum of w z [n], without
    an array of z."""
    return (weights @ solutions - jnp.sum(weights) * mean) / sigma


def normal(key: jax.Array, members: jax.Array, n: int, dtype) -> jax.Array:
    """-> z [m, n] ~ N(0, I) by threefry and Box-Muller: a hash of two words gives two numbers."""
    positions = jnp.arange((n + 1) // 2, dtype=jnp.uint32)
    a, b = threefry(key, members.astype(jnp.uint32)[:, None], positions[None])
    uniform = (
        (a >> 8).astype(jnp.int32).astype(dtype) + 1
    ) * 2.0**-24  # in (0, 1], so that the logarithm is finite
    radius = jnp.sqrt(-2 * jnp.log(uniform))
    return jnp.concatenate([radius * x for x in _on_the_circle(b, dtype)], axis=1)[:, :n]


def _on_the_circle(bits: jax.Array, dtype) -> tuple[jax.Array, jax.Array]:
    """Uint32 words -> (cosine, sine) of an angle that is uniform on the circle."""
    if dtype == jnp.float64:
        angle = bits.astype(dtype) * (np.pi * 2.0**-31)
        return jnp.cos(angle), jnp.sin(angle)
    # the two upper bits say the quarter, the others where in it: polynomials that vectorise, unlike
    # calls into libm
    r = ((bits & np.uint32(2**30 - 1)).astype(jnp.int32) - 2**29).astype(dtype) * (np.pi * 2.0**-31)
    quarter = (bits >> 30).astype(jnp.int32)
    return sine_of_quarters(r, quarter + 1), sine_of_quarters(r, quarter)


@functools.cache
def make_table(size: int, dtype: str) -> jax.Array:
    """-> [size] normals: one table for all runs of a process, always the same one."""
    with jax.ensure_compile_time_eval():  # it may be asked for inside a trace
        return normal(jax.random.key(0), jnp.zeros(1, int), size, jnp.dtype(dtype))[0]
