"""Who makes the sums of an update: each for itself, or all together.

Either everybody who follows a run adds up all members, and fitness alone travels. Or each adds up a
share and the sums travel, one model to each and from each. Which is quicker depends on the members,
the parameters, how many there are and the network between them, so both are tried, where there is
something to be gained, and the quicker one stays. Bits are the same.
"""

from collections import deque
from statistics import median

TRIES = 3
"""Generations after which one is judged."""
REMEMBERED = 9
WORTH_SECONDS, WORTH_SHARE = 0.05, 0.05
"""Seconds of the update, and their share of a generation, from which on it is tried."""
CHANGED = 2.0
"""How many times more or fewer workers there are when all is tried anew."""


class Sharing:
    """Whether the sums of a generation are shared, by how long generations have taken."""

    def __init__(self):
        """Nothing is known yet."""
        self._seconds: dict[bool, deque[float]] = {}
        self._update, self._workers, self._before = 0.0, 0, None
        self._forget(0)

    def _forget(self, workers: int) -> None:
        self._seconds = {shared: deque(maxlen=REMEMBERED) for shared in (False, True)}
        self._update, self._workers = 0.0, workers

    def shares(self, workers: int) -> bool:
        """Whether so many workers are to share the next generation's sums."""
        if workers < 2:
            return False
        if not self._workers / CHANGED < workers < self._workers * CHANGED:
            self._forget(workers)
        alone, shared = self._seconds[False], self._seconds[True]
        if len(alone) < TRIES:
            return False
        usual = median(alone)
        if self._update < max(WORTH_SECONDS, WORTH_SHARE * usual):
            return False
        return len(shared) < TRIES or median(shared) < usual

    def note(self, shared: bool, seconds: float, part: float) -> None:
        """A generation has taken so long; `part`: that of the update, or of what shared sums have
        cost beside anybody's work. The first of a kind is not counted: it may have compiled. A
        network that alone takes longer than all does otherwise has had its try."""
        known, first, self._before = self._seconds[shared], self._before is not shared, shared
        if shared and self._seconds[False] and part > median(self._seconds[False]):
            known.extend([part] * TRIES)
        if not first:
            known.append(seconds)
            self._update = self._update if shared else part
