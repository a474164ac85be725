"""Files as sequences of bytes: what members are trained on, and what scores the mean policy."""

from typing import Any, NamedTuple

import numpy as np

from esrun import files
from esrun.errors import ConfigError, why

BYTES = 256
"""The values of a byte."""
LARGEST = 2**30
"""Bytes of a file: they are held in memory."""


class Text(NamedTuple):
    """A file in two parts."""

    train: Any  # [k] uint8, an array of NumPy or JAX
    streams: Any  # [s, l + 1] uint8, each with the byte before its first
    unigram: Any  # [s] bits a byte of each stream under counts of bytes, see `unigram`
    bigram: Any  # [s] the same under counts of pairs


def read(*, file: str, validation: float, streams: int, sequence_length: int, **_) -> Text:
    """-> the file: its last share, `validation`, in so many streams of equal length, one behind the
    other, and what comes before.

    Every byte of the last part is predicted once, given the bytes before it in its stream; fewer
    than `streams` at the very end are left out. Raises ConfigError for what cannot be read or is
    too short.
    """
    content = np.frombuffer(_content(file), np.uint8)
    begin = len(content) - round(validation * len(content))
    length = (len(content) - begin) // streams
    if begin <= sequence_length:
        remedy = f"task.sequence_length={begin - 1}, or " if begin > 1 else ""
        raise ConfigError(
            f"task.file must be longer: its training part must have more than the "
            f"{sequence_length} bytes of task.sequence_length, got {file} with {begin}: write "
            f"{remedy}a longer file"
        )
    if length < 1:
        last = len(content) - begin
        remedy = f"task.streams={last}" if last > 1 else "task.streams=2"
        raise ConfigError(
            f"task.file must be longer: its last part must have a byte for each of the {streams} "
            f"task.streams, got {file} with {last}: write {remedy}, a larger task.validation or a "
            "longer file"
        )
    train = content[:begin]
    at = np.arange(streams)[:, None] * length + np.arange(length + 1) + begin - 1
    return Text(train, content[at], unigram(train, content[at]), bigram(train, content[at]))


def unigram(train: np.ndarray, streams: np.ndarray) -> np.ndarray:
    """Streams [s, l + 1] -> the mean bits [s] of their last l bytes, each byte's probability its
    share of the training part, counts begun at one."""
    count = 1.0 + np.bincount(train, minlength=BYTES)
    return np.mean(-np.log2(count / count.sum())[streams[:, 1:]], axis=1)


def bigram(train: np.ndarray, streams: np.ndarray) -> np.ndarray:
    """As `unigram`, of each byte given the one before."""
    pairs = train[:-1].astype(int) * BYTES + train[1:]
    count = 1.0 + np.bincount(pairs, minlength=BYTES**2).reshape(BYTES, BYTES)
    bits = -np.log2(count / count.sum(1, keepdims=True))
    return np.mean(bits[streams[:, :-1], streams[:, 1:]], axis=1)


def _content(file: str) -> bytes:
    try:
        return files.read(files.named(file).resolve(), LARGEST)
    except (OSError, ValueError) as error:  # no name of a file at all is a ValueError
        raise ConfigError(
            f"task.file must be a file that can be read, got {file}: {why(error)}: write "
            "task.file=TEXT"
        ) from error
