"""`metrics.jsonl`, written: one line a generation."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from esrun import files
from esrun.runs.lines import lines_until, ranges
from esrun.training.loop import Progress


class Metrics:
    """Writes the generations of a run as they come; a context manager.

    While the disk refuses, lines wait in memory; no torn line is left.
    """

    def __init__(self, path: Path, generation: int, warn: Callable[[str], None]):
        """Lines behind `generation` are removed first, and those that are none, which are named."""
        self._name, self._warn = path.name, warn
        self._file = files.open_binary(path)
        kept, bad, in_order = lines_until(self._file, generation)
        if bad:
            warn(f"{path.name}: left out what is no line of a generation: {ranges(bad)}")
        if len(kept) < generation:
            missing = generation - len(kept)
            warn(f"{path.name} lacks {missing} of the first {generation} generations")
        if not in_order:
            self._file.close()
            files.write(path, b"".join(kept))
            self._file = files.open_binary(path)
        self._end = sum(map(len, kept))
        self._file.truncate(self._end)
        self._replaced = b""
        """What is on the disk behind the end, to be replaced by the first of those that wait."""
        self._waiting: list[bytes] = []
        self._last: dict | None = json.loads(kept[-1]) if kept else None
        self._last_line = kept[-1] if kept else b""
        self._seconds = self._last["wall_seconds"] if self._last else 0.0
        self._refused: OSError | None = None
        self._on_disk = generation

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Close the file; OSError when lines are still waiting."""
        with self._file:
            self.retry()
            if self._refused:
                raise OSError(
                    f"{len(self._waiting)} lines of {self._name} could not be written: "
                    f"{self._refused}"
                ) from self._refused

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
        self._waiting += map(_encoded, lines)
        if lines:
            self._last, self._last_line = lines[-1], self._waiting[-1]
        self._write()
        return lines

    def retry(self) -> None:
        """Write what is waiting, if the disk takes it now."""
        if self._waiting:
            self._write()

    def sync(self, generation: int) -> None:
        """Wait until the lines of the first generations are on the disk. Raises OSError where they
        are not even written: a checkpoint must not be ahead of them."""
        if generation > self._on_disk:
            raise OSError(f"{self._name} ends at generation {self._on_disk}: {self._refused}")
        os.fsync(self._file.fileno())

    def _take_back(self) -> None:
        """Have the last line replaced, which gets its score only now."""
        if self._waiting:
            self._waiting.pop()
        else:
            self._replaced = self._last_line
            self._end -= len(self._replaced)

    def _write(self) -> None:
        content = b"".join(self._waiting)
        try:
            self._file.seek(self._end)
            if self._file.write(content) < len(content):
                raise OSError("the disk took only a part of them")
            self._file.truncate()
        except OSError as error:
            with suppress(OSError):
                self._file.seek(self._end)
                self._file.write(self._replaced)  # there is room: it has not been given back
                self._file.truncate()
            if self._refused is None:
                self._warn(f"metrics wait in memory: {error}")
            self._refused = error
            return
        self._end += len(content)
        self._refused, self._replaced, self._waiting = None, b"", []
        self._on_disk = self._last["generation"] if self._last else 0


def _encoded(line: dict) -> bytes:
    try:
        text = json.dumps(line, allow_nan=False)
    except (TypeError, ValueError):  # a number that JSON does not have
        text = json.dumps(files.plain(line))
    return f"{text}\n".encode()
