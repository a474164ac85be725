"""What a report is about: the tasks, the settings of each, the targets that tell how they did."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from esrun.errors import ConfigError
from esrun.results.groups import Run, by_problem, grouped, problem_of
from esrun.results.report.estimates import Interval, interval, iqm
from esrun.results.report.jobs import BUDGET, FAILED, Job, Jobs, number_of
from esrun.runs.record import what_it_computes

RUNGS = 50
"""Targets of a ladder."""
TARGET = 0.9
"""Of the way up the ladder, where nobody has said a target."""
ORDERS = 1e4
"""Scores of one sign that differ by more than this factor are compared by their logarithms."""


@dataclass(frozen=True)
class Setting:
    """The jobs that differ in their seed alone."""

    label: str
    whole: str
    """The label in full, which is the same for every task."""
    jobs: list[Job]
    look: int
    """Of `charts.look_of`: the same for every task."""

    @cached_property
    def scored(self) -> list[Job]:
        """-> those that are done, by seed."""
        done = (job for job in self.jobs if job.score is not None)
        return sorted(done, key=lambda job: (len(str(job.seed)), str(job.seed)))

    @property
    def failed(self) -> int:
        """-> how many failed."""
        return sum(job.status == FAILED for job in self.jobs)

    @cached_property
    def ended(self) -> list[Job]:
        """-> those that are done, and those that failed, which reach no target."""
        return [job for job in self.jobs if job.score is not None or job.status == FAILED]

    @cached_property
    def scores(self) -> np.ndarray:
        """-> the held-out means of those that are done, by seed, [n]."""
        return np.array([job.score for job in self.scored], float)

    @cached_property
    def iqm(self) -> float:
        """-> the interquartile mean of the scores, NaN where there are none."""
        return float(iqm(self.scores)) if len(self.scores) else np.nan

    @cached_property
    def iqm_interval(self) -> Interval:
        """-> its 95 % interval, NaN where there are few seeds."""
        return interval(iqm, self.scores)

    @property
    def run(self) -> Run:
        """-> one of them."""
        return self.jobs[0].run

    @cached_property
    def leaves(self) -> dict[str, Any]:
        """-> what they compute, and within which budget, by dotted keys."""
        return what_it_computes(self.run.config, BUDGET)


class Target(NamedTuple):
    """A held-out mean that counts as solved."""

    value: float
    why: str
    by_member: bool = False
    """Whether a run that ended by stop.fitness has reached it too, by a member."""


class Study(NamedTuple):
    """The runs of one task."""

    task: str
    settings: list[Setting]
    """The best first, by the interquartile mean of the scores; those without any last."""
    target: Target | None
    """None where no run has a score."""
    start: float
    """The median score of the first policies; NaN where it is not known."""
    best: float
    """The best held-out mean of all runs; NaN where none is known."""

    @property
    def jobs(self) -> list[Job]:
        """-> all of them."""
        return [job for setting in self.settings for job in setting.jobs]

    @property
    def ladder(self) -> np.ndarray:
        """-> targets ascending, from the first policies' score to the best, [RUNGS] or none."""
        return _ladder(self.start, self.best)


def studies(found: Jobs, targets: dict[str | None, float]) -> list[Study]:
    """-> a study for each task, in the order of the jobs. `targets` are those that were asked for,
    by what the task is called, None for any. Raises ConfigError for a task that is not there."""
    tasks = _by_task(found.jobs)
    for name in targets:
        if name is not None and name not in tasks:
            raise ConfigError(f"--target is of a task {name}: there are {', '.join(tasks)}")
    if None in targets and len(tasks) > 1:
        raise ConfigError(
            f"--target must say of which task it is, got {targets[None]:g}: write "
            f"--target '{next(iter(tasks))}={targets[None]:g}'"
        )
    looks: dict[str, int] = {}
    return [
        _study(task, jobs, targets.get(task, targets.get(None)), looks)
        for task, jobs in tasks.items()
    ]


def _by_task(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """-> the jobs by their problem."""
    own = {job.run.folder: job for job in jobs}
    named = by_problem([job.run for job in jobs])
    return {name: [own[run.folder] for run in runs] for name, runs in named.items()}


def is_function(run: Run) -> bool:
    """Whether a task is a function of numbers, without episodes."""
    return "function" in problem_of(run)


def _study(task: str, jobs: list[Job], asked: float | None, looks: dict[str, int]) -> Study:
    by_folder = {job.run.folder: job for job in jobs}
    settings = []
    for group in grouped([job.run for job in jobs], BUDGET):
        alone = f"strategy={group.runs[0].names['strategy']}"
        whole = group.whole or alone
        own = [by_folder[run.folder] for run in group.runs]
        look = looks.setdefault(whole, len(looks))
        settings.append(Setting(group.differs or alone, whole, own, look))
    settings.sort(key=_place)
    known = [job.trace for job in jobs if len(job.trace.means)]
    first = [trace.means[0] for trace in known if trace.generations[0] == 0]
    start = float(np.median(first)) if first else np.nan
    best = float(max(np.max(trace.means) for trace in known)) if known else np.nan
    return Study(task, settings, _target(jobs, start, best, asked), start, best)


def _place(one: Setting) -> tuple[float, ...]:
    """-> where a setting stands: by its IQM, then by its mean and its worst seed."""
    if not len(one.scores):
        return (np.inf,)
    return -one.iqm, -float(np.mean(one.scores)), -float(np.min(one.scores))


def _ladder(low: float, high: float) -> np.ndarray:
    if not high > low:
        return np.empty(0)
    if is_logarithmic(np.array([low, high])):
        sign = np.sign(low)
        return sign * np.geomspace(abs(low), abs(high), RUNGS + 1)[1:]
    return np.linspace(low, high, RUNGS + 1)[1:]


def is_logarithmic(scores: np.ndarray) -> bool:
    """Whether scores have one sign and differ by orders of magnitude."""
    sizes = np.abs(scores)
    one_sign = bool(np.all(scores > 0) or np.all(scores < 0))
    return one_sign and sizes.max() > ORDERS * sizes.min()


def _target(jobs: Sequence[Job], start: float, best: float, asked: float | None) -> Target | None:
    if asked is not None:
        return Target(asked, "asked for by --target")
    for name in ("eval", "fitness") if is_function(jobs[0].run) else ("eval",):
        stops = {_stop(job, name) for job in jobs}
        if len(stops) == 1 and (stop := stops.pop()) is not None:
            return Target(stop, f"stop.{name} of all runs", by_member=name == "fitness")
    if (known := _known(jobs)) is not None:
        return Target(known, "what gymnasium calls solved")
    ladder = _ladder(start, best)
    if not len(ladder):
        return None
    how = " (by orders of magnitude)" if is_logarithmic(ladder) else ""
    return Target(
        float(ladder[int(TARGET * RUNGS) - 1]),
        f"{100 * TARGET:.0f} % of the way{how} from the median of the first policies to the best "
        "held-out mean of all runs, as no target was given: --target gives one",
    )


def _stop(job: Job, name: str) -> float | None:
    return number_of(job.run.section("stop").get(name))


def _known(jobs: Sequence[Job]) -> float | None:
    """-> the score from which gymnasium calls an environment solved, as long as it is the one."""
    problem = problem_of(jobs[0].run)
    name = problem.get("env")
    if not isinstance(name, str):
        return None
    import gymnasium

    spec = gymnasium.registry.get(name)
    if spec is None or spec.reward_threshold is None:
        return None
    is_the_one = problem.get("episode_length") == spec.max_episode_steps
    return float(spec.reward_threshold) if is_the_one else None
