"""When checkpoints are written: beside training, and never for more than a fiftieth of its time."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

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

    def __init__(
        self,
        folder: Path,
        options: schema.Checkpoint,
        say: Callable[[str], None],
        check: Callable[[], None],
    ):
        """`options` says how often; `say` is told of what the disk refuses; `check` raises
        FileNotFoundError when the run folder is gone."""
        self._folder, self._options, self._say, self._check = folder, options, say, check
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
        found = checkpoint.newest(self._folder, template, self._say, restored_progress)
        if found is None:
            return None
        self._generation = found.progress["generation"]
        return Start(
            devices.replicated(run.local_devices, found.state), restored_progress(found.progress)
        )

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
                self._collect(wait=True, final=True)
        elif due and self._writing is None and now - self._time >= self._pause:
            self._submit(state, progress, before)

    def _submit(self, state: TrainState, progress: Progress, before: Callable[[], None]) -> None:
        kept: dict[str, Any] = progress._asdict() | {
            "score": progress.score and progress.score._asdict()
        }
        del kept["rows"]

        def write() -> float:
            began = time.monotonic()
            self._check()
            before()
            found = checkpoint.Checkpoint(jax.tree.map(np.asarray, state), kept)
            checkpoint.save(self._folder, found, self._options.keep)
            return time.monotonic() - began

        self._generation, self._time = progress.generation, time.monotonic()
        self._writing = self._writer.submit(write)

    def _collect(self, wait: bool, final: bool = False) -> None:
        """Hear how the last one went."""
        if self._writing is None or not (wait or self._writing.done()):
            return
        try:
            self._pause = self._writing.result() / SHARE
        except OSError as error:
            self._check()
            if final:
                raise
            self._say(f"no checkpoint was written: {error}; training goes on")
            self._generation = -1
        self._writing = None


class _Kept(BaseModel):
    """What a checkpoint keeps of the progress; a file may say anything."""

    model_config = ConfigDict(extra="forbid", strict=True)

    generation: Annotated[int, Field(ge=0, lt=2**31)]
    evaluations: Annotated[int, Field(ge=0, lt=2**63)]
    env_steps: Annotated[int, Field(ge=0, lt=2**64)]
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    best_fitness: float | None
    score: dict | None
    searches: list[dict]


def restored_progress(kept: dict) -> Progress:
    """-> the progress that a checkpoint keeps. Raises ValueError or TypeError for anything else."""
    checked = _Kept.model_validate(kept)
    best = checked.best_fitness
    return Progress(
        generation=checked.generation,
        evaluations=checked.evaluations,
        env_steps=checked.env_steps,
        seconds=float(checked.seconds),
        best_fitness=-np.inf if best is None else best,
        rows=[],
        score=Score(**checked.score) if checked.score else None,
        searches=checked.searches,
    )
