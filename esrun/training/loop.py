"""The loop over chunks: Python's side of training.

The next chunk is dispatched before the last one's results are read, so the devices never wait for
the host. All stop rules but `stop.seconds` are decided inside the compiled program; a chunk that
was dispatched after the end does nothing.
"""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, NamedTuple

import jax
import numpy as np

from esrun.config.schema.run import Config
from esrun.training import step_counts
from esrun.training.pace import Pace, halt
from esrun.training.program import Program
from esrun.training.rows import Rows
from esrun.training.score import Score, scored
from esrun.training.stop import (
    GENERATIONS,
    NON_FINITE_SCORE,
    SIGNAL,
    Reached,
    reason_to_stop,
    stop_at,
)
from esrun.types import Reason, TrainState


class Progress(NamedTuple):
    """Where a run stands after a chunk."""

    generation: int
    evaluations: int
    env_steps: int
    seconds: float
    best_fitness: float
    rows: list[dict]
    """The chunk's generations, oldest first."""
    score: Score | None
    """The evaluation at the chunk's end, if there was one."""
    searches: list[dict]
    """The searches that ended in a restart, oldest first (see `esrun.training.restarts`)."""
    initial: Score | None = None
    """Of the mean policy before the first generation. It ends no run."""


NOTHING = Progress(0, 0, 0, 0.0, -np.inf, [], None, [])
"""Where a run stands before its first generation."""


class Start(NamedTuple):
    """Where a resumed run goes on."""

    state: TrainState
    progress: Progress


class Outcome(NamedTuple):
    """How a run ended."""

    state: TrainState
    reason: Reason
    progress: Progress
    score: Score | None
    """The last one: of the final state but after a signal; None after a failure."""
    test: Score | None = None
    """On the task's `test` part, where it has one and the run is done."""


class Chunk(NamedTuple):
    """A dispatched chunk, its results perhaps not there yet."""

    state: TrainState
    rows: Mapping
    done: jax.Array
    reached: Reached
    score: tuple | None = None


class Reader:
    """What chunks have told so far."""

    def __init__(self, config: Config, population_size: int, progress: Progress, pace: Pace):
        """`progress`: where the run stands before the first of them."""
        self.progress, self.score, self.reason = progress, progress.score, None
        self._config, self._p, self._pace = config, population_size, pace

    def begin(self, returns: jax.Array, measures: dict) -> Progress:
        """Take in the held-out returns of the first policy; waits for the devices -> where the run
        stands, with the score."""
        self.progress = self.progress._replace(initial=scored(0, returns, measures))
        return self.progress._replace(score=self.progress.initial)

    def read(self, chunk: Chunk) -> bool:
        """Take in a chunk; waits for the devices -> whether it told anything new."""
        done = int(chunk.done)
        self._pace.note(done)
        generation = self.progress.generation + done
        ended = reason_to_stop(self._config, generation, self._pace.seconds, chunk.reached)
        if ended and ended.failed:
            self.reason = ended
        self.reason = self.reason or ended
        scored_now = self.score is not None and self.score.generation == self.progress.generation
        if not done and (chunk.score is None or scored_now):
            return False
        self.progress = _further(self.progress, chunk, self._p, done, self._pace.seconds)
        self.score = self.progress.score or self.score
        return True

    @property
    def failed(self) -> bool:
        """Whether the state is worth nothing any more."""
        return self.reason is not None and self.reason.failed


