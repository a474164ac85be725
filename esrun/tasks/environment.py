"""One environment of any package, in one form: what an adapter makes and a rollout plays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from esrun.tasks.spaces import Space
from esrun.types import Key, PyTree


class Step(NamedTuple):
    """An environment at its beginning or after a step."""

    state: Any
    observation: PyTree
    reward: jax.Array  # []
    ended: jax.Array  # [] bool, or a number that is not 0
    mask: jax.Array | None = None
    """Which actions are legal, True or not 0; see `esrun.tasks.spaces.Decoding`."""


class Environment(NamedTuple):
    """One environment, without automatic resets: pure functions of one episode, in 32 bits whatever
    the precision of the run."""

    reset: Callable[[Key], Step]
    """key -> its beginning."""
    step: Callable[[Key, Any, PyTree], Step]
    """(key, state, action) -> the next step."""
    observation: Any
    """A tree like an observation, of spaces."""
    action: Space
    agents: int | None = None
    """Where one policy acts for several at once: how many. Observation, action and mask then have
    an axis more, [agents, ...], and so has the policy's carry."""
    succeeded: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """(whether the episode has ended by itself, its return) -> whether it has reached its goal;
    None where there is none."""
    frame: Callable[[Any], Any] | None = None
    """state, as NumPy's arrays -> its picture [height, width, 3] uint8. Not for traces."""


def plain(environment: Environment) -> Environment:
    """-> the environment in 32 bits, all that it returns arrays, and `ended` of type bool."""

    def arrays(function: Callable[..., Step]) -> Callable[..., Step]:
        narrow = in_32_bits(function)

        def wrapped(*arguments):
            now = jax.tree.map(jnp.asarray, narrow(*arguments))
            return now._replace(ended=now.ended != 0)

        return wrapped

    return environment._replace(reset=arrays(environment.reset), step=arrays(environment.step))


def in_32_bits(function: Callable) -> Callable:
    """-> the function traced without 64-bit types, which its arguments lose as well.

    Environments are written for JAX's default types: with 64-bit ones some mix the two where XLA
    allows no mixing.
    """

    def wrapped(*arguments):
        arguments = narrowed(arguments)
        with jax.enable_x64(False):
            return function(*arguments)

    return wrapped


def narrowed(tree: PyTree) -> PyTree:
    """-> the tree, its arrays of 64 bits in 32."""

    def narrow(x):
        wide = isinstance(x, jax.Array) and x.dtype in (jnp.float64, jnp.int64, jnp.uint64)
        return x.astype(f"{x.dtype.kind}4") if wide else x

    return jax.tree.map(narrow, tree)
