"""`metrics.jsonl`: one line a generation."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

from esrun import files
from esrun.training.loop import Progress

LINE_LIMIT = 2**16
"""Bytes that a line may have."""


class Metrics:
    """Writes the generations of a run as they come; a context manager.

    While the disk refuses, lines wait in memory; no torn line is left.
    """

    def __init__(self, path: Path, generation: int, warn: Callable[[str], None]):
        """Lines behind `generation` are removed first."""
        self._name, self._file = path.name, files.open_binary(path)
        kept = _first_lines(self._file, generation)
        if len(kept) < generation:
            warn(
                f"{path.name} lacks {generation - len(kept)} of the first {generation} generations"
            )
        self._warn = warn
        self._end = sum(map(len, kept))
        self._file.truncate(self._end)
        self._last: dict | None = json.loads(kept[-1]) if kept else None
        self._last_size = len(kept[-1]) if kept else 0
        self._seconds = self._last["wall_seconds"] if self._last else 0.0
        self._waiting: list[dict] = []
        self._refused = False

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Close the file; OSError when lines are still waiting."""
        with self._file:
            if self._waiting:
                raise OSError(f"{len(self._waiting)} lines of {self._name} could not be written")

    def add(self, progress: Progress) -> list[dict]:
        """Write a chunk -> its lines. Within a chunk `wall_seconds` is interpolated: the host sees
        only its end."""
        lines = [
            {
                "generation": row["generation"],
                "evaluations": row["evaluations"],
                "env_steps": row["env_steps"],
                "wall_seconds": round(
                    self._seconds
                    + (progress.seconds - self._seconds) * (i + 1) / len(progress.rows),
                    6,
                ),
                "eval_mean": None,
            }
            | {
                name: x
                for name, x in row.items()
                if name not in ("generation", "evaluations", "env_steps")
            }
            for i, row in enumerate(progress.rows)
        ]
        if progress.score:
            scored = lines[-1] if lines else self._last
            if scored is not None:
                scored |= {"eval_mean": progress.score.mean, "eval_std": progress.score.std}
                scored |= {f"eval_{name}": x for name, x in progress.score.measures.items()}
                if not lines:
                    self._take_back()
                    lines = [scored]
        self._seconds = progress.seconds
        self._waiting += lines
        self._write()
        return lines

    def sync(self) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(self._file.fileno())

    def _take_back(self) -> None:
        """Remove the last line, which gets its score only now."""
        if self._waiting:
            self._waiting.pop()
        elif self._last is not None:
            self._end -= self._last_size

    def _write(self) -> None:
        content = b"".join(map(_encoded, self._waiting))
        try:
            self._file.seek(self._end)
            self._file.truncate()
            if self._file.write(content) < len(content):
                raise OSError("the disk took only a part of them")
        except OSError as error:
            self._file.truncate(self._end)
            if not self._refused:
                self._warn(f"metrics wait in memory: {error}")
            self._refused = True
            return
        self._refused = False
        self._end += len(content)
        if self._waiting:
            self._last, self._last_size = self._waiting[-1], len(_encoded(self._waiting[-1]))
        self._waiting = []


def _encoded(line: dict) -> bytes:
    return (json.dumps(files.plain(line)) + "\n").encode()


def _first_lines(file: io.FileIO, generation: int) -> list[bytes]:
    """-> the whole lines of the first `generation` generations."""
    kept, reader = [], io.BufferedReader(file)
    for _ in range(generation):
        line = reader.readline(LINE_LIMIT)
        if not line.endswith(b"\n"):  # the end, torn or not
            break
        if _is_of(line, len(kept) + 1):
            kept.append(line)
    reader.detach()  # the file stays open
    return kept


def _is_of(line: bytes, generation: int) -> bool:
    """Whether it is the line of that generation."""
    try:
        row = json.loads(line)
        return row["generation"] == generation and row["wall_seconds"] >= 0
    except (ValueError, TypeError, KeyError, IndexError, RecursionError):
        return False
