"""`metrics.jsonl`, read: a file that anybody may have changed, line by line and with bounds. JAX is
not imported here."""

import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from esrun import files

LINE_LIMIT = 2**16
"""Bytes that a line may have."""

LEFT_OUT_LIMIT = 1000
"""Lines that do not count, after which no more is read."""

LARGEST = 2**32
"""Bytes of a file that is read for its figures."""


class Columns(NamedTuple):
    """Figures of the generations of a run, in their order; NaN where a line has none."""

    generation: np.ndarray  # [g] int64
    figures: dict[str, np.ndarray]  # [g] float64 each
    bad: list[int]
    """The numbers of lines that are none of a generation."""


def columns(path: Path, names: Sequence[str], only: str | None = None) -> Columns:
    """-> the figures `names` of all generations, or of those that have the figure `only` and of the
    last one. Raises OSError."""
    found: dict[int, list[float]] = {}
    without = f'"{only}": null'.encode()
    bad: list[int] = []
    passed = 0, b""

    def take(number: int, line: bytes) -> None:
        generation, row = _read(line)
        if generation == 0 or generation in found:
            bad.append(number)
        else:
            found[generation] = [_number(row.get(name)) for name in names]

    with io.BufferedReader(files.open_to_read(path, LARGEST)) as reader:
        for number in itertools.count(1):
            line = reader.readline(LINE_LIMIT)
            if len(bad) == LEFT_OUT_LIMIT or (len(line) < LINE_LIMIT and not line.endswith(b"\n")):
                break  # the end, torn or not
            if only and without in line:  # most lines, and reading one takes longer than all else
                passed = number, line
                continue
            passed = 0, b""
            take(number, line)
    if passed[1]:
        take(*passed)
    order = sorted(found)
    table = np.array([found[at] for at in order], np.float64).reshape(-1, len(names))
    return Columns(np.array(order, np.int64), dict(zip(names, table.T.copy(), strict=True)), bad)


def _number(value: object) -> float:
    """-> a figure as JSON has it, NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return np.nan
    try:
        return float(value)
    except OverflowError:  # a whole number has no bound
        return np.nan


def lines_until(file: io.FileIO, generation: int) -> tuple[list[bytes], list[int], bool]:
    """-> (the lines of the first `generation` generations, the numbers of lines that are none,
    whether nothing but the end was left out)."""
    found: dict[int, bytes] = {}
    bad, behind, reader = [], 0, io.BufferedReader(file)
    in_order = True
    for number in itertools.count(1):
        if len(found) == generation or len(bad) + behind == LEFT_OUT_LIMIT:
            break
        line = reader.readline(LINE_LIMIT)
        if len(line) < LINE_LIMIT and not line.endswith(b"\n"):  # the end, torn or not
            break
        here, _ = _read(line)
        if here > generation:
            behind += 1
        elif here == 0 or here in found:
            bad.append(number)
        else:
            in_order &= number == len(found) + 1 and here > max(found, default=0)
            found[here] = line
    reader.detach()  # the file stays open
    return [found[key] for key in sorted(found)], bad, in_order


def _read(line: bytes) -> tuple[int, dict]:
    """-> (the generation that a line is of, its figures), 0 for what is no such line."""
    try:
        row = json.loads(line)
        number = row["generation"] if row["wall_seconds"] >= 0 and line.endswith(b"\n") else 0
        return (number, row) if type(number) is int and 0 < number < 2**31 else (0, {})
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return 0, {}


def ranges(numbers: list[int]) -> str:
    """-> "lines 3, 7" of many numbers the first ones."""
    shown = ", ".join(map(str, numbers[:5])) + (" ..." if len(numbers) > 5 else "")
    return f"line{'s' * (len(numbers) > 1)} {shown}"
