"""Who is at which block of a generation: a pure account, which knows neither workers nor time."""

import math
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable
from statistics import median
from typing import NamedTuple

LAG = 3
"""Times the median after which a block is given to somebody else too."""
LEAST, UNKNOWN = 0.25, 60.0
"""Seconds that a block may take at least, and while nothing is known of how long they take."""
REMEMBERED = 64
"""Answers whose time the median is of."""


class Pace:
    """How long blocks have taken, in the latest answers."""

    def __init__(self):
        """Nothing is known yet."""
        self._each: deque[float] = deque(maxlen=REMEMBERED)
        self._median: float | None = None

    def note(self, blocks: int, seconds: float) -> None:
        """So many blocks were answered after so many seconds."""
        self._each.append(seconds / blocks)
        self._median = None

    def patience(self, blocks: int) -> float:
        """-> the seconds after which somebody who holds so many blocks is late."""
        if not self._each:
            return UNKNOWN
        if self._median is None:
            self._median = median(self._each)
        return max(LEAST, LAG * self._median * blocks)


class Held(NamedTuple):
    """What somebody is at."""

    blocks: list[int]
    since: float


class Ledger:
    """The blocks of one generation. Times are seconds of any one clock.

    Nothing here takes longer where there are more workers, but for those who are late.
    """

    def __init__(self, blocks: Iterable[int], pace: Pace, at_a_time: int | str = "auto"):
        """`at_a_time`: blocks that somebody is given; "auto": half of an equal share of those that
        wait, so that who is quicker gets more of them."""
        self._waiting = deque(blocks)
        self._open = set(self._waiting)
        self._pace, self._at_a_time = pace, at_a_time
        self._held: dict[Hashable, Held] = {}  # whoever was given the first comes first
        self._holders: defaultdict[int, set[Hashable]] = defaultdict(set)
        self.twice = 0
        """Blocks that were given to somebody while another one held them."""

    @property
    def over(self) -> bool:
        """Whether all blocks are done."""
        return not self._open

    def give(self, who: Hashable, hands: int, now: float, most: int | None = None) -> list[int]:
        """-> the blocks, at `most` so many, that somebody who is free is to do, among so many
        `hands`: of those that wait, or else of whoever is late. None where there is nothing to
        do."""
        if self._waiting:
            count = self._at_a_time
            if isinstance(count, str):
                count = math.ceil(len(self._waiting) / (2 * max(hands, 1)))
            count = min(count, len(self._waiting), most or count)
            blocks = [self._waiting.popleft() for _ in range(count)]
        else:
            blocks = self._of_the_latest(now)[:most]
            self.twice += len(blocks)
        if blocks:
            self._let_go(who)
            self._held[who] = Held(blocks, now)
            for block in blocks:
                self._holders[block].add(who)
        return blocks

    def _of_the_latest(self, now: float) -> list[int]:
        late = self.late(now)
        among = set(late)
        for who in late:
            blocks = [
                x for x in self._held[who].blocks if x in self._open and self._holders[x] <= among
            ]
            if blocks:
                return blocks
        return []

    def holds(self, who: Hashable) -> int:
        """-> how many blocks somebody is at."""
        return len(self._held[who].blocks) if who in self._held else 0

    @property
    def at_work(self) -> int:
        """-> how many are at blocks."""
        return len(self._held)

    def late(self, now: float) -> list[Hashable]:
        """-> those who take too long, who has been at it for longest first."""
        late, soonest = [], self._pace.patience(1)
        for who, held in self._held.items():
            if now - held.since <= soonest:
                break  # nor are those after it
            if now - held.since > self._pace.patience(len(held.blocks)):
                late.append(who)
        return late

    def done(self, who: Hashable, now: float) -> list[tuple[int, int]]:
        """Somebody has answered -> (place in what it was given, block) of those that nobody has
        answered before."""
        held = self._let_go(who)
        if held is None:
            return []
        self._pace.note(len(held.blocks), now - held.since)
        new = [(i, x) for i, x in enumerate(held.blocks) if x in self._open]
        self._open -= {x for _, x in new}
        return new

    def lost(self, who: Hashable) -> None:
        """Somebody is gone: what it held, and nobody else holds, waits again, before all else."""
        held = self._let_go(who)
        if held is not None:
            again = [x for x in held.blocks if x in self._open and not self._holders[x]]
            self._waiting.extendleft(reversed(again))

    def _let_go(self, who: Hashable) -> Held | None:
        held = self._held.pop(who, None)
        for block in held.blocks if held else ():
            self._holders[block].discard(who)
        return held
