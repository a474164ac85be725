"""What the swept numbers do: how many settings were tried, and how the scores follow each key."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.errors import clipped
from esrun.results import charts
from esrun.results.canvas import said as as_text
from esrun.results.report import parts
from esrun.results.report.jobs import DONE
from esrun.results.report.parts import Figure, Section
from esrun.results.report.study import Setting, Study, is_logarithmic

MOST_MAPS = 6
"""Pairs of keys that are drawn for a task."""
WRITTEN = 64
"""Cells of a map up to which their values are written in."""
TIMES = 10
"""Values of a key that differ by this factor are drawn on a logarithmic axis."""


class Family(NamedTuple):
    """Settings of the same options, which have the same keys."""

    label: str
    settings: list[Setting]
    numbers: list[str]
    """Keys that have several values here, all of them numbers."""
    look: int
    """Of `charts.look_of`: the same for every task."""

    def values(self, key: str) -> list[float]:
        """-> those of a key, ascending."""
        return sorted({one.leaves[key] for one in self.settings})

    def scores(self, wanted: dict[str, float]) -> np.ndarray:
        """-> those of all seeds of the settings with such values, [n]."""
        found = [
            one.scores
            for one in self.settings
            if all(one.leaves[key] == value for key, value in wanted.items())
        ]
        return np.concatenate([*found, np.empty(0)])


def section(studies: Sequence[Study]) -> Section:
    """-> the section of the page."""
    blocks: list[Any] = []
    looks: dict[str, int] = {}
    for study in studies:
        own = families(study, looks)
        done = sum(job.status == DONE for job in study.jobs)
        blocks.append(
            f"{study.task}: {_many(len(study.settings), 'setting')} tried, {done} of "
            f"{_many(len(study.jobs), 'run')} done. {_swept(own)}"
        )
        keys = dict.fromkeys(key for family in own for key in family.numbers)
        blocks += [_curve(study, key, [x for x in own if key in x.numbers]) for key in keys]
        pairs = [
            (family, *pair) for family in own for pair in itertools.combinations(family.numbers, 2)
        ]
        blocks += [_map(study, *one) for one in pairs[:MOST_MAPS]]
        if len(pairs) > MOST_MAPS:
            blocks.append(f"{study.task}: {MOST_MAPS} of {len(pairs)} pairs of keys are drawn.")
    return Section("What the settings do", blocks)


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _swept(own: list[Family]) -> str:
    keys = list(dict.fromkeys(key for family in own for key in family.numbers))
    if not keys:
        return "No number was swept."
    return f"Swept numbers: {', '.join(keys)}."


def families(study: Study, looks: dict[str, int]) -> list[Family]:
    """-> the settings that have a score, by their options; `looks` are those of families so far."""
    by_names: dict[tuple[str, ...], list[Setting]] = {}
    for one in study.settings:
        if len(one.scores):
            by_names.setdefault(tuple(one.run.names.values()), []).append(one)
    several = [len({names[i] for names in by_names}) > 1 for i in range(3)]
    found = []
    for names, own in by_names.items():
        label = " ".join(name for name, differs in zip(names, several, strict=True) if differs)
        look = looks.setdefault(" ".join(names[1:]), len(looks))
        found.append(Family(label or names[1], own, list(_numbers(own)), look))
    return found


def _others(family: Family, key: str) -> bool:
    """Whether settings of the same value of a key differ in anything else."""
    return len({one.label for one in family.settings}) > len(family.values(key))


def _numbers(settings: list[Setting]) -> Iterator[str]:
    leaves = [one.leaves for one in settings]
    for key in dict.fromkeys(key for one in leaves for key in one):
        values = [one.get(key) for one in leaves]
        is_number = all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in values)
        if is_number and len(set(values)) > 1 and key != "seed":
            yield key


def _curve(study: Study, key: str, own: list[Family]) -> Figure:
    with parts.axes(2.6, {family.label: family.look for family in own}) as (ax, made):
        drawn = []
        for family in own:
            look, values = charts.look_of(family.look), np.array(family.values(key), float)
            scores = [family.scores({key: value}) for value in values]
            low, middle, high = np.array([np.quantile(x, [0.25, 0.5, 0.75]) for x in scores]).T
            ax.plot(values, middle, **look, marker="o", ms=3)
            ax.fill_between(values, low, high, color=look["color"], alpha=0.18, linewidth=0)
            spots = np.repeat(values, [len(x) for x in scores])
            ax.plot(
                spots, np.concatenate(scores), "o", color=look["color"], ms=3, alpha=0.5,
                mew=0, rasterized=len(spots) > 500,
            )  # fmt: skip
            drawn.append(np.concatenate(scores))
        every = np.array([x for family in own for x in family.values(key)], float)
        if np.all(every > 0) and every.max() >= TIMES * every.min():
            parts.log_scale(ax, "x")
        charts.set_scale(ax, np.concatenate(drawn))
        ax.set_xlabel(as_text(clipped(key, 50)))
        ax.set_ylabel("held-out mean")
        ax.set_title(as_text(study.task))
    others = " over all values of the other keys," if any(_others(x, key) for x in own) else ""
    return Figure(
        parts.file_name("sensitivity", study.task, key),
        f"{study.task}: the median{others} with the band between the quartiles, a dot a seed",
        made[0],
    )


def _map(study: Study, family: Family, x: str, y: str) -> Figure:
    columns, rows = family.values(x), family.values(y)
    table = np.full((len(rows), len(columns)), np.nan)
    for i, j in itertools.product(range(len(rows)), range(len(columns))):
        scores = family.scores({y: rows[i], x: columns[j]})
        table[i, j] = np.median(scores) if len(scores) else np.nan
    known = table[~np.isnan(table)]
    shown = np.sign(table) * np.log10(np.abs(table)) if is_logarithmic(known) else table
    with parts.axes(3.2) as (ax, made):
        image = ax.imshow(shown, cmap="viridis", origin="lower", aspect="auto")
        ax.grid(False)
        for ticks, labels in ((ax.set_xticks, columns), (ax.set_yticks, rows)):
            every = -(-len(labels) // 8)
            ticks(range(0, len(labels), every), [f"{value:.4g}" for value in labels[::every]])
        if table.size <= WRITTEN:
            for (i, j), value in np.ndenumerate(table):
                dark = image.norm(shown[i, j]) < 0.6
                text = "" if np.isnan(value) else f"{value:.4g}"
                ax.text(j, i, text, color="white" if dark else "black", ha="center", va="center",
                        fontsize=7)  # fmt: skip
        ax.set_xlabel(as_text(clipped(x, 50)))
        ax.set_ylabel(as_text(clipped(y, 35)))
        ax.set_title(as_text(f"{study.task}, {family.label}"))
    return Figure(
        parts.file_name("map", study.task, family.label, x, y),
        f"{study.task}, {family.label}: median held-out mean; empty where no run is done",
        made[0],
    )
