"""A study on the disk: Optuna's journal, and who works at which of its trials.

Optuna samples, remembers and judges. What it does not know is whether the process of a running
trial lives: each trial has a lock file, which its process holds and the system lets go of when that
is gone. A trial that is running and that nobody holds is gone on with, under its number.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from esrun import files
from esrun.config.schema.run import Tune
from esrun.config.space import Dimension
from esrun.errors import why
from esrun.runs.folder import shown
from esrun.runs.tuning.journal import CAUSE, JOURNAL, NAME, choose, ended, mend, opened, optuna_here

if TYPE_CHECKING:
    import optuna

LOCK, TRIALS = ".lock", ".trials"
"""In the study's folder: one process's turn to choose a trial; a lock a trial."""
AT_RANDOM = 5
"""Trials before TPE learns from them; Optuna's own 10 would be a third of the usual 30."""


class BrokenError(Exception):
    """A run, or the study, has failed by what is no fault of a setting's: a full disk, a file that
    is away or damaged."""


class Trial(NamedTuple):
    """A setting, which this process runs and no other."""

    number: int
    values: list[str]
    """Its words, KEY=VALUE."""
    rung: int
    """Generations after which it has been scored already, 0 for none."""
    score: float
    """The one after those."""
    lock: FileLock


class Study:
    """A study that this process works at, perhaps beside others."""

    def __init__(self, folder: Path, space: Sequence[Dimension], tune: Tune, rungs: Sequence[int],
                 seed: int, first: dict[str, Any]):  # fmt: skip
        """`rungs`: generations after which a trial is judged, the last ones its end; `seed`: of the
        sampler; `first`: values of the first trial, the others of which are drawn. Raises
        ConfigError for a journal that cannot be used."""
        self._optuna, self._folder, self._space = optuna_here(), folder, space
        self._tune, self._seed, self._first = tune, seed, first
        self._held: set[int] = set()
        self._pruner = _pruner(self._optuna, tune, rungs)
        with self.choosing():
            files.make_folder(folder / TRIALS)
            storage = opened(self._optuna, folder)
            # Optuna's samplers see nothing but the trials of one bracket where a study's own pruner
            # is hyperband's: too few to learn from, so the pruner is asked beside the study
            self.optuna: optuna.Study = self._optuna.create_study(
                study_name=NAME,
                storage=storage,
                direction="maximize",
                pruner=self._optuna.pruners.NopPruner(),
                load_if_exists=True,
            )

    @contextmanager
    def choosing(self) -> Iterator[None]:
        """This thread's turn, of all threads and processes that work at the study."""
        with FileLock(self._folder / LOCK):
            yield

    @contextmanager
    def telling(self) -> Iterator[None]:
        """This thread's turn at the journal. Raises BrokenError where that has been damaged, or is
        of another search."""
        with self.choosing():
            try:
                mend(self._folder)  # whoever wrote last may have had no more disk
                yield
            except (KeyError, RuntimeError, TypeError, ValueError) as error:  # Optuna's words
                where = shown(self._folder / JOURNAL)
                line = f"{where} cannot be read on, or is of another search: {why(error)}"
                raise BrokenError(line) from error

    @property
    def trials(self) -> "list[optuna.trial.FrozenTrial]":
        """-> all of them, by number. Raises BrokenError."""
        with self.telling():
            return self._all

    @property
    def _all(self) -> "list[optuna.trial.FrozenTrial]":
        return self.optuna.get_trials(deepcopy=False)

    @property
    def ended(self) -> "list[optuna.trial.FrozenTrial]":
        """-> those that came to their end, the best score first. Raises BrokenError."""
        with self.telling():
            return ended(self.optuna)

    def choose(self, number: int) -> None:
        """Note which of the trials that have ended is the best. Raises BrokenError."""
        with self.telling():
            choose(self.optuna, number)

    def setting(self, trial: "optuna.trial.FrozenTrial") -> list[str]:
        """-> the words of a trial's values."""
        return [
            one.word(one.value(trial.params[one.key]))
            for one in self._space
            if one.key in trial.params
        ]

    @property
    def others(self) -> bool:
        """Whether another process is at a trial."""
        return any(x.number not in self._held for x in self.trials if not x.state.is_finished())

    def take(self) -> Trial | None:
        """-> a trial that an earlier process left, or a new one where not all have begun; None
        where there is none. Raises BrokenError."""
        with self.telling():
            return self._chosen()

    def _chosen(self) -> Trial | None:
        states = self._optuna.trial.TrialState
        known = self._all
        for one in known:
            if one.state == states.RUNNING and (lock := self._locked(one.number)):
                return self._taken(one, lock)
        waits = any(one.state == states.WAITING for one in known)
        if not (waits or len(known) < self._tune.trials):
            return None
        if not known and self._first:
            self.optuna.enqueue_trial(self._first)
        number = self.optuna.ask().number
        lock = self._locked(number)
        assert lock is not None  # of a trial that nobody knew
        return self._taken(self._frozen(number), lock)

    def _seed_for(self, number: int) -> None:
        """What is drawn for a trial goes by the seed and its number alone: a study that was
        interrupted draws on, not again."""
        seed = np.random.SeedSequence([self._seed, number]).generate_state(1)[0]
        self.optuna.sampler = _sampler(self._optuna, self._tune.sampler, int(seed))

    def report(self, trial: Trial, rung: int, score: float) -> bool:
        """Tell the score after so many generations -> whether the trial is to end there."""
        with self.telling():
            found = self._frozen(trial.number)
            if rung not in found.intermediate_values:
                storage = self.optuna._storage
                storage.set_trial_intermediate_value(found._trial_id, rung, score)
                found = self._frozen(trial.number)
            return self._pruner.prune(self.optuna, found)

    def end(self, trial: Trial, score: float | None, cause: str | None = None) -> None:
        """A trial has come to its end, or where it has no score is left where it is."""
        states = self._optuna.trial.TrialState
        with self.telling():
            if cause is not None:
                storage = self.optuna._storage
                id_ = self._frozen(trial.number)._trial_id
                storage.set_trial_user_attr(id_, CAUSE, cause)
            state = states.PRUNED if score is None else states.COMPLETE
            self.optuna.tell(trial.number, score, state=state)
        self.leave(trial)

    def leave(self, trial: Trial) -> None:
        """This process is at a trial no longer."""
        self._held.discard(trial.number)
        trial.lock.release()

    def _taken(self, found: "optuna.trial.FrozenTrial", lock: FileLock) -> Trial:
        self._held.add(found.number)
        self._seed_for(found.number)
        # of an earlier process too, whose values it has; they are drawn where it had not come to it
        trial = self._optuna.Trial(self.optuna, found._trial_id)
        values = [one.word(one.value(_suggested(trial, one))) for one in self._space]
        rung = found.last_step or 0
        score = found.intermediate_values[rung] if rung else float("-inf")
        return Trial(found.number, values, rung, score, lock)

    def _locked(self, number: int) -> FileLock | None:
        if number in self._held:
            return None
        lock = FileLock(self._folder / TRIALS / f"{number}.lock", thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return None
        return lock

    def _frozen(self, number: int) -> "optuna.trial.FrozenTrial":
        return self._all[number]


def _suggested(trial: Any, one: Dimension) -> Any:
    if one.kind == "choice":
        return trial.suggest_categorical(one.key, one.choices)
    if one.kind == "int":
        return trial.suggest_int(one.key, one.low, one.high, step=one.step, log=one.log)
    return trial.suggest_float(one.key, one.low, one.high, step=one.step, log=one.log)


def _sampler(optuna: Any, name: str, seed: int) -> Any:
    """-> one of Optuna's that keep nothing in the journal: its CMA-ES keeps a pickle there."""
    if name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(n_startup_trials=AT_RANDOM, seed=seed)


def _pruner(optuna: Any, tune: Tune, rungs: Sequence[int]) -> Any:
    pruners, eta = optuna.pruners, tune.reduction
    if tune.pruner == "none" or len(rungs) < 2:
        return pruners.NopPruner()
    if tune.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(min_resource=rungs[0], reduction_factor=eta)
    return pruners.HyperbandPruner(rungs[0], rungs[-1], eta)
