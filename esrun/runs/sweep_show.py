"""What a sweep tells while its jobs run: a line for each that begins, and in the bar of a run where
the run stands in the sweep and how long that will take."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

from esrun.errors import printable


class Place(NamedTuple):
    """Where a run stands in its sweep."""

    name: str
    left: Callable[[float], float]
    """-> the seconds that are left of the sweep, by those that are left of the run."""
    say: Callable[[str], None] | None = None
    """Of a run with others beside it: where its lines go, the terminal not being its own."""
    tell: Callable[[Any], None] | None = None
    """Likewise for its bar."""


class SweepShow:
    """Told of the jobs of a sweep as they begin and end, and by the runs how far they are.

    Times are of the jobs that trained here: one that is done already, or is left as it is, tells
    nothing of those to come.
    """

    def __init__(self, names: list[str], clock: Callable[[], float] = time.monotonic):
        """`names`: what is swept in each job."""
        self._names, self._clock = names, clock
        self._began: dict[int, float] = {}
        self._training: set[int] = set()
        self._over = 0
        self._took: list[float] = []

    def begins(self, job: int) -> None:
        """A job begins; of several it is said which."""
        self._began[job] = self._clock()
        if len(self._names) > 1:
            self._print(f"{self._name(job)}: {self._names[job]}")

    def ends(self, job: int, how: str = "") -> None:
        """A job is over; `how` it ended its own lines have said."""
        seconds = self._clock() - self._began.pop(job)
        self._over += 1
        if job in self._training:
            self._took.append(seconds)

    def place(self, job: int) -> Place | None:
        """-> what the run of a job tells of the sweep in its bar, None where there is no other
        job."""

        def left(seconds: float) -> float:
            self._training.add(job)
            now = self._clock()
            usual = median(self._took) if self._took else now - self._began[job] + seconds
            waiting = len(self._names) - self._over - len(self._began)
            return seconds + waiting * usual / len(self._began)

        return Place(self._name(job), left) if len(self._names) > 1 else None

    def _print(self, line: str) -> None:
        print(printable(line), flush=True)

    def _name(self, job: Any) -> str:
        return f"job {job + 1}/{len(self._names)}"
