"""What the architectures share: activations, initialisers, normalisations, the dense tail."""

from collections.abc import Callable, Sequence

import haiku as hk
import jax
import jax.numpy as jnp

from esrun.policies.products import Linear
from esrun.types import Number, Policy, PyTree, Referred

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


EPSILON = 1e-5
"""Added to variances, as haiku's layers do: what does not vary is divided by its root."""

REFERENCES = "references"
"""The axis of the reference inputs."""


class VirtualBatchNorm(hk.Module):
    """Virtual batch normalisation (Salimans et al. 2016, https://arxiv.org/abs/1606.03498, section
    3.4), as Salimans et al. 2017 (https://arxiv.org/abs/1703.03864, section 2.2) have it: the
    statistics of a feature are those of the reference inputs alone, whatever the input is.

    Without statistics in haiku's state, the inputs are the references, over the axis REFERENCES.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        """[..., features] -> the same, (x - mean) / sqrt(variance + EPSILON) * scale + offset by
        feature; mean and variance are over the references and all axes before the features."""
        shape = x.shape[-1:]
        scale = hk.get_parameter("scale", shape, x.dtype, jnp.ones)
        offset = hk.get_parameter("offset", shape, x.dtype, jnp.zeros)
        if hk.running_init():
            return x  # an input of zeros: only its shape is looked at

        def over_all(values):
            return jax.lax.pmean(jnp.mean(values, range(x.ndim - 1)), REFERENCES)

        mean = hk.get_state("mean", shape, x.dtype, lambda *_: over_all(x))
        variance = hk.get_state("variance", shape, x.dtype, lambda *_: over_all((x - mean) ** 2))
        return scale * jax.lax.rsqrt(variance + EPSILON) * (x - mean) + offset


def normalized(x: jax.Array, norm: str | None) -> jax.Array:
    """X [..., features] -> the same, normalised as `norm` says. Inside a haiku transform.

    "layer" is layer normalisation (Ba et al. 2016, https://arxiv.org/abs/1607.06450) over the
    features, at each place of an image by itself. Both have a scale and an offset for each feature.
    """
    if norm == "layer":
        return hk.LayerNorm(-1, True, True, EPSILON, param_axis=-1)(x)
    return VirtualBatchNorm()(x) if norm == "virtual_batch" else x


def feed_forward(
    forward: Callable[[jax.Array], jax.Array],
    input_shape: tuple[int, ...],
    norm: str | None,
    norm_reference: int,
) -> Policy:
    """-> the policy whose network is `forward`, input [*input_shape] -> output, to be transformed
    by haiku."""
    if norm == "virtual_batch":
        return _referring(forward, input_shape, norm_reference)
    network = hk.without_apply_rng(hk.transform(forward))
    return Policy(
        init=lambda key: network.init(key, jnp.zeros(input_shape)),
        initial_carry=lambda: (),
        apply=lambda params, carry, x: (network.apply(params, x), carry),
    )


def _referring(
    forward: Callable[[jax.Array], jax.Array], input_shape: tuple[int, ...], references: int
) -> Policy:
    """The same for a network with `VirtualBatchNorm`, whose statistics are haiku's state."""
    network = hk.without_apply_rng(hk.transform_with_state(forward))

    def refer(params: PyTree, inputs: jax.Array) -> PyTree:
        def statistics(x):
            return network.apply(params, {}, x)[1]

        return jax.vmap(statistics, axis_name=REFERENCES, out_axes=None)(inputs)  # type: ignore

    def apply(referred: Referred, carry: PyTree, x: jax.Array) -> tuple[jax.Array, PyTree]:
        return network.apply(referred.params, referred.statistics, x)[0], carry

    return Policy(
        init=lambda key: network.init(key, jnp.zeros(input_shape))[0],
        initial_carry=lambda: (),
        apply=apply,
        references=references,
        refer=refer,
    )


def dense(
    x: jax.Array,
    hidden: Sequence[int],
    output_size: int,
    activation: str,
    bias: bool,
    init: dict,
    norm: str | None,
) -> jax.Array:
    """Hidden layers of the given widths, normalised as `norm` says, then a linear output: x [k] ->
    [output_size]. Inside a haiku transform."""
    if not bias:
        init = {"w_init": init["w_init"]}
    for width in hidden:
        x = Linear(width, with_bias=bias, **init)(x)
        x = ACTIVATIONS[activation](normalized(x, norm))
    return Linear(output_size, with_bias=bias, **init)(x)
