"""The loop over chunks: Python's side of training.

The next chunk is dispatched before the last one's results are read, so the devices never wait for
the host. All stop rules but `stop.seconds` are decided inside the compiled program; a chunk that
was dispatched after the end does nothing.
"""

import gc
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from esrun.config.schema import Config
from esrun.training.program import CHUNK, Program, Stop
from esrun.types import TrainState

SECONDS_PER_CHUNK = 1.0
"""Python looks at a run about this often."""


class Score(NamedTuple):
    """The mean policy on held-out episodes."""

    generation: int
    mean: float
    std: float
    ci95: float
    """Half the width of the 95 % interval of the mean, 1.96 std / sqrt(episodes)."""
    episodes: int
    measures: dict[str, float]


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


class Start(NamedTuple):
    """Where a resumed run goes on."""

    state: TrainState
    progress: Progress


class Outcome(NamedTuple):
    """How a run ended."""

    state: TrainState
    reason: str
    """generations | eval | fitness | seconds | env_steps | signal, or one of FAILURES or
    sigma_collapsed"""
    progress: Progress
    score: Score | None
    """Of the final state; None after a signal or a failure."""


class Chunk(NamedTuple):
    """A dispatched chunk, its results perhaps not there yet."""

    state: TrainState
    rows: dict
    count: jax.Array
    reached: dict
    score: tuple | None


FAILURES = ("non_finite_fitness", "non_finite_state", "sigma_exploded", "indefinite_C")
"""Ends after which the state is worth nothing: it is neither evaluated nor saved."""


def train(
    program: Program,
    hyper: Any,
    config: Config,
    report: Callable[[Progress], None],
    *,
    start: Start | None = None,
    save: Callable[[TrainState, Progress, bool], None] = lambda state, progress, final: None,
    interrupted: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train until a limit is reached, from `start` or from scratch.

    After every chunk `report` is called, then `save` with the state that belongs to it (on the
    devices, perhaps still being used; to be read, not changed). `interrupted` is asked between
    chunks. `stop.seconds` counts from the first chunk's end, so that compiling does not shorten a
    run.
    """
    seed = np.uint32(config.seed)
    program.prepare(hyper, seed, _stop(config, 0), start and start.state)
    gc.enable()  # the command starts without: see cli.py
    population_size = program.parts(hyper).strategy.population_size
    if start is None:
        state, progress = program.init(hyper, seed), Progress(0, 0, 0, 0.0, -np.inf, [], None, [])
    else:
        state, progress = start
    score, reason, length = progress.score, None, 1
    until = progress.generation
    earlier, started, arrived = progress.seconds, None, None
    last: Chunk | None = None

    while True:
        chunk = None
        if reason is None and interrupted():
            reason = "signal"
        if reason is None and until < config.generations:
            until = min(
                until + length, config.generations, _next_multiple(until, config.eval.every)
            )
            state, rows, count, reached = program.advance(hyper, seed, state, _stop(config, until))
            chunk = Chunk(state, rows, count, reached, None)
        if last is not None:
            done = int(last.count)  # waits for the devices, which by now have the next chunk
            now = clock()
            started = now if started is None else started
            if arrived is not None and done:
                length = _chunk_length(length, done, now - arrived)
            arrived = now
            ended = _reason(
                config, progress.generation + done, earlier + now - started, last.reached
            )
            if done or (last.score and (score is None or score.generation != progress.generation)):
                progress = _progress(progress, last, population_size, done, earlier + now - started)
                score = progress.score or score
                report(progress)
                if ended not in FAILURES:
                    save(last.state, progress, False)
            reason = ended if ended in FAILURES else reason or ended
        if chunk is None:
            break
        if until % config.eval.every == 0 or until == config.generations:
            state, returns, measures = program.evaluate(hyper, seed, state)
            chunk = chunk._replace(state=state, score=(returns, measures))
        last = chunk

    reason = reason or "generations"
    if reason in FAILURES:
        return Outcome(state, reason, progress, None)
    if reason != "signal" and (score is None or score.generation != progress.generation):
        state, returns, measures = program.evaluate(hyper, seed, state)
        score = scored(progress.generation, returns, measures)
        progress = progress._replace(rows=[], score=score)
        report(progress)
    save(state, progress._replace(score=score), True)
    return Outcome(state, reason, progress, None if reason == "signal" else score)


def _stop(config: Config, generation: int) -> Stop:
    stop = config.stop
    steps = 2**64 - 1 if stop.env_steps is None else stop.env_steps
    return Stop(
        generation=np.asarray(generation, np.int32),
        fitness=np.asarray(np.inf if stop.fitness is None else stop.fitness),
        held_out=np.asarray(np.inf if stop.eval is None else stop.eval),
        env_steps=np.array([steps >> 32, steps & 0xFFFFFFFF], np.uint32),
    )


def _next_multiple(generation: int, every: int) -> int:
    return (generation // every + 1) * every


def _chunk_length(length: int, count: int, seconds: float) -> int:
    """-> the generations of the next chunk: about SECONDS_PER_CHUNK of them, at most four times the
    last."""
    wanted = int(count * SECONDS_PER_CHUNK / max(seconds, 1e-6))
    return max(1, min(wanted, 4 * length, CHUNK))


def _progress(
    before: Progress, chunk: Chunk, population_size: int, count: int, seconds: float
) -> Progress:
    columns = {name: np.asarray(column)[:count] for name, column in chunk.rows.items()}
    env_steps = before.env_steps + np.cumsum(columns.pop("env_steps"), dtype=np.uint64)
    rows = [
        {
            "generation": before.generation + 1 + i,
            "evaluations": before.evaluations + (i + 1) * population_size,
            "env_steps": int(env_steps[i]),
        }
        | {name: column[i].item() for name, column in columns.items()}
        for i in range(count)
    ]
    generation = before.generation + count
    best = max([before.best_fitness, *(row["fitness_best"] for row in rows)])
    score = scored(generation, *chunk.score) if chunk.score else None
    evaluations = before.evaluations + count * population_size
    steps = int(env_steps[-1]) if count else before.env_steps
    return Progress(generation, evaluations, steps, seconds, best, rows, score, before.searches)


def scored(generation: int, returns: jax.Array, measures: dict) -> Score:
    """-> the score of held-out returns [episodes] and what else the task measured."""
    values = np.asarray(returns, np.float64)
    std = float(np.std(values, ddof=1))
    return Score(
        generation=generation,
        mean=float(np.mean(values)),
        std=std,
        ci95=1.96 * std / len(values) ** 0.5,
        episodes=len(values),
        measures={name: float(np.mean(np.asarray(x, np.float64))) for name, x in measures.items()},
    )


def _reason(config: Config, generation: int, seconds: float, reached: dict) -> str | None:
    """-> the limit that the run has reached, if any: `reached` is the program's own word for its
    stop rules."""
    limits = {name: bool(yes) for name, yes in reached.items()}
    limits["seconds"] = config.stop.seconds is not None and seconds >= config.stop.seconds
    limits["generations"] = generation >= config.generations
    names = [name for name, yes in limits.items() if yes]
    return next((name for name in names if name in FAILURES), names[0] if names else None)
