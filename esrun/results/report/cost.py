"""What the runs cost."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from esrun.results.report import parts
from esrun.results.report.jobs import Job
from esrun.results.report.parts import Section, table
from esrun.results.report.study import Setting, Study


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    return Section(
        "What it cost",
        [
            "Medians over the runs that are done. Training: seconds without compilation, and what "
            "comes of it in env steps a second; compilation apart, with nothing to compile where a "
            "program was kept; all: from the start of a run to its end.",
            table("cost", "cost of a run", _rows(studies)),
        ],
    )


def _rows(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    for study in studies:
        for one in study.settings:
            yield _row(study, one)


def _row(study: Study, one: Setting) -> dict[str, Any]:
    runs = one.scored
    last = [(x.trace.env_steps[-1], x.trace.seconds[-1]) for x in runs if len(x.trace.means)]
    rates = [steps / seconds for steps, seconds in last if seconds > 0]
    devices = dict.fromkeys(devices_of(job) for job in runs)
    return {
        "task": study.task,
        "setting": parts.label(one),
        "env steps": _median([job.figure("env_steps") for job in runs]),
        "training, s": _median([seconds for _, seconds in last]),
        "env steps/s": _median(rates),
        "compilation, s": _median([job.figure("compile_seconds") for job in runs]),
        "all, s": _median([job.figure("wall_seconds") for job in runs]),
        "memory, MiB": _median([job.figure("peak_memory_bytes") for job in runs]) / 2**20,
        "devices": "; ".join(devices) or "–",
    }


def _median(values: Sequence[float | None]) -> float:
    known = [x for x in values if x is not None]
    return float(np.median(known)) if known else np.nan


def devices_of(job: Job) -> str:
    """-> "2 × cpu"."""
    names = job.about.get("devices")
    kinds = (
        [str(name).partition(" ")[2] or str(name) for name in names]
        if isinstance(names, list)
        else []
    )
    return ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))
