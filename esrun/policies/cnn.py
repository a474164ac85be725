"""A convolutional network for image-like observations."""

import haiku as hk
from einops import rearrange

from esrun.policies.layers import ACTIVATIONS, dense, feed_forward, initializers, normalized
from esrun.types import Number, Policy


def make_cnn(
    *,
    input_shape: tuple[int, ...],
    output_size: int,
    channels: list[int],
    kernel: int,
    stride: int,
    hidden: list[int],
    activation: str,
    init: str,
    init_scale: Number,
    bias: bool,
    norm: str | None,
    norm_reference: int,
) -> Policy:
    """input [height, width, features] or [height, width] -> convolutions -> dense layers ->
    [output_size]. `norm` says what stands before the activations (see `layers.normalized`).

    Raises ValueError for an input that is not image-like.
    """
    if len(input_shape) not in (2, 3):
        raise ValueError(
            "policy=cnn needs an image-like input of rank 2 or 3, the task gives shape "
            f"{input_shape}: write policy=mlp"
        )

    def forward(x):
        x = rearrange(x, "h w ... -> h w (...)")
        layer_init = initializers(init, init_scale)
        for features in channels:
            convolution = hk.Conv2D(
                features, kernel, stride, padding="VALID", with_bias=bias, **layer_init
            )
            x = ACTIVATIONS[activation](normalized(convolution(x), norm))
        x = rearrange(x, "h w c -> (h w c)")
        return dense(x, hidden, output_size, activation, bias, layer_init, norm)

    return feed_forward(forward, input_shape, norm, norm_reference)
