"""A recurrent network: its carry lives through an episode and starts afresh with the next.

The cells are haiku's, parameters and all, for weights that may be `LowRank` and inputs that may be
`OneHot`: of an EGGROLL population, the products with the mean are one product for all members.
"""

import haiku as hk
import jax
import jax.numpy as jnp

from esrun.policies.layers import ACTIVATIONS
from esrun.policies.products import Linear, LowRank, flat, product
from esrun.types import Policy


class GRU(hk.GRU):
    """Cho et al. 2014, https://arxiv.org/abs/1406.1078: a gated recurrent unit."""

    def __call__(self, inputs, state):
        """(inputs [i], state [h]) -> (state, state)."""
        if hk.running_init():
            return super().__call__(inputs, state)
        h = self.hidden_size
        w_i = hk.get_parameter("w_i", (inputs.shape[-1], 3 * h))
        w_h = hk.get_parameter("w_h", (h, 3 * h))
        b = hk.get_parameter("b", (3 * h,))
        gates = product(inputs, w_i)
        zr = gates[: 2 * h] + product(state, _columns(w_h, None, 2 * h)) + b[: 2 * h]
        z, r = jnp.split(jax.nn.sigmoid(zr), 2)
        a = gates[2 * h :] + product(r * state, _columns(w_h, 2 * h, None)) + b[2 * h :]
        after = (1 - z) * state + z * jnp.tanh(a)
        return after, after


class LSTM(hk.LSTM):
    """Hochreiter and Schmidhuber 1997: long short-term memory, 1 added to the forget gate."""

    def __call__(self, inputs, prev_state):
        """(inputs [i], state) -> (hidden [h], state)."""
        if hk.running_init():
            return super().__call__(inputs, prev_state)
        both = jnp.concatenate([jnp.asarray(inputs), prev_state.hidden])
        i, g, f, o = jnp.split(Linear(4 * self.hidden_size)(both), 4)
        c = jax.nn.sigmoid(f + 1) * prev_state.cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return h, hk.LSTMState(h, c)


class VanillaRNN(hk.VanillaRNN):
    """Elman 1990, with haiku's rectified units."""

    def __call__(self, inputs, prev_state):
        """(inputs [i], state [h]) -> (state, state)."""
        if hk.running_init():
            return super().__call__(inputs, prev_state)
        after = jax.nn.relu(Linear(self.hidden_size)(inputs) + Linear(self.hidden_size)(prev_state))
        return after, after


CELLS = {"gru": GRU, "lstm": LSTM, "vanilla": VanillaRNN}


def make_rnn(
    *, input_shape: tuple[int, ...], output_size: int, cell: str, hidden: list[int], activation: str
) -> Policy:
    """input [*input_shape], flattened -> a stack of cells of the given widths -> `activation` ->
    [output_size]."""

    def core():
        return hk.DeepRNN([CELLS[cell](width) for width in hidden])

    def forward(x, carry):
        x, carry = core()(flat(x), carry)
        return Linear(output_size)(ACTIVATIONS[activation](x)), carry

    network = hk.without_apply_rng(hk.transform(forward))
    initial = hk.without_apply_rng(hk.transform(lambda: core().initial_state(None)))

    def initial_carry():
        return initial.apply({})

    return Policy(
        init=lambda key: network.init(key, jnp.zeros(input_shape), initial_carry()),
        initial_carry=initial_carry,
        apply=lambda params, carry, x: network.apply(params, x, carry),
        looks_up=True,
    )


def _columns(w: jax.Array | LowRank, begin: int | None, end: int | None) -> jax.Array | LowRank:
    return w.columns(begin, end) if isinstance(w, LowRank) else w[:, begin:end]
