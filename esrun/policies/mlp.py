"""A multilayer perceptron."""

import haiku as hk
import jax.numpy as jnp
from einops import rearrange

from esrun.policies.layers import dense, initializers
from esrun.types import Number, Policy


def make_mlp(
    *,
    input_shape: tuple[int, ...],
    output_size: int,
    hidden: list[int],
    activation: str,
    init: str,
    init_scale: Number,
    bias: bool,
) -> Policy:
    """input [*input_shape], flattened -> hidden widths -> [output_size]. `hidden` [] is a linear
    policy."""

    def forward(x):
        x = rearrange(x, "... -> (...)")
        return dense(x, hidden, output_size, activation, bias, initializers(init, init_scale))

    network = hk.without_apply_rng(hk.transform(forward))
    return Policy(
        init=lambda key: network.init(key, jnp.zeros(input_shape)),
        initial_carry=lambda: (),
        apply=lambda params, carry, x: (network.apply(params, x), carry),
    )
