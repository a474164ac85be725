"""`metrics.jsonl`: one line a generation."""

import json
from pathlib import Path

from esrun.loop import Progress
from esrun.rundir import plain


class Metrics:
    """Writes the generations of a run as they come; a context manager.

    The newest line is held back until the next chunk, because the evaluation of its generation may come with that one.
    """

    def __init__(self, path: Path, population_size: int):
        """`population_size` members are evaluated in a generation."""
        self._file = path.open("a", encoding="utf-8")
        self._population_size = population_size
        self._held: dict | None = None
        self._seconds = 0.0

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Write what is held back."""
        self._write_held()
        self._file.close()

    def add(self, progress: Progress) -> list[dict]:
        """Write a chunk -> its lines. Within a chunk `wall_seconds` is interpolated: the host sees only its end."""
        lines = [
            {
                "generation": row["generation"],
                "evaluations": row["generation"] * self._population_size,
                "env_steps": row["env_steps"],
                "wall_seconds": round(
                    self._seconds + (progress.seconds - self._seconds) * (i + 1) / len(progress.rows), 6
                ),
                "eval_mean": None,
            }
            | {name: x for name, x in row.items() if name not in ("generation", "env_steps")}
            for i, row in enumerate(progress.rows)
        ]
        for line in lines:
            self._write_held()
            self._held = line
        if progress.score and self._held:
            self._held |= {"eval_mean": progress.score.mean, "eval_std": progress.score.std}
            self._held |= {f"eval_{name}": x for name, x in progress.score.measures.items()}
        self._seconds = progress.seconds
        self._file.flush()
        return lines

    def _write_held(self) -> None:
        if self._held is not None:
            self._file.write(json.dumps(plain(self._held)) + "\n")
            self._held = None
