"""The parameters themselves are the output: for black-box functions."""

from typing import Any

import haiku as hk

from esrun.types import Policy


def make_vector(*, input_shape: tuple[int, ...], output_size: int, low: Any, high: Any) -> Policy:
    """A point x [output_size], drawn from U(low, high) at the start; the input is not looked at."""
    del input_shape

    def forward():
        return hk.get_parameter(
            "x", (output_size,), float, init=hk.initializers.RandomUniform(low, high)
        )

    network = hk.without_apply_rng(hk.transform(forward))
    return Policy(
        init=lambda key: network.init(key),
        initial_carry=lambda: (),
        apply=lambda params, carry, _: (network.apply(params), carry),
    )
