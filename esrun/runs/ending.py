"""Ending a run: the policy and the summary that it leaves, the last words on the console."""

import math
import time
import traceback
from typing import TYPE_CHECKING, Any

from esrun import files
from esrun.backend import memory
from esrun.config.schema.run import Config
from esrun.errors import ConfigError, complain
from esrun.runs import console, ending_early, record
from esrun.runs.checkpoint import DamagedError
from esrun.runs.folder import going_on, shown
from esrun.runs.opening import OpenRun
from esrun.runs.policy import describe, packed_mean, packed_members
from esrun.training.loop import Outcome, Progress
from esrun.training.restarts import tested
from esrun.training.score import Score
from esrun.training.stop import SIGNAL

if TYPE_CHECKING:
    from esrun.backend.compilation import Clock


TELLING = (OSError, MemoryError, DamagedError, ConfigError)
"""What a disk, a machine's memory, a run folder or a configuration raises: the message says all."""


def leave(opened: OpenRun, outcome: Outcome, compiling: "Clock") -> tuple[Outcome, dict[str, Any]]:
    """Write the policy, score it on the task's test part and write the summary -> (the outcome with
    that score, the summary).

    Whatever goes wrong on the test part, after all that training, is told in the summary of a run
    that has failed; going on with it scores again. Raises OSError.
    """
    opened.check_folder()
    if not outcome.reason.failed:
        _write_policies(opened, outcome)
    wrong: dict[str, Any] = {}
    try:
        outcome = tested(opened.built, outcome)
    except Exception as error:
        opened.show.say(traceback.format_exc())
        reason = f"the test part could not be scored: {type(error).__name__}: {error}"
        wrong = {"status": "failed", "stop_reason": reason}
        complain(f"{reason}; the policy is written, {going_on(opened.folder.path)} scores it again")
    summary = _summary(opened, outcome, compiling) | wrong
    files.write_json(opened.folder.summary, summary)
    return outcome, summary


def _write_policies(opened: OpenRun, outcome: Outcome) -> None:
    parts, state = opened.built.parts, outcome.state
    about = describe(opened.order.written, parts) | {"generation": outcome.progress.generation}
    files.write(opened.folder.policy, packed_mean(state, parts, about))
    members = state.archive and packed_members(state.archive, parts, about, state.references)
    if members:
        files.write(opened.folder.members_best, members)


def leave_beginning(opened: OpenRun, progress: Progress, compiling: "Clock", signal: str) -> str:
    """Leave what a signal ends while nothing is there but what is on the disk -> the last line."""
    opened.check_folder()
    files.write_json(
        opened.folder.summary,
        _figures(opened, progress, compiling)
        | {"status": "interrupted", "stop_reason": signal}
        | {"eval": _eval(progress.score, progress.generation)},
    )
    line = ending_early.words(opened.folder, signal, progress.generation)
    opened.show.note(line)
    return line


def _summary(opened: OpenRun, outcome: Outcome, compiling: "Clock") -> dict[str, Any]:
    """-> what `summary.json` holds of a run that came to an end of its own."""
    built, progress = opened.built, outcome.progress
    plan, reason = built.program.plan(), outcome.reason
    by_signal = reason is SIGNAL
    summary = _figures(opened, progress, compiling) | {
        "status": "failed" if reason.failed else "interrupted" if by_signal else "done",
        "stop_reason": opened.interrupts.name if by_signal else reason.name,
        "eval": _eval(outcome.score, progress.generation),
        "peak_memory_bytes": memory.peak_of(built.local_devices, compiling.resident),
        "predicted_memory_bytes": plan and plan.bytes * memory.sharing(built.local_devices),
    }
    if progress.searches:
        summary["restarts"] = progress.searches
    if outcome.test:
        summary["test"] = _eval(outcome.test, progress.generation)
    return summary


