"""How the settings did: the held-out mean of every seed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from esrun.results import charts
from esrun.results.canvas import said as as_text
from esrun.results.report import parts
from esrun.results.report.estimates import FEW, interval, iqm, rate_interval
from esrun.results.report.pairs import survivors
from esrun.results.report.parts import Figure, Section, table
from esrun.results.report.study import Setting, Study, is_logarithmic
from esrun.results.report.times import times_to

MOST_ROWS = 30
"""Settings whose seeds are drawn."""
MOST_DOTS = 1500
"""Dots that are drawn one by one; more of them are a picture in the picture."""
MEASURES = ("success", "accuracy")
"""What an environment itself knows of success."""


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    counts = [len(one.scores) for study in studies for one in study.settings]
    blocks: list[Any] = [
        "Median and interquartile mean (IQM: the mean of the middle half) of the held-out means "
        "of the seeds, with 95 % intervals of a bootstrap over seeds. Best first, by IQM. "
        "Solved: the share of the runs that ended whose held-out mean reached the target at any of "
        "its evaluations, with Wilson's interval; one that failed has not. (The middle half of 5 "
        "seeds is three of them, of fewer it is all.) With five to ten seeds a bootstrap's 95 % "
        "intervals are too narrow: of five normal scores they hold the truth 9 times in 10.",
        *survivors(studies),
    ]
    if few := sum(n < FEW for n in counts):
        blocks.append(
            f"{few} of {len(counts)} settings have fewer than {FEW} seeds, and no interval: so few "
            "runs say next to nothing of how far others would be from them. Their seeds are drawn "
            "one by one."
        )
    blocks += [_target(study) for study in studies]
    blocks.append(table("scores", "held-out mean by setting", _rows(studies)))
    blocks += [figure for study in studies if (figure := _dots(study))]
    if len(shared := _over_tasks(studies)):
        blocks += [
            "Over all tasks on which anything was learned, each with the same weight: means of "
            "the tasks' medians and IQMs. A score of 0 is that of the first policies (their "
            "median), 1 the best held-out mean of all runs on the task, by orders of magnitude "
            "where scores span some. The intervals' bootstrap resamples the seeds of each task by "
            "themselves (stratified).",
            table("all_tasks", "normalised scores over all tasks", shared),
        ]
    return Section("How good: every setting, every seed", blocks)


def _target(study: Study) -> str:
    if study.target is None:
        return f"{study.task}: there is no target, as no run has learned anything yet."
    return f"{study.task}: the target is {parts.said(study.target.value)}, {study.target.why}."


def _rows(studies: Sequence[Study]) -> Iterator[dict[str, Any]]:
    measures = [
        name
        for name in MEASURES
        if any(job.figure("eval", name) is not None for study in studies for job in study.jobs)
    ]
    for study in studies:
        for one in study.settings:
            yield _row(study, one, measures)


def _row(study: Study, one: Setting, measures: list[str]) -> dict[str, Any]:
    scores, has = one.scores, len(one.scores) > 0
    row = {
        "task": study.task,
        "setting": parts.label(one),
        "seeds": parts.Cell(
            f"{len(scores)} of {len(one.jobs)}" + f", {one.failed} failed" * (one.failed > 0),
            {"": len(scores), " asked": len(one.jobs), " failed": one.failed},
        ),
        "median": parts.with_interval(
            float(np.median(scores)) if has else np.nan, *interval(np.median, scores)
        ),
        "IQM": parts.with_interval(one.iqm, *one.iqm_interval),
        "worst": float(np.min(scores)) if has else np.nan,
        "best": float(np.max(scores)) if has else np.nan,
    }
    if study.target is not None:
        solved = int(np.sum(times_to(one, study.target).solved))
        rate = rate_interval(solved, len(one.ended))
        row["solved"] = parts.with_interval(
            solved / len(one.ended) if one.ended else np.nan, *rate, as_rate=True
        )
    for name in measures:
        known = [x for job in one.scored if (x := job.figure("eval", name)) is not None]
        row[name] = float(np.median(known)) if known else np.nan
    return row


def _over_tasks(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """-> a row for each setting that every task has, of the tasks on which anything was learned."""
    learned = [study for study in studies if len(study.ladder)]
    if len(learned) < 2:
        return []
    by_label = [{one.whole: _normalised(study, one) for one in study.settings} for study in learned]
    rows = []
    for one in learned[0].settings:
        samples = [own.get(one.whole, np.empty(0)) for own in by_label]
        if all(map(len, samples)):
            row: dict[str, Any] = {"setting": parts.label(one), "runs": sum(map(len, samples))}
            for name, statistic in (("median", np.median), ("IQM", iqm)):
                middle = _mean_of(statistic)
                row[name] = parts.with_interval(
                    float(middle(*samples, axis=-1)), *interval(middle, *samples)
                )
            rows.append(row)
    return sorted(rows, key=lambda row: -row["IQM"].raw[""])


def _normalised(study: Study, one: Setting) -> np.ndarray:
    """-> the scores [n] where 0 is the first policies' and 1 the best; by orders of magnitude where
    they span some."""
    low, high, scores = study.start, study.best, one.scores
    if is_logarithmic(study.ladder):
        sign = np.sign(low)
        low, high = sign * np.log(np.abs([low, high]))
        scores = sign * np.log(np.maximum(sign * scores, np.finfo(float).tiny))
    return (scores - low) / (high - low)


def _mean_of(statistic: Callable[..., Any]) -> Callable[..., Any]:
    """-> the mean over several samples of the statistic of each."""
    return lambda *samples, axis: np.mean([statistic(x, axis=axis) for x in samples], axis=0)


def _dots(study: Study) -> Figure | None:
    drawn = [one for one in study.settings if len(one.scores)]
    if not drawn:
        return None
    left, drawn = len(drawn) - MOST_ROWS, drawn[:MOST_ROWS]
    with parts.axes(0.5 * len(drawn) + 0.9) as (ax, made):
        many = sum(len(one.scores) for one in drawn) > MOST_DOTS
        for i, one in enumerate(drawn):
            look: dict[str, Any] = {"color": charts.look_of(one.look)["color"]}
            scores = one.scores
            ax.plot(
                scores,
                np.full(len(scores), -i),
                "o",
                **look,
                ms=4,
                alpha=0.5,
                mew=0,
                rasterized=many,
            )
            ax.plot([np.median(scores)] * 2, [-i - 0.17, -i + 0.17], "-", **look, lw=1.6)
            low, high = one.iqm_interval
            if not np.isnan(low):
                ax.plot([low, high], [-i - 0.25] * 2, "-", **look, lw=2.2)
            ax.text(
                0.0, -i + 0.3, as_text(one.label), transform=ax.get_yaxis_transform(), fontsize=7.5
            )
        if study.target is not None:
            ax.axvline(study.target.value, color="black", lw=0.8, ls=":")
        ax.set_ylim(-len(drawn) + 0.4, 0.75)
        ax.set_yticks([])
        ax.spines["left"].set_visible(False)
        charts.set_scale(ax, np.concatenate([one.scores for one in drawn]), "x")
        ax.set_xlabel("held-out mean, higher is better")
        ax.set_title(as_text(study.task))
    more = f"; the best {MOST_ROWS} settings, {left} more are in the table" if left > 0 else ""
    return Figure(
        parts.file_name("scores", study.task),
        f"{study.task}: every seed a dot, the median a stroke, below it the interval of the IQM; "
        f"dotted, the target{more}",
        made[0],
    )
