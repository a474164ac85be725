"""When checkpoints are written: beside training, and never for more than a fiftieth of its time."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from esrun.backend import devices
from esrun.config.schema import run as schema
from esrun.runs import checkpoint
from esrun.training.build import Run
from esrun.training.loop import Progress, Start
from esrun.training.score import Score
from esrun.types import TrainState

SHARE = 0.02
"""The most of a run's time that its checkpoints may take; a last one is written in any case."""


class Saver:
    """Writes the checkpoints of one run in a thread of its own; a context manager."""

    def __init__(self, folder: Path, options: schema.Checkpoint, say: Callable[[str], None]):
        """`options` says how often; `say` is told of what the disk refuses."""
        self._folder, self._options, self._say = folder, options, say
        self._writer = ThreadPoolExecutor(1, "checkpoints")
        self._writing: Future[float] | None = None
        self._generation, self._time, self._pause = 0, time.monotonic(), 0.0

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Wait for the last one."""
        self._writer.shutdown()

    def any(self) -> bool:
        """Whether there are checkpoint files, valid or not."""
        return bool(checkpoint.found(self._folder))

    def restore(self, run: Run) -> Start | None:
        """-> where to go on, None where nothing was saved yet. Raises DamagedError when all of it
        is damaged."""
        template = jax.eval_shape(run.program.init, run.hyper, jnp.uint32(run.config.seed))
        found = checkpoint.newest(self._folder, template, self._say)
        if found is None:
            return None
        self._generation = found.progress["generation"]
        score = found.progress.pop("score")
        best = found.progress.pop("best_fitness")
        progress = Progress(
            **found.progress,
            best_fitness=-np.inf if best is None else best,
            rows=[],
            score=score and Score(**score),
        )
        return Start(devices.replicated(run.local_devices, found.state), progress)

    def save(
        self, state: TrainState, progress: Progress, final: bool, before: Callable[[], None]
    ) -> None:
        """Write a checkpoint if it is time for one or it is the `final` one; the writer calls
        `before` first."""
        self._collect(wait=final)
        now = time.monotonic()
        due = (
            progress.generation - self._generation >= self._options.every
            or now - self._time >= self._options.seconds
        )
        if final:
            if progress.generation != self._generation or not self.any():
                self._submit(state, progress, before)
                self._collect(wait=True)
        elif due and self._writing is None and now - self._time >= self._pause:
            self._submit(state, progress, before)

    def _submit(self, state: TrainState, progress: Progress, before: Callable[[], None]) -> None:
        kept: dict[str, Any] = progress._asdict() | {
            "score": progress.score and progress.score._asdict()
        }
        del kept["rows"]

        def write() -> float:
            began = time.monotonic()
            before()
            found = checkpoint.Checkpoint(jax.tree.map(np.asarray, state), kept)
            checkpoint.save(self._folder, found, self._options.keep)
            return time.monotonic() - began

        self._generation, self._time = progress.generation, time.monotonic()
        self._writing = self._writer.submit(write)

    def _collect(self, wait: bool) -> None:
        """Hear how the last one went."""
        if self._writing is None or not (wait or self._writing.done()):
            return
        try:
            self._pause = self._writing.result() / SHARE
        except OSError as error:
            if not self._folder.parent.is_dir():
                raise FileNotFoundError(f"the run folder {self._folder.parent} is gone") from error
            self._say(f"no checkpoint was written: {error}; training goes on")
            self._generation = -1
        self._writing = None