def _figures(opened: OpenRun, progress: Progress, compiling: "Clock") -> dict[str, Any]:
    return {
        "format": record.FORMAT,
        "status": None,
        "stop_reason": None,
        "generations": progress.generation,
        "evaluations": progress.evaluations,
        "env_steps": progress.env_steps,
        "wall_seconds": round(time.monotonic() - opened.began, 3),
        "compile_seconds": round(compiling.seconds, 3),
        "best_fitness": progress.best_fitness,
        "eval": None,
        "eval_initial": _eval(progress.initial, 0),
        **opened.about,
    }


def _eval(score: Score | None, generation: int) -> dict[str, Any] | None:
    """-> what the summary says of a score, and of which generation if that is an earlier one."""
    if score is None:
        return None
    figures = {name: getattr(score, name) for name in ("mean", "std", "ci95", "episodes")}
    when = {} if score.generation == generation else {"generation": score.generation}
    return figures | when | score.measures


def leave_failed(opened: OpenRun, error: Exception) -> None:
    """Tell of a run that an exception ended: where it came from, unless that says nothing new."""
    trace = traceback.format_exc()
    (opened.show.note if isinstance(error, TELLING) else opened.show.say)(trace)
    to_be_mended = isinstance(error, ConfigError)
    reason = str(error) if to_be_mended else f"{type(error).__name__}: {error}"
    summary = {"format": record.FORMAT, "status": "failed", "stop_reason": reason}
    summary["generations"] = opened.folder.saved()
    where = f"{shown(opened.folder.log)} has the traceback"
    try:
        opened.check_folder()
        files.write_json(opened.folder.summary, summary | opened.about)
    except OSError as refused:
        where = f"summary.json could not be written: {refused}"
    complain(error if to_be_mended else f"the run failed: {error!r}; {where}")


def _held_out(score: Score | None, generation: int) -> str:
    if score is None:
        return "-"
    when = "" if score.generation == generation else f", after generation {score.generation}"
    return console.held_out(score) + when


def close(opened: OpenRun, outcome: Outcome, summary: dict[str, Any]) -> None:
    """The panel at the end."""
    progress, score = outcome.progress, outcome.score
    # the first chunk is not timed, since it comes behind what compiles: a run of one has no rate
    rate = f", {progress.env_steps / progress.seconds:.3g} a second" if progress.seconds else ""
    sizes = (summary["peak_memory_bytes"], summary["predicted_memory_bytes"])
    held, planned = (memory.shown(size) if size else "?" for size in sizes)
    total, compiling = summary["wall_seconds"], summary["compile_seconds"]
    why = f" ({outcome.reason.why})" if outcome.reason.why else ""
    rows = {
        "held-out": _held_out(score, progress.generation),
        **({"test": console.held_out(outcome.test)} if outcome.test else {}),
        "best fitness": f"{progress.best_fitness:.4g} (one member, one generation's episodes)",
        "stopped by": f"{summary['stop_reason']}{why}, after {progress.generation} generations",
        "work": f"{progress.env_steps:.3g} env steps{rate}",
        "time": f"{total:.1f} s, {compiling:.1f} s of it compiling",
        "memory": f"{held} at most, {planned} of arrays predicted",
    }
    below = {"run folder": shown(opened.folder.path)}
    words = _more(opened.built.config, progress, score)
    if outcome.reason is SIGNAL:
        below["to go on"] = going_on(opened.folder.path)
    elif outcome.reason.final and not outcome.reason.failed and words:
        below["to go on"] = going_on(opened.folder.path, *words)
    opened.show.panel(summary["status"], rows, below)


def _more(config: Config, progress: Progress, score: Score | None) -> list[str]:
    """-> what is to be typed for a run to go beyond every limit that it has reached."""
    stop = config.stop
    reached = {
        "fitness": (progress.best_fitness, stop.fitness),
        "eval": (score.mean if score else -math.inf, stop.eval),
        "seconds": (progress.seconds, stop.seconds),
        "env_steps": (progress.env_steps, stop.env_steps),
    }
    words = [
        f"stop.{name}=null"
        for name, (value, limit) in reached.items()
        if limit is not None and value >= limit
    ]
    if progress.generation >= config.generations:
        words.append(f"generations={2 * progress.generation}")
    return words
