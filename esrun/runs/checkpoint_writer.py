"""When checkpoints are written: beside training, and never for more than a fiftieth of its time."""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from esrun.backend import everywhere, hosts
from esrun.config.schema import run as schema
from esrun.runs import checkpoint
from esrun.training.build import Run
from esrun.training.loop import Progress, Start
from esrun.training.score import Score
from esrun.types import TrainState

SHARE = 0.02
"""The most of a run's time that its checkpoints may take, and the best policy; the last ones are
written in any case."""


class Saver:
    """Writes the checkpoints of one run in a thread of its own; a context manager."""

    def __init__(
        self,
        folder: Path,
        options: schema.Checkpoint,
        say: Callable[[str], None],
        check: Callable[[], None],
        computes: str | None = None,
    ):
        """`options` says how often; `say` is told of what the disk refuses; `check` raises
        FileNotFoundError when the run folder is gone; `computes` tells the run from others, whose
        checkpoints are passed over: None to take any."""
        self._folder, self._options, self._say, self._check = folder, options, say, check
        self._computes, self._refused = computes, False
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
        found = checkpoint.newest(self._folder, template, self._say, self._check_checkpoint)
        if found is None:
            return None
        self._generation = found.progress["generation"]
        _tell()
        return Start(
            everywhere.replicated(run.local_devices, found.state), restored_progress(found.progress)
        )

    def _check_checkpoint(self, found: checkpoint.Checkpoint) -> None:
        progress = restored_progress(found.progress)
        if int(found.state.generation) != progress.generation:
            raise ValueError("its state is of another generation than it says")
        past = progress.searches
        if past and not (past[0]["large"] and past[-1]["until"] <= progress.evaluations):
            raise ValueError("its searches are none that a run has had")
        if self._computes and found.progress.get("computes", self._computes) != self._computes:
            raise ValueError("it is of a run that computes something else")

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
            "score": progress.score and progress.score._asdict(),
            "initial": progress.initial and progress.initial._asdict(),
            "computes": self._computes,
        }
        del kept["rows"]

        def write() -> float:
            began = time.monotonic()
            self._check()
            before()
            found = checkpoint.Checkpoint(jax.tree.map(np.asarray, state), kept)
            checkpoint.save(self._folder, found, self._options.keep)
            _tell()
            return time.monotonic() - began

        self._generation, self._time = progress.generation, time.monotonic()
        self._writing = self._writer.submit(write)

    def _collect(self, wait: bool, final: bool = False) -> None:
        """Hear how the last one went."""
        if self._writing is None or not (wait or self._writing.done()):
            return
        try:
            self._pause = self._writing.result() / SHARE
            self._refused = False
        except OSError as error:
            self._check()
            if final:
                raise
            if not self._refused:
                self._say(f"no checkpoint was written: {error}; training goes on")
            self._refused, self._generation = True, -1
        self._writing = None


def _tell() -> None:
    """There is a checkpoint: who trains in step learns that a lost run can be gone on with."""
    if hosts.here is not None:
        hosts.here.note_saved()


class _Strict(BaseModel):
    """What a checkpoint keeps; a file may say anything."""

    model_config = ConfigDict(extra="forbid", strict=True)


Count = Annotated[int, Field(ge=0, lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Score(_Strict):
    generation: Annotated[int, Field(ge=0, lt=2**31)]
    mean: Finite | None
    std: Finite | None
    ci95: Finite | None
    episodes: Annotated[int, Field(ge=1, lt=2**31)]
    measures: dict[str, Finite | None]


class _Search(_Strict):
    """See `esrun.training.restarts`."""

    population_size: Annotated[int, Field(ge=1, lt=2**31)]
    sigma: Annotated[Finite, Field(gt=0)]
    evaluations: Count
    large: bool
    until: Count
    generation: Annotated[int, Field(ge=0, lt=2**31)]
    stop_reason: str
    best_fitness: Finite | None
    held_out: Finite | None


class _Kept(_Strict):
    generation: Annotated[int, Field(ge=0, lt=2**31)]
    evaluations: Count
    env_steps: Annotated[int, Field(ge=0, lt=2**64)]
    seconds: Annotated[Finite, Field(ge=0)]
    best_fitness: Finite | None
    score: _Score | None
    searches: Annotated[list[_Search], Field(max_length=10_000)]
    computes: str | None = None
    initial: _Score | None = None


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
        score=checked.score and _score(checked.score),
        searches=[search.model_dump() for search in checked.searches],
        initial=checked.initial and _score(checked.initial),
    )


def _score(kept: _Score) -> Score:
    """-> the score; JSON has no NaN."""
    figures = kept.model_dump()
    figures["measures"] = {name: _number(x) for name, x in kept.measures.items()}
    return Score(**{name: _number(x) for name, x in figures.items()})


def _number(x: Any) -> Any:
    return math.nan if x is None else x
