"""Searching: trials side by side, each from rung to rung until it is left there or at its end."""

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median

from esrun.config.schema.run import Tune
from esrun.config.space import Space
from esrun.runs.interrupts import Interrupts
from esrun.runs.sweep_jobs import Beside
from esrun.runs.tuning.runs import WORST, Runs, Score, jobs
from esrun.runs.tuning.show import TrialBoard, scores, setting
from esrun.runs.tuning.study import Study, Trial

EVERY = 0.5
"""Seconds between two looks at what others are doing."""


class Group:
    """Runs that go on side by side, as many as there are places."""

    def __init__(self, runs: Runs, places: list[tuple], heard: Interrupts, board: TrialBoard):
        """A context manager."""
        self._runs, self._heard, self._board = runs, heard, board
        self._beside = Beside(places, heard)
        self._pool = ThreadPoolExecutor(max(1, len(places)))
        self.over = False
        """Whether no run is to begin any more."""

    def __enter__(self):
        """-> itself."""
        return self

    def __exit__(self, *error):
        """Wait for the runs that go on."""
        self._pool.shutdown()

    def scores(self, jobs: Sequence[tuple[str, list[str]]]) -> list[Score] | None:
        """Run (name, words) -> their scores, None where a signal, or a failure elsewhere, came
        first."""
        found = list(self._pool.map(self._one, jobs))
        return None if any(x is None for x in found) else [x for x in found if x is not None]

    def _one(self, job: tuple[str, list[str]]) -> Score | None:
        name, words = job
        with self._beside.one():
            if self.is_over:
                return None
            try:
                return self._runs.score(name, words, self._board.run(name))
            finally:
                self._board.over(name)

    @property
    def is_over(self) -> bool:
        """Whether a signal came, or one has failed."""
        return self.over or self._heard.name is not None


class Search:
    """The trials that this command runs."""

    def __init__(self, study: Study, space: Space, tune: Tune, rungs: Sequence[int],
                 seeds: Sequence[int], group: Group, board: TrialBoard,
                 clock: Callable[[], float] = time.monotonic):  # fmt: skip
        """`rungs`: generations after which a trial is judged, its end the last of them."""
        self._study, self._space, self._tune, self._rungs = study, space, tune, rungs
        self._seeds, self._group, self._board = seeds, group, board
        self._clock, self._began = clock, clock()

    def run(self, places: int) -> None:
        """Take trials until there are none, or a signal comes. Raises what a run does."""
        # so many that no place waits for the last seeds of a trial
        count = math.ceil((max(1, places) + len(self._seeds) - 1) / len(self._seeds))
        with ThreadPoolExecutor(min(count, self._tune.trials)) as threads:
            for future in [threads.submit(self._take) for _ in range(count)]:
                future.result()

    def _take(self) -> None:
        try:
            while not self._group.is_over:
                trial = self._study.take() if self._is_in_time() else None
                if trial is not None:
                    self._run(trial)
                elif self._is_in_time() and self._study.others:
                    time.sleep(EVERY)  # for what they may leave
                else:
                    return
        except BaseException:
            self._group.over = True
            raise

    def _is_in_time(self) -> bool:
        limit = self._tune.seconds
        return limit is None or self._clock() - self._began < limit

    def _run(self, trial: Trial) -> None:
        begins = "goes on" if trial.rung else "begins"
        self._board.line(f"trial {trial.number} {begins}: {setting(trial.values)}")
        try:
            for rung in (x for x in self._rungs if x >= trial.rung):
                if not self._rung(trial, rung):
                    break
        except BaseException:
            self._study.leave(trial)
            raise

    def _rung(self, trial: Trial, rung: int) -> bool:
        """Bring a trial to a rung, and judge it there -> whether it goes on."""
        found = [Score(trial.score)]
        if rung > trial.rung:
            if not self._is_in_time():  # it waits for the next command
                self._study.leave(trial)
                return False
            runs = jobs(self._space, trial.number, trial.values, self._seeds, rung)
            told = self._group.scores(runs)
            if told is None:
                self._study.leave(trial)
                return False
            found = told
        score = median(one.value for one in found)
        is_left = self._study.report(trial, rung, score)
        after = f"{scores([score])} after {rung} generations"
        if len(found) > 1:
            after += f" (of {scores([one.value for one in found])})"
        if score == WORST:
            self._left(trial, next((x.cause for x in found if x.cause), "failed"))
        elif rung == self._rungs[-1]:
            before = self._study.ended
            self._study.end(trial, score)
            new = not before or score > (before[0].value or 0)
            self._board.line(f"trial {trial.number}: {after}{', the best so far' * new}")
        elif is_left:
            self._study.end(trial, None)
            self._board.line(f"trial {trial.number}: {after}, and is left there")
        else:
            self._board.line(f"trial {trial.number}: {after}, and goes on")
            return True
        return False

    def _left(self, trial: Trial, cause: str) -> None:
        self._study.end(trial, None, cause)
        self._board.line(f"trial {trial.number} is left: {cause}")
