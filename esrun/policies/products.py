"""Products of weights with inputs, and the layers that are one: weights that may be a sum in two
parts, inputs that may be one of many, images in patches."""

import itertools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp
from einops import rearrange


class LowRank(NamedTuple):
    """A weight array in two parts, base + a bᵀ, that stands wherever a parameter may.

    `product` keeps the parts apart, so that the product with a base that many members share is one
    product. To every other function of jax.numpy it is the sum.
    """

    base: jax.Array  # [..., o]
    a: jax.Array  # [i, r], i the product of the other axes
    b: jax.Array  # [o, r]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the sum."""
        return self.base.shape

    @property
    def dtype(self) -> jnp.dtype:
        """The type of the sum."""
        return self.base.dtype

    def __jax_array__(self) -> jax.Array:
        """-> the sum."""
        return self.base + (self.a @ self.b.T).reshape(self.base.shape)

    def matrix(self) -> "LowRank":
        """-> the same [i, o]."""
        return self._replace(base=rearrange(self.base, "... o -> (...) o"))

    def columns(self, begin: int | None, end: int | None) -> "LowRank":
        """-> some of the columns of a matrix [i, o]."""
        return LowRank(self.base[:, begin:end], self.a, self.b[begin:end])


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class OneHot:
    """An input of zeros with a single one.

    `product` looks up the row of the weights that it is multiplied with. To every other function of
    jax.numpy it is the vector [size].
    """

    index: jax.Array  # [] where the one is
    size: int = field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the vector."""
        return (self.size,)

    def __jax_array__(self) -> jax.Array:
        """-> the vector."""
        return jax.nn.one_hot(self.index, self.size)


def product(
    x: "jax.Array | OneHot", w: jax.Array | LowRank, precision: jax.lax.Precision | None = None
) -> jax.Array:
    """Inputs [..., i] times weights [i, o] -> [..., o]."""
    if isinstance(w, LowRank):
        if isinstance(x, OneHot):
            return w.base[x.index] + w.a[x.index] @ w.b.T
        return x @ w.base + (x @ w.a) @ w.b.T
    return w[x.index] if isinstance(x, OneHot) else jnp.dot(x, w, precision=precision)


def flat(x: Any) -> Any:
    """-> an input as a vector."""
    return x if isinstance(x, OneHot) else rearrange(x, "... -> (...)")


class Linear(hk.Linear):
    """haiku's linear layer, for weights that may be `LowRank` and inputs that may be `OneHot`."""

    def __call__(
        self, inputs: jax.Array, *, precision: jax.lax.Precision | None = None
    ) -> jax.Array:
        """Inputs [..., i] -> [..., output_size]."""
        if hk.running_init():
            return super().__call__(inputs, precision=precision)
        output = product(
            inputs, hk.get_parameter("w", (inputs.shape[-1], self.output_size)), precision
        )
        return output + hk.get_parameter("b", (self.output_size,)) if self.with_bias else output


def patches(x: jax.Array, kernel: int, stride: int, padding: str) -> jax.Array:
    """X [height, width, c] -> what a kernel sees at each place, [rows, columns, kernel * kernel *
    c], an image's first axis outermost; `padding` is "SAME" or "VALID", as XLA has them."""
    around = jax.lax.padtype_to_pads(x.shape[:2], (kernel, kernel), (stride, stride), padding)
    x = jnp.pad(x, [*around, (0, 0)])
    ends = [side - kernel + 1 for side in x.shape[:2]]
    offsets = itertools.product(range(kernel), repeat=2)
    seen = [x[i : ends[0] + i : stride, j : ends[1] + j : stride] for i, j in offsets]
    return jnp.concatenate(seen, -1)


class Conv2D(hk.Conv2D):
    """haiku's convolution of an image [height, width, c] with a square kernel, for weights that may
    be `LowRank`, as one product of the image's patches with the kernel as a matrix.

    XLA's convolution with a kernel for each member is a grouped one, which takes 5 to 11 times as
    long on a CPU.
    """

    def __call__(
        self, inputs: jax.Array, *, precision: jax.lax.Precision | None = None
    ) -> jax.Array:
        """Inputs [height, width, c] -> [rows, columns, output_channels]."""
        if hk.running_init():
            return super().__call__(inputs, precision=precision)
        kernel, stride = self.kernel_shape[0], self.stride[0]
        shape = (*self.kernel_shape, inputs.shape[-1], self.output_channels)
        w = hk.get_parameter("w", shape)
        w = w.matrix() if isinstance(w, LowRank) else rearrange(w, "... o -> (...) o")
        output = product(patches(inputs, kernel, stride, str(self.padding)), w, precision)
        return output + hk.get_parameter("b", shape[-1:]) if self.with_bias else output
