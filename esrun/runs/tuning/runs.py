"""The runs of a study: each a run folder of the study's sweep, composed as its line typed alone."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from esrun.config.check import checked
from esrun.config.compose import Composed
from esrun.config.schema.run import Config
from esrun.config.space import Space
from esrun.errors import DONE, FAILED, SAVED, AwayError, ConfigError, UntrainableError
from esrun.runs import folder, sweep_record
from esrun.runs.folder import shown
from esrun.runs.job import run_composed
from esrun.runs.places import asked_in
from esrun.runs.sweep_endings import Job, ending, failed_earlier
from esrun.runs.sweep_show import Place
from esrun.runs.tuning.journal import run_name
from esrun.runs.tuning.study import BrokenError, Study

WORST = float("-inf")
"""The score of a run that has failed by its numbers, or whose setting is refused."""


class Score(NamedTuple):
    """What came of a run."""

    value: float
    """Its held-out mean."""
    cause: str | None = None
    """Why that is the worst."""


def jobs(
    space: Space, name: int | str, setting: Iterable[str], seeds: Iterable[int], generations: int
) -> list[tuple[str, list[str]]]:
    """-> (name, words) of a setting's runs, one a seed."""
    words, length = space.setting(setting), f"generations={generations}"
    return [(run_name(name, seed), [*words, f"seed={seed}", length]) for seed in seeds]


class Runs:
    """Runs by their words; in any thread."""

    def __init__(self, sweep: Path, study: Study, compose: Callable[[list[str], int], Composed]):
        """`sweep`: the study's folder; `compose`: of `esrun.config.compose.composing`."""
        self._sweep, self._study, self._compose = sweep, study, compose
        self._composing = threading.Lock()  # what Hydra composes with is the process's own

    def score(self, name: str, words: list[str], place: Place) -> Score | None:
        """Run to its end, in the folder of that name, what is left of a run -> its score, None
        where a signal came first.

        Raises BrokenError and OSError for what no other run would mend.
        """
        where = self._sweep / name
        try:
            with self._composing:
                one = self._compose(words, 0)
                config = checked(one.config)
        except AwayError as error:
            raise BrokenError(f"{shown(where)}: {error}") from error
        except ConfigError as error:
            return Score(WORST, f"refused: {error}")
        job = asked_in(one, config, where)
        with self._study.choosing():
            sweep_record.add(self._sweep, job)
        try:
            why = failed_earlier(where, job.config)
            if why is not None and is_by_numbers(why):
                return Score(WORST, why)
            code = self._run(one, config, where, place, retries=why is not None)
        except UntrainableError as error:
            return Score(WORST, f"refused: {error}")
        except ConfigError as error:  # of files, or of another process in the folder
            raise BrokenError(f"{shown(where)}: {error}") from error
        return None if code == SAVED else _score(Job(where, words, code))

    def _run(self, one: Composed, config: Config, where: Path, place: Place, retries: bool) -> int:
        record = folder.earlier_run(where)
        if record and record.done and record.generations >= config.generations:
            return DONE
        made = folder.make(where)
        return run_composed(one, config, made, going_on=True, place=place, retries=retries)


def _score(job: Job) -> Score:
    """-> what a run has left. Raises BrokenError."""
    end = ending(job)
    if job.code == DONE and end.score is not None:
        return Score(end.score)
    if job.code == FAILED and end.retried and end.reason and is_by_numbers(end.reason):
        return Score(WORST, end.reason)
    raise BrokenError(f"{shown(job.folder)}: {end.in_words}")


def is_by_numbers(reason: str) -> bool:
    """Whether a run has failed for one of the reasons of training's own, which are names, and not
    for an error, which is a sentence."""
    return reason.isidentifier()
