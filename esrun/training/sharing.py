"""Who makes the sums of an update: each for itself, or all together.

Either everybody who follows a run adds up all members, and fitness alone travels. Or each adds up a
share and the sums travel, one model to each and from each. Which is quicker depends on the members,
the parameters, how many there are and the network between them, so both are tried, where there is
something to be gained, and the quicker one stays; the other one is looked at again now and then.
Bits are the same.
"""

from collections import deque
from statistics import median

TRIES = 3
"""Generations after which one is judged."""
REMEMBERED = 5
AGAIN = 50
"""Generations after which the slower one has another go."""
WORTH_SECONDS, WORTH_SHARE = 0.05, 0.05
"""Seconds of the update, and their share of a generation, from which on it is tried."""
CHANGED = 2
"""How many times more or fewer workers there are when all is tried anew, from more than that on."""


class Sharing:
    """Whether the sums of a generation are shared, by how long generations have taken."""

    def __init__(self):
        """Nothing is known yet."""
        self.never = False
        """Whether they must not be."""
        self._begin(0)

    def _begin(self, workers: int) -> None:
        self._seconds = {shared: deque(maxlen=REMEMBERED) for shared in (False, True)}
        self._since = {False: 0, True: 0}
        """Generations since each was taken."""
        self._begun: set[bool] = set()
        self._update, self._workers = 0.0, workers

    def shares(self, workers: int) -> bool:
        """Whether so many workers are to share the next generation's sums."""
        if workers < 2 or self.never:
            return False
        if not self._workers <= CHANGED * workers <= CHANGED**2 * self._workers:
            self._begin(workers)
        alone, shared = self._seconds[False], self._seconds[True]
        if len(alone) < TRIES or self._update < max(WORTH_SECONDS, WORTH_SHARE * median(alone)):
            return False
        if len(shared) < TRIES:
            return True
        quicker = median(shared) < median(alone)
        return quicker != (self._since[not quicker] >= AGAIN)

    def note(self, shared: bool, workers: int, seconds: float, part: float) -> None:
        """A generation of so many workers, from its beginning to its end, has taken so long;
        `part`: that of the update, or of what shared sums have cost beside anybody's work. The
        first one of a kind is not counted: it may have compiled. A network that alone takes longer
        than all does otherwise has had its try."""
        if workers < 2:
            return
        known = self._seconds[shared]
        if shared and self._seconds[False] and part > median(self._seconds[False]):
            known.extend([part] * TRIES)
        elif shared in self._begun:
            known.append(seconds)
            self._update = self._update if shared else part
        self._begun.add(shared)
        self._since = {shared: 0, not shared: self._since[not shared] + 1}
