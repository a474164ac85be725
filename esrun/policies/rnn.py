"""A recurrent network: its carry lives through an episode and starts afresh with the next."""

import haiku as hk
import jax.numpy as jnp
from einops import rearrange

from esrun.policies.layers import ACTIVATIONS, Linear
from esrun.types import Policy

CELLS = {"gru": hk.GRU, "lstm": hk.LSTM, "vanilla": hk.VanillaRNN}


def make_rnn(
    *, input_shape: tuple[int, ...], output_size: int, cell: str, hidden: list[int], activation: str
) -> Policy:
    """input [*input_shape], flattened -> a stack of cells of the given widths -> `activation` ->
    [output_size]."""

    def core():
        return hk.DeepRNN([CELLS[cell](width) for width in hidden])

    def forward(x, carry):
        x, carry = core()(rearrange(x, "... -> (...)"), carry)
        return Linear(output_size)(ACTIVATIONS[activation](x)), carry

    network = hk.without_apply_rng(hk.transform(forward))
    initial = hk.without_apply_rng(hk.transform(lambda: core().initial_state(None)))

    def initial_carry():
        return initial.apply({})

    return Policy(
        init=lambda key: network.init(key, jnp.zeros(input_shape), initial_carry()),
        initial_carry=initial_carry,
        apply=lambda params, carry, x: network.apply(params, x, carry),
    )
