"""`esrun tune`: a study from its words to its end, begun, gone on with or joined."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path

from filelock import FileLock, Timeout

from esrun import files
from esrun.config import compose
from esrun.config.loader import PRIMARY, Source
from esrun.config.quoting import quoted
from esrun.errors import DONE, FAILED, SAVED, ConfigError, complain, why
from esrun.runs.folder import HYDRAS_SWEEP, SWEEP, Made, shown
from esrun.runs.interrupts import listening
from esrun.runs.sweep_jobs import places_for
from esrun.runs.tuning import asked as asking
from esrun.runs.tuning import ending
from esrun.runs.tuning.asked import Asked
from esrun.runs.tuning.finals import outcome
from esrun.runs.tuning.journal import optuna_here
from esrun.runs.tuning.runs import Runs
from esrun.runs.tuning.search import EVERY, Group, Search
from esrun.runs.tuning.show import TrialBoard
from esrun.runs.tuning.study import LOCK, TRIALS, BrokenError, Study

LAST = "last.lock"
"""Whose turn it is to compare the best setting with the default one."""


def run_tune(words: list[str], source: Source) -> int:
    """Search what words ask for, in a new folder or with what was begun -> the exit code.

    Raises ConfigError.
    """
    optuna_here()
    asked = asking.asked(words, source)
    made = asking.study_folder(asked)
    try:
        with FileLock(made.folder / LOCK):
            asking.refuse_others(made.folder, asked)
            asking.record(made.folder, asked)
            files.write(made.folder / HYDRAS_SWEEP, asked.hydras_yaml)
    except ConfigError:
        _forget(made)
        raise
    except OSError as error:
        _forget(made)
        complain(f"{shown(made.folder)} cannot be written to: {why(error)}")
        return FAILED
    try:
        return _carried_out(asked, made.folder)
    except BrokenError as error:
        complain(f"{error}: the study goes on with it when its command is typed again")
        return FAILED
    except OSError as error:
        complain(f"{shown(made.folder)} cannot be worked in: {error}")
        return FAILED


def resume_tune(place: Path, overrides: list[str], forced: bool) -> int:
    """Go on with the study in a folder, with what is typed besides -> the exit code. Raises
    ConfigError."""
    if forced:
        raise ConfigError(
            "a study has neither --force nor --retry-failed: a setting that failed is one that "
            "was tried"
        )
    words = [*asking.words_of(place.resolve()), *overrides]
    return run_tune([*words, f"hydra.sweep.dir={quoted(str(place.resolve()))}"], PRIMARY)


def _carried_out(asked: Asked, place: Path) -> int:
    config, tune = asked.config, asked.config.tune
    with ExitStack() as work:
        heard = work.enter_context(listening())
        work.enter_context(heard.at_once(partial(_leave, place, asked)))
        study = Study(place, asked.space.dimensions, tune, asked.rungs, config.seed, asked.default)
        there = f"hydra.sweep.dir={quoted(str(place))}"
        typed = [*asked.space.plain, there]
        composing = work.enter_context(compose.composing(asked.source, typed))

        def one(words: list[str], number: int) -> compose.Composed:
            return composing([*words, there], number)

        places = [] if asked.alone else places_for([config], tune.trials * tune.seeds)
        board = work.enter_context(TrialBoard())
        group = work.enter_context(Group(Runs(place, study, one), places, heard, board))
        Search(study, asked.space, tune, asked.rungs, asked.seeds, group, board).run(len(places))
        result = None
        if not group.is_over:
            with _Turn(place, group):
                result = None if group.is_over else outcome(asked, study, group)
                if result is not None:
                    generations, best = f"generations={config.generations}", result.best.trial
                    composed = one([*asked.space.setting(study.setting(best)), generations], 0)
                    ending.write_option(asked, study, place, composed, result)
        if heard.name is not None:
            complain(_leave(place, asked, heard.name))
            return SAVED
    ending.show(asked, study, place, result)
    tried = study.trials
    if result is None and tried and all(x.state.is_finished() for x in tried):
        complain("no setting came to its end: the reasons stand above, search another space")
        return FAILED
    return DONE


class _Turn:
    """This process's turn, of all that work at a study; a context manager. Who waits goes on when
    the other is done, or gone."""

    def __init__(self, place: Path, group: Group):
        self._lock, self._group = FileLock(place / TRIALS / LAST), group

    def __enter__(self):
        while not self._group.is_over:
            try:
                self._lock.acquire(timeout=EVERY)
                break
            except Timeout:
                continue

    def __exit__(self, *error):
        self._lock.release()


def _leave(place: Path, asked: Asked, signal: str) -> str:
    return f"ended by {signal}; to go on: {asking.going_on(place, asked)}"


def _forget(made: Made) -> None:
    """Leave nothing of a study that came to nothing, as far as this call has made it."""
    if made.made:
        for name in (SWEEP, HYDRAS_SWEEP, LOCK):
            (made.folder / name).unlink(missing_ok=True)
        made.unmake()
