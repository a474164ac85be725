"""What the architectures share: activations, initialisers, the dense tail, weights with a low-rank
perturbation."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import haiku as hk
import jax
import jax.numpy as jnp

from esrun.types import Number

ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": jax.nn.relu,
    "tanh": jnp.tanh,
    "gelu": jax.nn.gelu,
    "elu": jax.nn.elu,
    "silu": jax.nn.silu,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "leaky_relu": jax.nn.leaky_relu,
    "sin": jnp.sin,
    "identity": lambda x: x,
    # no useful gradient, and none is needed
    "step": lambda x: (x > 0).astype(x.dtype),
    "sign": jnp.sign,
}

INITIALIZERS = {
    "lecun_normal": hk.initializers.VarianceScaling(),
    "orthogonal": hk.initializers.Orthogonal(),
    "normal": hk.initializers.RandomNormal(),
    "uniform": hk.initializers.RandomUniform(-1.0, 1.0),
    "zeros": hk.initializers.Constant(0.0),
}


class LowRank(NamedTuple):
    """A weight array in two parts, base + a bᵀ, that stands wherever a parameter may.

    `Linear` keeps the parts apart, so that the product with a base that many members share is one
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


class Linear(hk.Linear):
    """haiku's linear layer, for weights that may be `LowRank`."""

    def __call__(
        self, inputs: jax.Array, *, precision: jax.lax.Precision | None = None
    ) -> jax.Array:
        """Inputs [..., i] -> [..., output_size]."""
        if hk.running_init():
            return super().__call__(inputs, precision=precision)
        w = hk.get_parameter("w", (inputs.shape[-1], self.output_size), inputs.dtype)
        if isinstance(w, LowRank):
            output = inputs @ w.base + (inputs @ w.a) @ w.b.T
        else:
            output = jnp.dot(inputs, w, precision=precision)
        return (
            output + hk.get_parameter("b", (self.output_size,), inputs.dtype)
            if self.with_bias
            else output
        )


def initializers(name: str, scale: Number) -> dict:
    """-> keyword arguments of a haiku layer: `scale` times the named initialiser for weights, and
    for biases where it does not need a fan-in (uniform, normal); biases are zero elsewhere.
    """

    def scaled(shape, dtype):
        return (scale * INITIALIZERS[name](shape, dtype)).astype(dtype)

    return {
        "w_init": scaled,
        "b_init": scaled if name in ("uniform", "normal") else hk.initializers.Constant(0.0),
    }


def dense(
    x: jax.Array, hidden: Sequence[int], output_size: int, activation: str, bias: bool, init: dict
) -> jax.Array:
    """Hidden layers of the given widths, then a linear output: x [k] -> [output_size]. Inside a
    haiku transform."""
    if not bias:
        init = {"w_init": init["w_init"]}
    for width in hidden:
        x = ACTIVATIONS[activation](Linear(width, with_bias=bias, **init)(x))
    return Linear(output_size, with_bias=bias, **init)(x)
