"""A linear policy (Mania et al. 2018, https://arxiv.org/abs/1803.07055)."""

from esrun.policies.mlp import make_mlp
from esrun.types import Number, Policy


def make_linear(
    *, input_shape: tuple[int, ...], output_size: int, init: str, init_scale: Number, bias: bool
) -> Policy:
    """input [*input_shape], flattened -> [output_size]."""
    sizes = {"input_shape": input_shape, "output_size": output_size}
    first = {"init": init, "init_scale": init_scale, "bias": bias}
    plain = {"activation": "identity", "norm": None, "norm_reference": 0}
    return make_mlp(**sizes, hidden=[], **first, **plain)
