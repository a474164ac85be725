"""What the architectures share: activations, initialisers, the dense tail."""

from collections.abc import Callable, Sequence

import haiku as hk
import jax
import jax.numpy as jnp

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


def initializers(name: str, scale: jax.Array | float) -> dict:
    """-> keyword arguments of a haiku layer: `scale` times the named initialiser for weights, and for biases where it
    does not need a fan-in (uniform, normal); biases are zero elsewhere.
    """

    def scaled(shape, dtype):
        return (scale * INITIALIZERS[name](shape, dtype)).astype(dtype)

    return {"w_init": scaled, "b_init": scaled if name in ("uniform", "normal") else hk.initializers.Constant(0.0)}


def dense(x: jax.Array, hidden: Sequence[int], output_size: int, activation: str, bias: bool, init: dict) -> jax.Array:
    """Hidden layers of the given widths, then a linear output: x [k] -> [output_size]. Inside a haiku transform."""
    if not bias:
        init = {"w_init": init["w_init"]}
    for width in hidden:
        x = ACTIVATIONS[activation](hk.Linear(width, with_bias=bias, **init)(x))
    return hk.Linear(output_size, with_bias=bias, **init)(x)
