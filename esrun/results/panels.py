"""What one key does: which jobs differ in it alone, and their final scores. JAX is not imported
here."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from esrun.config.check import short
from esrun.errors import ConfigError, as_typed, clipped, nearest, printable
from esrun.results.groups import LONGEST_VALUE, UNSET
from esrun.results.report.jobs import BUDGET, DONE, Job
from esrun.runs.record import what_it_computes

SCORES = {
    "eval": "held-out mean, higher is better",
    "best_fitness": "best fitness of a member, higher is better",
}
"""What of a run's summary is drawn, and what it is called."""
MEASURES = ("fitness", "reward")
"""Keys of a task that say what its score is."""
FEW = 3
"""Jobs that are named one by one."""
MOST_SAID = 300
"""Letters of the keys that vary."""


class Point(NamedTuple):
    """What came of one value."""

    value: Any
    text: str
    """The value as it is typed."""
    scores: np.ndarray  # [seeds that are done]


class Panel(NamedTuple):
    """Jobs that differ in one key, and in their seeds."""

    key: str
    points: list[Point]
    """Numbers, and lists of numbers, ascending; behind them all else in the order of the jobs."""
    others: list[str]
    """What the other keys are that vary among all jobs, as they are typed."""
    jobs: list[Job]

    @property
    def is_ordered(self) -> bool:
        """Whether values are numbers, or lists of numbers."""
        return all(_size(point.value) for point in self.points)

    @property
    def numbers(self) -> np.ndarray | None:
        """-> the values [points], None where they are not all numbers."""
        values = [point.value for point in self.points]
        return np.array(values, float) if all(map(_is_number, values)) else None


def panels_of(jobs: Sequence[Job], keys: Sequence[str], score: str) -> list[Panel]:
    """-> a panel for each key: the jobs that differ in it alone.

    Where there are several such sets, as in a sweep over every combination, it is the one with the
    most values, then with the most jobs, then the first. `score` is one of `SCORES`. Raises
    ConfigError.
    """
    known = [Known(job, _what_scores(job.run.config)) for job in jobs]
    varying = _varying(known)
    panels = [_panel(key, known, varying, score) for key in keys]
    for key in MEASURES:
        told = {_same(job.run.section("task").get(key)) for panel in panels for job in panel.jobs}
        if len(told) > 1:
            raise ConfigError(
                f"panels must be of one measure, and task.{key} says which, got {len(told)} of it: "
                f"name the jobs of one, or write --over of other keys, not of task.{key}"
            )
    tasks = dict.fromkeys(panel.jobs[0].run.names["task"] for panel in panels)
    if len(tasks) > 1:
        raise ConfigError(
            f"panels must be of one task, whose scores are one measure, got {', '.join(tasks)}: "
            "name sweeps of one"
        )
    return panels


class Known(NamedTuple):
    """A job, and what it computes by dotted keys."""

    job: Job
    leaves: dict[str, Any]

    def value(self, key: str) -> Any:
        """-> that of a key."""
        return self.leaves.get(key, UNSET)


def _what_scores(config: dict[str, Any]) -> dict[str, Any]:
    """-> the keys of a configuration that its final score may depend on: not how often it is
    scored on the way, unless such a score ends the run."""
    keys = what_it_computes(config, BUDGET)
    return keys if keys.get("stop.eval") is not None else {**keys, "eval.every": None}


def _varying(known: Sequence[Known]) -> list[str]:
    keys = dict.fromkeys(key for one in known for key in one.leaves if key != "seed")
    return [key for key in keys if len({_same(one.value(key)) for one in known}) > 1]


def _panel(key: str, known: Sequence[Known], varying: list[str], score: str) -> Panel:
    others = [name for name in varying if name != key]
    sets: dict[tuple[str, ...], list[Known]] = {}
    for one in known:
        sets.setdefault(tuple(_same(one.value(name)) for name in others), []).append(one)

    def by_value(jobs: Sequence[Known]) -> dict[str, list[Known]]:
        found: dict[str, list[Known]] = {}
        for one in jobs:
            found.setdefault(_same(one.value(key)), []).append(one)
        return found

    own = max(sets.values(), key=lambda jobs: (len(by_value(jobs)), len(jobs)))
    if len(by_value(own)) < 2:
        raise ConfigError(f"--over needs keys whose values can be compared, got {key}: "
                          f"{_why(key, known, varying)}")  # fmt: skip
    points = []
    for jobs in sorted(by_value(own).values(), key=lambda jobs: _place(jobs[0].value(key))):
        scores = [x for x in (_score(one.job, score) for one in jobs) if x is not None]
        value = jobs[0].value(key)
        points.append(Point(value, _text(value), np.array(scores)))
    words = [f"{short(name, varying)}={_text(own[0].value(name))}" for name in others]
    return Panel(key, points, words, [one.job for one in own])


def _why(key: str, known: Sequence[Known], varying: list[str]) -> str:
    """-> why there is no panel of a key."""
    vary = clipped(
        f"what varies is {', '.join(varying)}" if varying else "nothing varies", MOST_SAID
    )
    if key in varying:
        return f"no two jobs differ in it alone; {vary}"
    if any(key in one.leaves for one in known):
        return f"it is {_text(known[0].value(key))} in all jobs; {vary}"
    names = dict.fromkeys(name for one in known for name in one.leaves)
    if any(name.startswith(f"{key}.") for name in names):
        return f"it is a section; {vary}"
    return f"no job has it{nearest(key, names)}; {vary}"


def _score(job: Job, score: str) -> float | None:
    if score == "eval":
        return job.score
    return job.figure(score) if job.status == DONE else None


def _same(value: Any) -> str:
    """-> the same text for values that are the same: 1 and 1.0 are, 1 and true are not."""
    return as_typed(float(value) if _is_number(value) else [value])


def _text(value: Any) -> str:
    return clipped(printable(as_typed(value)), LONGEST_VALUE)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _size(value: Any) -> list[float]:
    """-> numbers to be ordered by, none where a value has no order."""
    values = value if isinstance(value, list) else [value]
    return [float(x) for x in values] if all(map(_is_number, values)) else []


def _place(value: Any) -> tuple[bool, list[float]]:
    return not _size(value), _size(value)


def left_out(jobs: Sequence[Job], panels: Sequence[Panel], score: str) -> list[str]:
    """-> lines for the jobs that are not drawn; those that have no score by name, as far as they
    are few."""
    drawn = {job.name: job for panel in panels for job in panel.jobs}
    bad = [job for job in drawn.values() if _score(job, score) is None]
    lines = [
        f"{job.name} has no score, and is left out: {job.status}"
        + (f", {job.reason}" if job.reason else "")
        for job in bad[:FEW]
    ]
    if len(bad) > FEW:
        lines.append(f"without a score and left out besides: {len(bad) - FEW}")
    if len(jobs) > len(drawn):
        count = f"{len(jobs) - len(drawn)} of {len(jobs)} jobs"
        lines.append(f"{count} differ in more than one of these keys, or in others: left out")
    return lines
