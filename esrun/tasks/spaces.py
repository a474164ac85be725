"""Between an environment and a policy: what is observed becomes an input, an output an action.

One rule holds for every package. Numbers stay what they are, codes become one-hot, and the codes
along the last axis stand one behind the other. Of an observation of several parts each is
flattened, and they follow one another in the order of JAX's trees: a tuple's own, that of the
names of a dictionary.
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from esrun.types import Interface, PyTree


class Box(NamedTuple):
    """Numbers in an array. The bounds may be traced; those of an observation are not looked at."""

    shape: tuple[int, ...]
    low: Any = -np.inf
    """A number, or numbers [*shape]."""
    high: Any = np.inf


class Discrete(NamedTuple):
    """One of n: 0, 1, ... n - 1."""

    n: int


class Codes(NamedTuple):
    """Whole numbers in an array [*shape]; the i-th along its last axis is one of 0 ... sizes[i] -
    1."""

    sizes: tuple[int, ...]
    shape: tuple[int, ...] | None = None
    """None: [len(sizes)]."""


class Joint(NamedTuple):
    """An action of several whole numbers that are chosen together, one of prod(sizes): what is
    legal may depend on all of them."""

    sizes: tuple[int, ...]


Space = Box | Discrete | Codes | Joint


class Encoding(NamedTuple):
    """What is done to an observation."""

    encode: Callable[[PyTree], jax.Array]
    shape: tuple[int, ...]
    """Of the input."""
    about: dict[str, Any]
    """The same in plain data, for programs without JAX."""


def encoding(spaces: Any) -> Encoding:
    """-> how an observation becomes an input: `spaces` is a tree like it, of spaces."""
    leaves, tree = jax.tree.flatten_with_path(spaces, is_leaf=lambda x: isinstance(x, Space))
    parts = [(_path(path), _encoding(space)) for path, space in leaves]
    size = sum(_size(part.shape) for _, part in parts)
    if size == 0:
        raise ValueError("an observation must have a number at least, got none")
    if tree == jax.tree.structure(0):
        return parts[0][1]

    def encode(observation: PyTree) -> jax.Array:
        each = zip(parts, tree.flatten_up_to(observation), strict=True)
        return jnp.concatenate([jnp.ravel(part.encode(x)) for (_, part), x in each])

    about = {"kind": "parts", "parts": [part.about | {"path": path} for path, part in parts]}
    return Encoding(encode, (size,), about)


def _encoding(space: Space) -> Encoding:
    if isinstance(space, Box):
        return Encoding(lambda x: jnp.asarray(x).astype(float), tuple(space.shape), FLOAT)
    if isinstance(space, Discrete):
        one_hot = functools.partial(jax.nn.one_hot, num_classes=space.n)
        return Encoding(one_hot, (space.n,), {"kind": "one_hot", "n": int(space.n)})
    if not isinstance(space, Codes):
        raise ValueError(f"what is observed must be a Box, Discrete or Codes, got {space!r}")
    sizes = tuple(map(int, space.sizes))

    def encode(x: jax.Array) -> jax.Array:
        return jnp.concatenate([jax.nn.one_hot(x[..., i], n) for i, n in enumerate(sizes)], -1)

    shape = (*(space.shape or (len(sizes),))[:-1], sum(sizes))
    return Encoding(encode, shape, {"kind": "codes", "sizes": list(sizes)})


FLOAT = {"kind": "float"}


def _path(path: tuple) -> list[Any]:
    """-> the way to a part of an observation: keys, names of fields, numbers."""
    return [getattr(x, "key", getattr(x, "name", getattr(x, "idx", None))) for x in path]


class Decoding(NamedTuple):
    """What is done to an output."""

    decode: Callable[..., PyTree]
    """(output [size], mask | None) -> action. Where the mask is False an action is illegal, and
    never the one; it has the shape of the outputs of a `Discrete`, [*sizes] of a `Joint`, and of
    `Codes` [size], head behind head."""
    size: int
    about: Callable[[], dict[str, Any]]
    """() -> the same in plain data. Not for traces."""


def decoding(space: Space, mode: str) -> Decoding:
    """-> how an output becomes an action: the argmax, of each head, of all combinations; numbers
    are clipped ("clip") or squashed by tanh ("squash") into their bounds.

    Raises ValueError for "squash" where there is no bound, and where there is nothing to be said.
    """
    decoded = _decoding(space, mode)
    if decoded.size == 0:
        raise ValueError("an action must have a number at least, got none")
    return decoded


def _decoding(space: Space, mode: str) -> Decoding:
    if not isinstance(space, Space):
        raise ValueError(f"an action must be a Box, Discrete, Codes or Joint, got {space!r}")
    if isinstance(space, Discrete):
        return Decoding(_legal_argmax, int(space.n), lambda: {"kind": "argmax"})
    if isinstance(space, Joint):
        sizes = tuple(map(int, space.sizes))

        def together(output: jax.Array, mask: jax.Array | None = None) -> jax.Array:
            best = _legal_argmax(output, None if mask is None else jnp.ravel(mask))
            return jnp.stack(jnp.unravel_index(best, sizes)).astype(jnp.int32)

        return Decoding(together, _size(sizes), lambda: {"kind": "joint", "sizes": list(sizes)})
    if isinstance(space, Codes):
        return _heads(tuple(map(int, space.sizes)))
    return _numbers(space, mode)


def _heads(sizes: tuple[int, ...]) -> Decoding:
    ends = np.cumsum(sizes)[:-1].tolist()

    def decode(output: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        masks: Sequence = [None] * len(sizes) if mask is None else jnp.split(mask, ends)
        heads = zip(jnp.split(output, ends), masks, strict=True)
        return jnp.stack([_legal_argmax(*head) for head in heads])

    return Decoding(decode, sum(sizes), lambda: {"kind": "heads", "sizes": list(sizes)})


def _numbers(space: Box, mode: str) -> Decoding:
    def decode(output: jax.Array, mask: None = None) -> jax.Array:
        output = output.reshape(space.shape)
        if mode == "clip":
            return jnp.clip(output, space.low, space.high)
        return space.low + (space.high - space.low) * (jnp.tanh(output) + 1) / 2

    def about() -> dict[str, Any]:
        bounds = {"low": space.low, "high": space.high}
        return {"kind": mode, "shape": list(space.shape)} | {
            name: np.broadcast_to(np.asarray(x, float), space.shape).ravel().tolist()
            for name, x in bounds.items()
        }

    known = [x for x in (space.low, space.high) if not isinstance(x, jax.core.Tracer)]  # pyright: ignore[reportAttributeAccessIssue]
    if mode == "squash" and not all(np.all(np.isfinite(x)) for x in known):
        raise ValueError("task.action=squash needs bounds, and the actions have none: write clip")
    return Decoding(decode, _size(space.shape), about)


def _legal_argmax(output: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    if mask is not None:  # NaN is the largest to argmax
        output = jnp.where(mask, jnp.nan_to_num(output), -jnp.inf)
    return jnp.argmax(output).astype(jnp.int32)


def _size(shape: Sequence[int]) -> int:
    return functools.reduce(operator.mul, map(int, shape), 1)


def interface(encoded: Encoding, decoded: Decoding) -> Interface:
    """-> what stands between the environment and a policy."""

    def about() -> dict[str, Any]:
        return {"observation": encoded.about, "action": decoded.about()}

    return Interface(encoded.encode, decoded.decode, about)
