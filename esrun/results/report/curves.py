"""How the settings learned: held-out means along the runs, on three axes."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from esrun.results import charts
from esrun.results.canvas import said as as_text
from esrun.results.curves import Curve
from esrun.results.report import parts
from esrun.results.report.jobs import Job
from esrun.results.report.parts import Figure, Section
from esrun.results.report.study import Setting, Study

AXES = ("generations", "env_steps", "seconds")
"""Of a trace."""


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    blocks: list[Any] = [
        "Median over seeds of the held-out mean, with the band between the quartiles, as far as "
        "all seeds go; thin lines are single seeds beyond. Training time leaves compilation out."
    ]
    for study in studies:
        drawn = [one for one in study.settings if any(map(has_curve, one.scored))]
        if len(drawn) > parts.MOST_DRAWN:
            blocks.append(
                f"{study.task}: the best {parts.MOST_DRAWN} of {len(drawn)} settings are drawn."
            )
        if drawn := drawn[: parts.MOST_DRAWN]:
            blocks += [_figure(study, drawn, name) for name in AXES]
    return Section("How fast: learning curves", blocks)


def has_curve(job: Job) -> bool:
    """Whether there is anything to draw."""
    return len(job.trace.means) > 0


def _figure(study: Study, drawn: list[Setting], axis: str) -> Figure:
    with parts.axes(2.6, {one.label: one.look for one in drawn}) as (ax, made):
        values = [
            charts.draw_line(
                ax,
                [_curve(job, axis) for job in one.scored if has_curve(job)],
                charts.look_of(one.look),
                parts.POINTS,
            )
            for one in drawn
        ]
        charts.set_scale(ax, np.concatenate(values))
        if study.target is not None:
            ax.axhline(study.target.value, color="black", lw=0.8, ls=":")
        ax.set_xlabel(charts.X_LABELS[axis])
        ax.set_ylabel("held-out mean")
        ax.set_title(as_text(study.task))
    return Figure(
        parts.file_name("curves", study.task, axis),
        f"{study.task}: held-out mean against {charts.X_LABELS[axis]}; dotted, the target",
        made[0],
    )


def _curve(job: Job, axis: str) -> Curve:
    return Curve(getattr(job.trace, axis), job.trace.means)
