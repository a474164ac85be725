"""How long the settings take to their target, and to easier ones."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.results import charts
from esrun.results.canvas import said as as_text
from esrun.results.report import parts
from esrun.results.report.estimates import rate_interval, running_time
from esrun.results.report.jobs import DONE, Job
from esrun.results.report.parts import Figure, Section, table
from esrun.results.report.study import RUNGS, Setting, Study, Target


class Times(NamedTuple):
    """When each of several runs reached a target, or ended."""

    env_steps: np.ndarray  # [n]
    seconds: np.ndarray  # [n]
    solved: np.ndarray  # [n] bool


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    blocks: list[Any] = [
        "A run reaches a target at the first of its held-out evaluations whose mean is at least "
        "the target's; one that never does is censored at its end. Expected running time (ERT): "
        "the env steps of all runs, until they solved it or ended, over the number of those that "
        "did; with a 95 % interval of a bootstrap over runs, ∞ where none does. Seconds are of "
        "training, without compilation.",
    ]
    if any(study.target is not None for study in studies):
        blocks.append(table("times", "time to target", _rows(studies)))
    blocks += [figure for study in studies if (figure := _figure(study))]
    return Section("How long to the target", blocks)


def times_to(setting: Setting, target: Target) -> Times:
    """-> when the runs of a setting reached a target."""
    found = [_time(job, target) for job in setting.ended]
    steps, seconds, solved = zip(*found, strict=True) if found else ((), (), ())
    return Times(np.array(steps, float), np.array(seconds, float), np.array(solved, bool))


def _time(job: Job, target: Target) -> tuple[float, float, bool]:
    trace, at = job.trace, job.solved_at(target.value)
    if at is not None:
        return trace.env_steps[at], trace.seconds[at], True
    return *trace.end, target.by_member and job.status == DONE and job.reason == "fitness"


def _rows(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    for study in studies:
        if study.target is not None:
            for one in study.settings:
                yield _row(study, one, study.target)


def _row(study: Study, one: Setting, target: Target) -> dict[str, Any]:
    row: dict[str, Any] = {"task": study.task, "setting": parts.label(one), "target": target.value}
    found = times_to(one, target)
    count, solved = len(found.solved), int(np.sum(found.solved))
    low, high = rate_interval(solved, count)
    row["solved"] = parts.Cell(
        f"{solved} of {count}" + (f" [{low:.2f}, {high:.2f}]" if count else ""),
        {"": solved, " of": count, " low": low, " high": high},
    )
    row["censored"] = count - solved
    for name, times in (("ERT, env steps", found.env_steps), ("ERT, seconds", found.seconds)):
        mean, own = running_time(times, found.solved) if count else (np.nan, (np.nan, np.nan))
        row[name] = parts.with_interval(mean, *own)
    row["env steps, median of the solved"] = (
        float(np.median(found.env_steps[found.solved])) if solved else np.nan
    )
    return row


def _figure(study: Study) -> Figure | None:
    drawn = [one for one in study.settings if one.ended][: parts.MOST_DRAWN]
    if not len(study.ladder) or not drawn:
        return None
    rungs = [Target(float(value), "") for value in study.ladder]
    found = [[times_to(one, rung) for rung in rungs] for one in drawn]
    least = min(float(np.min(job.trace.env_steps[1:], initial=np.inf)) for job in study.jobs)
    if not np.isfinite(least):
        return None
    with parts.axes(2.6, {one.label: one.look for one in drawn}) as (ax, made):
        for one, times in zip(drawn, found, strict=True):
            _draw(ax, times, max(least, 1.0), charts.look_of(one.look))
        parts.log_scale(ax, "x")
        ax.set_ylim(0, 1.02)
        ax.set_xlabel(charts.X_LABELS["env_steps"])
        ax.set_ylabel("share of targets reached")
        ax.set_title(as_text(study.task))
    low, high = (parts.said(float(x)) for x in study.ladder[[0, -1]])
    return Figure(
        parts.file_name("targets", study.task),
        f"{study.task}: of {RUNGS} targets between {low} and {high}, on all seeds, the share that "
        "is reached by then (ECDF). What a run has not reached at its end it never does; × marks "
        "the first such end",
        made[0],
    )


def _draw(ax: Any, times: list[Times], least: float, look: dict[str, Any]) -> None:
    steps = np.maximum(np.concatenate([one.env_steps for one in times]), least)
    solved = np.concatenate([one.solved for one in times])
    when, counts = np.unique(steps[solved], return_counts=True)
    x = np.concatenate([[least], when, [np.max(steps)]])
    y = np.concatenate([[0], np.cumsum(counts), [np.sum(counts)]]) / len(steps)
    ax.step(x, y, where="post", **look)
    if not np.all(solved):
        at = np.min(steps[~solved])
        share = y[np.searchsorted(x, at, side="right") - 1]
        ax.plot([at], [share], "x", color=look["color"], ms=5)
