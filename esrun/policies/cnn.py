"""A convolutional network for image-like observations."""

import jax
from einops import rearrange, reduce

from esrun.policies.layers import (
    ACTIVATIONS,
    dense,
    feed_forward,
    initializers,
    normalized,
)
from esrun.policies.products import Conv2D, flat
from esrun.types import Number, Policy


def pooled(x: jax.Array, side: int) -> jax.Array:
    """X [height, width, features] -> the largest of each `side` x `side` pixels, what is left over
    at the end dropped."""
    height, width = (size // side * side for size in x.shape[:2])
    return reduce(x[:height, :width], "(h i) (w j) c -> h w c", "max", i=side, j=side)


def make_cnn(
    *,
    input_shape: tuple[int, ...],
    output_size: int,
    channels: list[int],
    kernel: int,
    stride: int,
    padding: str | None,
    pool: int | None,
    global_pool: str | None,
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

    A convolution sees its inputs alone, or with `padding` "same" zeros around them, so that at a
    stride of 1 as many pixels come out; behind its activation `pool` takes the largest of so many
    by so many pixels. Behind the last, `global_pool` takes the "max" or the "mean" of each feature
    over all pixels (Lin et al. 2013, https://arxiv.org/abs/1312.4400, section 3.2): few weights,
    that say what is seen and not where.

    Raises ValueError for an input that is not image-like, or too small.
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
            around = "SAME" if padding == "same" else "VALID"
            convolution = Conv2D(
                features, kernel, stride, padding=around, with_bias=bias, **layer_init
            )
            x = ACTIVATIONS[activation](normalized(convolution(x), norm))
            x = x if pool is None else pooled(x, pool)
            if not x.size:
                remedies = ["policy.padding=same", "a smaller policy.kernel", "policy.stride=1"]
                remedies = [] if padding == "same" else remedies  # which loses none but by pooling
                remedies += ["a smaller policy.pool"] * (pool is not None)
                raise ValueError(
                    f"policy.channels={channels} leaves no pixel of {input_shape[0]} x "
                    f"{input_shape[1]}: write {' or '.join(remedies)}"
                )
        x = flat(x) if global_pool is None else reduce(x, "h w c -> c", global_pool)
        return dense(x, hidden, output_size, activation, bias, layer_init, norm)

    return feed_forward(forward, input_shape, norm, norm_reference)
