"""Those that play against the policy: anyone at random, or a policy that a run has left."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun import files
from esrun.errors import ConfigError
from esrun.tasks import stored
from esrun.tasks.normalizer import normalize
from esrun.tasks.references import referred
from esrun.tasks.spaces import Box, Decoding, Discrete, Encoding
from esrun.types import Key, PyTree


class Opponent(NamedTuple):
    """One who plays, in 32 bits."""

    carry: Callable[[], PyTree]
    """() -> that of a fresh episode."""
    act: Callable[[Key, PyTree, PyTree, jax.Array | None], tuple[jax.Array, PyTree]]
    """(key, carry, observation, mask) -> (action, carry); the action is a legal one."""


def make_opponent(
    opponent: str, encoded: Encoding, decoded: Decoding, action: Discrete | Box
) -> Opponent:
    """-> the opponent: "random", any legal action as likely as another; or a run folder, or the
    policy.safetensors of one, whose policy sees and does what `encoded` and `decoded` say.

    Raises ValueError for a file that holds no such policy.
    """
    if opponent == "random":
        return Opponent(lambda: (), at_random(action))
    path = files.STARTED_IN / opponent
    path = path / "policy.safetensors" if path.is_dir() else path
    try:
        found = stored.read(path, "policy", opponent)
        shape, size = found.about["input_shape"], found.about["output_size"]
        if (tuple(shape), size) != (encoded.shape, decoded.size):
            raise ConfigError(
                f"{opponent} takes an input of shape {shape} and has {size} outputs, where there "
                f"are {list(encoded.shape)} and {decoded.size}"
            )
        sizes = {"input_shape": encoded.shape, "output_size": decoded.size}
        policy = stored.made("policy", found.about["policy"], **sizes)
        held = stored.unpacked(found, encoded.shape, policy, opponent)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"task.opponent must be random or the policy of a run of this task, and {error}: write "
            "task.opponent=random or task.opponent=RUN"
        ) from error
    held = jax.tree.map(lambda x: np.asarray(x, np.float32), held)
    normalizer = held.normalizer
    params = referred(policy, held.params, held.references, normalizer)

    def act(key: Key, carry: PyTree, observation: PyTree, mask: jax.Array | None):
        x = encoded.encode(observation)
        x = x if normalizer is None else normalize(normalizer, x)
        output, carry = policy.apply(params, carry, x)
        return decoded.decode(output, mask), carry

    return Opponent(policy.initial_carry, act)


def at_random(action: Discrete | Box) -> Callable:
    """-> what does any legal action, each as likely as another; numbers between their bounds."""

    def act(key: Key, carry: PyTree, observation: PyTree, mask: jax.Array | None):
        if isinstance(action, Box):
            low, high = (jnp.asarray(x, jnp.float32) for x in (action.low, action.high))
            return low + (high - low) * jax.random.uniform(key, action.shape), carry
        legal = jnp.zeros(action.n) if mask is None else jnp.where(mask, 0.0, -jnp.inf)
        return jax.random.categorical(key, legal).astype(jnp.int32), carry

    return act
