"""A multilayer perceptron."""

from esrun.policies.layers import dense, feed_forward, initializers
from esrun.policies.products import flat
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
    norm: str | None,
    norm_reference: int,
) -> Policy:
    """input [*input_shape], flattened -> hidden widths -> [output_size]. `hidden` [] is a linear
    policy. `norm` says what stands before the activations (see `layers.normalized`)."""

    def forward(x):
        layer_init = initializers(init, init_scale)
        return dense(flat(x), hidden, output_size, activation, bias, layer_init, norm)

    network = feed_forward(forward, input_shape, norm, norm_reference)
    return network._replace(looks_up=True)
