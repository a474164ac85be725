"""What `esrun.tasks.spaces` does to observations and outputs, in NumPy, by its plain data."""

from typing import Any

import numpy as np

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
