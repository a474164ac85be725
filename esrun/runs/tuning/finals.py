"""What is run when a search is over: the finalists, and the best of them beside the default.

The best of many scores is one with luck in it: a setting that half of the seeds fail with may well
have been lucky with all of its own. So the best few run further seeds before one of them is chosen,
and the chosen one is compared with the default on others again.
"""

from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from esrun.runs.tuning.asked import Asked
from esrun.runs.tuning.journal import DEFAULT
from esrun.runs.tuning.runs import Score, jobs
from esrun.runs.tuning.search import Group
from esrun.runs.tuning.study import Study

if TYPE_CHECKING:
    import optuna


class Finalist(NamedTuple):
    """One of the best settings."""

    trial: "optuna.trial.FrozenTrial"
    seeds: list[int]
    scores: list[Score]
    """Of these seeds; none where its trial's own were all."""

    @property
    def value(self) -> float:
        """-> its median."""
        if not self.scores:
            return self.trial.value or 0.0
        return median(one.value for one in self.scores)


class Compared(NamedTuple):
    """The best setting and the default one on seeds that no trial had."""

    seeds: list[int]
    best: list[Score]
    default: list[Score]


class Outcome(NamedTuple):
    """What a study came to."""

    finalists: list[Finalist]
    """The best one first."""
    compared: Compared | None

    @property
    def best(self) -> Finalist:
        """-> the one that was chosen."""
        return self.finalists[0]


def outcome(asked: Asked, study: Study, group: Group) -> Outcome | None:
    """Run what is left of it -> what the study came to; None where a signal came first, or no trial
    came to its end."""
    finalists = _finalists(asked, study, group)
    if not finalists:
        return None
    best, seeds = finalists[0].trial, asked.fresh_seeds
    if not seeds:
        return Outcome(finalists, None)
    best_ones = _jobs(asked, best.number, study.setting(best), seeds)
    found = group.scores([*best_ones, *_jobs(asked, DEFAULT, [], seeds)])
    if found is None:
        return None
    return Outcome(finalists, Compared(seeds, found[: len(seeds)], found[len(seeds) :]))


def _finalists(asked: Asked, study: Study, group: Group) -> list[Finalist]:
    """-> them, the best one first; nobody where a signal came first."""
    trials, seeds = study.ended, [*asked.seeds, *asked.final_seeds]
    if not asked.final_seeds or len(trials) < 2:
        return [Finalist(one, asked.seeds, []) for one in trials[:1]]
    trials = trials[: asked.config.tune.finalists]
    found = group.scores(
        [job for x in trials for job in _jobs(asked, x.number, study.setting(x), seeds)]
    )
    if found is None:
        return []
    each = [found[i * len(seeds) : (i + 1) * len(seeds)] for i in range(len(trials))]
    finalists = [Finalist(x, seeds, scores) for x, scores in zip(trials, each, strict=True)]
    finalists.sort(key=lambda one: -one.value)  # where they are equal the trials' own scores decide
    study.choose(finalists[0].trial.number)
    return finalists


def _jobs(
    asked: Asked, name: int | str, setting: list[str], seeds: list[int]
) -> list[tuple[str, list[str]]]:
    return jobs(asked.space, name, setting, seeds, asked.config.generations)
