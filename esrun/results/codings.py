"""What `esrun.tasks.spaces` does to observations and outputs, in NumPy, by its plain data."""

from typing import Any

import numpy as np

from esrun.errors import clipped

Array = np.ndarray

ENCODINGS = ("float", "one_hot", "codes", "parts", "picture")
DECODINGS = ("output", "argmax", "joint", "heads", "clip", "squash")


def encoded(coding: dict[str, Any], observation: Any) -> Array:
    """-> the input, not yet normalised."""
    if coding["kind"] == "parts":
        parts = coding["parts"]
        return np.concatenate([encoded(x, _part(observation, x["path"])).ravel() for x in parts])
    x = np.asarray(observation)
    if coding["kind"] == "one_hot":
        return _one_hot(x, coding["n"])
    if coding["kind"] == "codes":
        each = [_one_hot(x[..., i], n) for i, n in enumerate(coding["sizes"])]
        return np.concatenate(each, axis=-1)
    if coding["kind"] == "picture":
        return x.reshape(coding["shape"]) / coding["white"]
    return x.astype(float)


def refuse_unfit(coding: dict[str, Any], observation: Any) -> None:
    """Raise ValueError for an observation that is none, and that would be answered as if it were
    another: a picture of another shape, several pictures, what is no number of a code."""
    if coding["kind"] == "picture":
        shape, given = tuple(coding["shape"]), np.shape(observation)
        fitting = [shape, shape[:2]] if shape[2] == 1 else [shape]
        if given not in fitting or np.asarray(observation).dtype.kind not in "biuf":
            raise ValueError(
                f"a picture must be numbers of the shape {list(shape)} (height, width, channels), "
                f"got {_said(observation, given)}: give one picture at a time, as its file has it"
            )
    if coding["kind"] == "one_hot":
        x, n = np.asarray(observation), coding["n"]
        is_number = x.size == 1 and x.dtype.kind in "biuf"
        if not (is_number and 0 <= x.item() < n and x.item() % 1 == 0):
            raise ValueError(
                f"an observation must be a whole number from 0 to {n - 1}, got "
                f"{_said(observation, x.shape)}: give one at a time, of text the bytes' own numbers"
            )


def refuse_shape(given: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    """Raise ValueError for an input of another shape than the policy's, unless that sees none."""
    if 0 not in wanted and tuple(given) != tuple(wanted):
        raise ValueError(
            f"an observation must become an input of the shape {list(wanted)}, got one of "
            f"{list(given)}: give one at a time, as the environment does"
        )


def _said(observation: Any, shape: tuple[int, ...]) -> str:
    return f"shape {list(shape)}" if shape else clipped(repr(observation), 40)


def _one_hot(x: Array, n: int) -> Array:
    return (x[..., None] == np.arange(n)).astype(float)


def _part(observation: Any, path: list[str | int]) -> Any:
    """-> what lies at the end of a way of keys, names of fields and numbers."""
    for name in path:
        is_field = isinstance(name, str) and hasattr(observation, name)
        observation = getattr(observation, name) if is_field else observation[name]  # type: ignore
    return observation


def decoded(coding: dict[str, Any], output: Array, mask: Any = None) -> Any:
    """-> the action. Where `mask` is false, an action is illegal and never the one."""
    kind = coding["kind"]
    if kind == "output":
        return output
    if kind == "argmax":
        return _legal_argmax(output, mask)
    if kind == "joint":
        return np.array(np.unravel_index(_legal_argmax(output, mask), coding["sizes"]))
    if kind == "heads":
        ends = np.cumsum(coding["sizes"])[:-1]
        masks = [None] * len(coding["sizes"]) if mask is None else np.split(np.ravel(mask), ends)
        return np.array(
            [_legal_argmax(*x) for x in zip(np.split(output, ends), masks, strict=True)]
        )
    low, high = (
        np.reshape(np.asarray(coding[bound], output.dtype), coding["shape"])
        for bound in ("low", "high")
    )
    output = output.reshape(coding["shape"])
    if kind == "clip":
        return np.clip(output, low, high)
    return low + (high - low) * (np.tanh(output) + 1) / 2


def _legal_argmax(output: Array, mask: Any) -> int:
    if mask is not None:
        output = np.where(np.ravel(mask), np.nan_to_num(output), -np.inf)
    return int(np.argmax(output))
