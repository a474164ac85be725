"""Between gymnax's spaces and a policy: observations become inputs, outputs become actions."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces


def make_encoder(space):
    """-> (observation -> float input, input_shape). Discrete observations become one-hot."""
    if isinstance(space, spaces.Discrete):
        return (lambda observation: jax.nn.one_hot(observation, space.n)), (space.n,)
    return (lambda observation: observation.astype(float)), tuple(space.shape)


def encoding(space) -> dict[str, Any]:
    """-> what `make_encoder` does, in plain data."""
    if isinstance(space, spaces.Discrete):
        return {"kind": "one_hot", "n": int(space.n)}
    return {"kind": "float"}


def decoding(space, mode: str) -> dict[str, Any]:
    """-> what `make_decoder` does, in plain data."""
    if isinstance(space, spaces.Discrete):
        return {"kind": "argmax"}
    bounds = {"low": space.low, "high": space.high}
    return {"kind": mode, "shape": list(space.shape)} | {
        name: np.broadcast_to(np.asarray(x, float), space.shape).ravel().tolist()
        for name, x in bounds.items()
    }


def make_decoder(space, mode: str):
    """-> (output [output_size] -> action, output_size)."""
    if isinstance(space, spaces.Discrete):
        return (lambda output: jnp.argmax(output).astype(space.dtype)), space.n

    def into_space(output):
        output = output.reshape(space.shape)
        if mode == "clip":
            return jnp.clip(output, space.low, space.high)
        return space.low + (space.high - space.low) * (jnp.tanh(output) + 1) / 2

    return into_space, int(np.prod(space.shape))
