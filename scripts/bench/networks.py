"""esrun's architectures in flax, for evosax: called with one observation, they give the task's
action."""

from collections.abc import Callable, Sequence

import jax
from flax import linen as nn

ACTIVATIONS = {"identity": lambda x: x} | {
    name: getattr(nn, name) for name in ("relu", "tanh", "gelu", "silu", "elu")
}


class Feedforward(nn.Module):
    """Convolutions, if there are any, then dense layers."""

    hidden: Sequence[int]
    output_size: int
    activation: Callable
    decode: Callable
    channels: Sequence[int] = ()
    kernel: int = 1
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array, key: jax.Array | None = None):
        """-> the action; the key is not used."""
        x = x.astype(float)
        for features in self.channels:
            size = (self.kernel, self.kernel)
            x = self.activation(
                nn.Conv(features, size, (self.stride, self.stride), padding="VALID")(x)
            )
        x = x.reshape(-1)
        for width in self.hidden:
            x = self.activation(nn.Dense(width)(x))
        return self.decode(nn.Dense(self.output_size)(x))


class Recurrent(nn.Module):
    """One GRU cell and a linear output."""

    hidden: Sequence[int]
    output_size: int
    activation: Callable
    decode: Callable

    def setup(self):
        """Name the layers."""
        self.cell = nn.GRUCell(self.hidden[0])
        self.output = nn.Dense(self.output_size)

    def initial_carry(self, x: jax.Array) -> jax.Array:
        """-> the carry of a fresh episode."""
        return self.cell.initialize_carry(jax.random.key(0), x.reshape(-1).shape)

    def step(self, carry: jax.Array, x: jax.Array):
        """-> (the action, carry)."""
        carry, output = self.cell(carry, x.reshape(-1).astype(float))
        return self.decode(self.output(self.activation(output))), carry

    def __call__(self, x: jax.Array, key: jax.Array | None = None):
        """-> the first action of an episode."""
        return self.step(self.initial_carry(x), x)[0]


def make(policy: dict, output_size: int, decode: Callable) -> nn.Module:
    """-> the flax module of an option of esrun's group `policy`."""
    shared = {
        "hidden": policy["hidden"],
        "output_size": output_size,
        "activation": ACTIVATIONS[policy["activation"]],
        "decode": decode,
    }
    if policy["name"] == "rnn":
        return Recurrent(**shared)
    convolution = {key: policy[key] for key in ("channels", "kernel", "stride") if key in policy}
    return Feedforward(**shared, **convolution)