def advance_until(
    program: Program,
    hyper: Any,
    config: Config,
    report: Callable[[Progress], None],
    *,
    start: Start | None = None,
    save: Callable[[TrainState, Progress, bool], None] = lambda state, progress, final: None,
    interrupted: Callable[[], bool] = lambda: False,
    beginning: Callable[[Progress], AbstractContextManager] = lambda progress: nullcontext(),
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train until a limit is reached, from `start` or from scratch.

    `report` is called with the score of the first policy, then after every chunk, followed by
    `save` with the state that belongs to it: a device array that may still be in use, not to be
    donated or changed, and the latest score. `interrupted` is asked between chunks; the context of
    `beginning` lasts until the first one has arrived, all of it behind a state that is saved.
    `stop.seconds` counts from the first chunk's end, so that compiling does not shorten a run, and
    is passed by one generation at most.
    """
    seed, every = np.uint32(config.seed), config.eval.every
    with ExitStack() as begin:
        begin.enter_context(beginning(start.progress if start else NOTHING))
        program.prepare(hyper, seed, stop_at(config, 0), start and start.state)
        state, progress = start or Start(program.init(hyper, seed), NOTHING)
        pace = Pace(progress.seconds, clock, config.stop.seconds)
        reader = Reader(config, program.parts(hyper).strategy.population_size, progress, pace)
        if progress.initial is None and progress.generation == 0:
            report(reader.begin(*program.evaluate(hyper, seed, state)[1:]))
        until, last = progress.generation, None

        while True:
            chunk, wanted = None, 0
            if reader.reason is None and interrupted():
                reader.reason = SIGNAL
            if reader.reason is None and until < config.generations:
                wanted = pace.generations(until - reader.progress.generation)
            if wanted:
                until = min(until + wanted, halt(config, until))
                chunk = Chunk(*program.advance(hyper, seed, state, stop_at(config, until)))
                state = chunk.state
            if last is not None and reader.read(last):
                begin.close()
                report(reader.progress)
                if not reader.failed:
                    save(last.state, reader.progress._replace(score=reader.score), False)
            if chunk is None and last is None:
                break
            if chunk and (until % every == 0 or until == config.generations):
                state, *score = program.evaluate(hyper, seed, state)
                chunk = chunk._replace(state=state, score=tuple(score))
            last = chunk

    return _left(program, hyper, seed, state, reader, report, save)


def _left(
    program: Program,
    hyper: Any,
    seed: np.uint32,
    state: TrainState,
    reader: Reader,
    report: Callable[[Progress], None],
    save: Callable[[TrainState, Progress, bool], None],
) -> Outcome:
    """-> the outcome, the final state evaluated and saved unless it is worth nothing."""
    reason, progress, score = reader.reason or GENERATIONS, reader.progress, reader.score
    if reason.failed:
        return Outcome(state, reason, progress, None)
    if reason is SIGNAL:
        score = score or progress.initial
    if reason is not SIGNAL and (score is None or score.generation != progress.generation):
        state, returns, measures = program.evaluate(hyper, seed, state)
        score = scored(progress.generation, returns, measures)
        progress = progress._replace(rows=[], score=score)
        report(progress)
    if reason is not SIGNAL and score and not math.isfinite(score.mean):
        return Outcome(state, NON_FINITE_SCORE._replace(final=reason.final), progress, None)
    save(state, progress._replace(score=score), True)
    return Outcome(state, reason, progress, score)


def _further(
    before: Progress, chunk: Chunk, population_size: int, count: int, seconds: float
) -> Progress:
    """-> the progress after `count` generations more."""
    rows = chunk.rows
    columns = rows.first(count) if isinstance(rows, Rows) else dict(rows)
    steps = columns.pop("env_steps", np.zeros((0, 2), np.uint32))  # a chunk of none may have none
    env_steps = before.env_steps + np.cumsum(step_counts.number(steps))
    named = {name: column.tolist() for name, column in columns.items()}
    rows = [
        {
            "generation": before.generation + 1 + i,
            "evaluations": before.evaluations + (i + 1) * population_size,
            "env_steps": int(env_steps[i]),
        }
        | dict(zip(named, figures, strict=True))
        for i, figures in enumerate(zip(*named.values(), strict=True))
    ]
    generation = before.generation + count
    return Progress(
        generation=generation,
        evaluations=before.evaluations + count * population_size,
        env_steps=int(env_steps[-1]) if count else before.env_steps,
        seconds=seconds,
        best_fitness=max([before.best_fitness, *(row["fitness_best"] for row in rows)]),
        rows=rows,
        score=scored(generation, *chunk.score) if chunk.score else None,
        searches=before.searches,
        initial=before.initial,
    )
