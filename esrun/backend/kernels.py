"""Faster arithmetic for rollouts: what replaces operations that XLA is slow at.

A rollout steps thousands of small environments at once, and XLA spends most of such a step in a few
places (docs/performance.md has the measurements). On a CPU `sin`, `cos` and `rem` are calls into
libm, one element at a time, and are copied into every fused kernel that reads them. Everywhere,
products of tiny matrices go through a kernel made for large ones. Rules depend on the operation,
dtype and size only; `esrun.backend.rewriting` puts them in.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

FEW_INPUTS, FEW_OUTPUTS = 8, 4
"""Matrix products up to these sizes are written out; larger ones are quicker in XLA's own
kernel."""

MANY = 16
"""Elements from which replacing a function pays."""

MANY_PRODUCTS = 256
"""Products from which writing out a matrix product pays."""


def _guarded(valid: Callable, vectorised: Callable, original: Callable) -> Callable:
    """A rule: `vectorised` where all elements are `valid`, else XLA's own operation on all of them.

    The branch serves twice: it keeps the result right for huge and non-finite values, and it stops
    XLA from copying the operation into its consumers, which it does across everything else.
    """

    def rule(parameters, *x):
        del parameters
        if x[0].dtype != jnp.float32 or x[0].size < MANY:
            return None
        return jax.lax.cond(jnp.all(valid(*x)), vectorised, original, *x)

    return rule


def _sine(x: jax.Array, quadrant: int) -> jax.Array:
    """sin(x + quadrant π/2) for |x| < 8192, to 1e-7: reduction by π/2 in three parts (Cody and
    Waite 1980)."""
    count = jnp.round(x * np.float32(2 / np.pi))
    r = x
    for part in (1.5703125, 4.837512969970703125e-4, 7.549789948768648e-8):
        r = r - count * np.float32(part)
    return sine_of_quarters(r, count.astype(jnp.int32) + quadrant)


def sine_of_quarters(r: jax.Array, quarter: jax.Array) -> jax.Array:
    """sin(r + quarter π/2) for |r| <= π/4 and integers, to 1e-7: the polynomials of Cephes (Moshier
    1989, sinf.c and cosf.c).
    """
    z = r * r
    sine = r + r * z * _polynomial(z, -1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
    cosine = (
        1
        - z / 2
        + z * z * _polynomial(z, 2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
    )
    value = jnp.where(quarter & 1 != 0, cosine, sine)
    return jnp.where(quarter & 2 != 0, -value, value)


def _polynomial(z: jax.Array, a: float, b: float, c: float) -> jax.Array:
    return (a * z + b) * z + c


def _remainder(x: jax.Array, y: jax.Array) -> jax.Array:
    """C's fmod(x, y), exact for |x| < 2048 |y|: |y| is split so that the products with the quotient
    are exact."""
    a, b = jnp.abs(x), jnp.abs(y)
    quotient = jnp.floor(a / b)
    bits = jax.lax.bitcast_convert_type(b, jnp.int32) & np.int32(
        -4096
    )  # the upper 12 bits of the significand
    high = jax.lax.bitcast_convert_type(bits, jnp.float32)
    r = (a - quotient * high) - quotient * (b - high)
    r = jnp.where(r < 0, r + b, r)  # the quotient's rounding may be off by one
    r = jnp.where(r >= b, r - b, r)
    return jnp.where(x < 0, -r, jnp.where(x == 0, x, r))


def _small_product(
    few_outputs: Callable, parameters, a: jax.Array, b: jax.Array
) -> jax.Array | None:
    """Members' own products [m] x (e x in) (in x out): few inputs become a sum of scaled rows,
    which fuses with what follows; of few outputs `few_outputs` makes the product.
    """
    (left, right), (left_batch, right_batch) = parameters["dimension_numbers"]
    if a.ndim != 3 or b.ndim != 3 or len(left) != 1 or len(left_batch) != 1:
        return None
    if a.dtype != jnp.float32 or b.dtype != jnp.float32 or a.size * b.shape[-1] < MANY_PRODUCTS:
        return None
    a = jnp.moveaxis(a, (left_batch[0], left[0]), (0, 2))  # [m, e, in]
    b = jnp.moveaxis(b, (right_batch[0], right[0]), (0, 1))  # [m, in, out]
    if a.shape[2] <= FEW_INPUTS:
        return functools.reduce(
            jnp.add, (a[:, :, k, None] * b[:, None, k, :] for k in range(a.shape[2]))
        )
    if b.shape[2] <= FEW_OUTPUTS:
        return few_outputs(a, b)
    return None


def _by_vectors(a: jax.Array, b: jax.Array) -> jax.Array | None:
    """A matrix-vector product for each output; a single one is what XLA makes of it anyway."""
    if b.shape[2] == 1:
        return None
    return jnp.stack([jnp.einsum("mei,mi->me", a, b[:, :, k]) for k in range(b.shape[2])], axis=-1)


def _by_sums(a: jax.Array, b: jax.Array) -> jax.Array:
    """A sum for each output, into which what makes `a` is fused: `a` itself never reaches the
    device's memory."""
    return jnp.stack([jnp.sum(a * b[:, None, :, k], axis=2) for k in range(b.shape[2])], axis=-1)


def _is_small(x):
    return jnp.abs(x) < 8192


def _divides_exactly(x, y):
    y = jnp.abs(y)
    return (jnp.abs(x) < 2048 * y) & (y > 1e-6) & (y < 1e6)


RULES = {
    "cpu": {
        "sin": _guarded(_is_small, lambda x: _sine(x, 0), jax.lax.sin),
        "cos": _guarded(_is_small, lambda x: _sine(x, 1), jax.lax.cos),
        "rem": _guarded(_divides_exactly, _remainder, jax.lax.rem),
        "dot_general": functools.partial(_small_product, _by_vectors),
    },
    "accelerator": {"dot_general": functools.partial(_small_product, _by_sums)},
}
