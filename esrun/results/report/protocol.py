"""What was done: the first thing that a reader has to know."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from esrun.results.groups import Run, seeds
from esrun.results.report import parts
from esrun.results.report.cost import devices_of
from esrun.results.report.jobs import DONE, Job, number_of
from esrun.results.report.parts import Section, Table, table
from esrun.results.report.study import Study, is_function


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    return Section(
        "Protocol",
        [
            _turned(table("protocol", "what was run", _rows(studies))),
            *_words(studies),
        ],
    )


def _words(studies: Sequence[Study]) -> Iterator[str]:
    """-> what a score is."""
    runs = [job.run for study in studies for job in study.jobs]
    if not all(map(is_function, runs)):
        yield (
            "Held-out: the mean policy (the search distribution's centre, no member of a "
            "population) on episodes that training never sees and that are the same for all "
            "settings of a seed."
        )
    if any(map(is_function, runs)):
        yield "Of a function, the held-out mean is its value at the search distribution's mean."
    yield (
        "A run's score is that of the policy it ended with, not of its best moment, and nothing "
        "was chosen by it: " + "; ".join(_exceptions(runs) or ["no run has a stop.eval"]) + "."
    )


def _exceptions(runs: Sequence[Run]) -> list[str]:
    """-> what the scores have decided."""
    found = []
    if any(run.section("stop").get("eval") is not None for run in runs):
        found.append("but that stop.eval has ended runs by their held-out means")
    if any(run.section("strategy").get("restarts") is not None for run in runs):
        found.append("but that runs with strategy.restarts end with the best of their searches")
    return found


def _turned(of_tasks: Table) -> Table:
    """-> the table with a column for each task, as there is more to say of one than there are."""
    shown = of_tasks.shown.drop(columns="task", errors="ignore").T
    tasks = of_tasks.raw["task"].tolist()
    return of_tasks._replace(shown=shown.set_axis(tasks, axis=1).reset_index(names=""))


def _rows(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    for study in studies:
        jobs, done = study.jobs, [job for job in study.jobs if job.status == DONE]
        yield {
            "task": study.task,
            "strategies": _names(jobs, "strategy"),
            "policies": _names(jobs, "policy"),
            "parameters": _range([job.figure("num_params") for job in done]),
            "settings": len(study.settings),
            "seeds": seeds([job.run for job in jobs]),
            "runs done": parts.Cell(
                f"{len(done)} of {len(jobs)}", {"": len(done), " asked": len(jobs)}
            ),
            "budget, generations": _range(
                [number_of(job.run.config.get("generations")) for job in jobs]
            ),
            "generations": _range([job.figure("generations") for job in done]),
            "env steps": _range([job.figure("env_steps") for job in done]),
            "seconds a run": _range([job.figure("wall_seconds") for job in done]),
            "held-out episodes": _range([job.figure("eval", "episodes") for job in done]),
            "devices": "; ".join(dict.fromkeys(devices_of(job) for job in done)) or "–",
        }


def _names(jobs: list[Job], kind: str) -> str:
    return ", ".join(dict.fromkeys(job.run.names[kind] for job in jobs))


def _range(values: list[float | None]) -> parts.Cell:
    known = [x for x in values if x is not None]
    low, high = (min(known), max(known)) if known else (np.nan, np.nan)
    shown = (
        parts.said(low) if low == high or not known else f"{parts.said(low)} to {parts.said(high)}"
    )
    return parts.Cell(shown, {" least": low, " most": high})
