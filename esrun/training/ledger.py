"""Who is at which block of a generation: a pure account, which knows neither workers nor time."""

import math
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterable
from statistics import median
from typing import NamedTuple

LAG = 3
"""Times the median after which a block is given to somebody else too."""
LEAST, UNKNOWN = 0.25, 60.0
"""Seconds that a block may take at least, and while nothing is known of how long they take."""
MESSAGE = 0.01
"""Seconds between two questions of the run's own process that leave it idle for the most part: it
takes half a millisecond for each."""
AWAY = 0.05
"""Seconds of work that make up for the way of an answer and of the next question."""
REMEMBERED = 64
"""Answers whose time the median is of."""


class Pace:
    """How long blocks have taken, in the latest answers."""

    def __init__(self):
        """Nothing is known yet."""
        self._each: deque[float] = deque(maxlen=REMEMBERED)
        self._median: float | None = None

    @property
    def usual(self) -> float | None:
        """-> the median seconds of a block; None while nothing is known."""
        if self._median is None and self._each:
            self._median = median(self._each)
        return self._median

    def note(self, blocks: int, seconds: float) -> None:
        """So many blocks were answered after so many seconds."""
        self._each.append(seconds / blocks)
        self._median = None

    def enough(self, hands: int) -> int | None:
        """-> blocks at a time that keep so many `hands` from asking too often, of which no more are
        lost with one of them; None while nothing is known."""
        usual = self.usual
        return None if usual is None else math.ceil(max(hands * MESSAGE, AWAY) / max(usual, 1e-9))

    def patience(self, blocks: int) -> float:
        """-> the seconds after which somebody who holds so many blocks is late."""
        usual = self.usual
        return UNKNOWN if usual is None else max(LEAST, LAG * usual * blocks)


class Held(NamedTuple):
    """What somebody is at."""

    blocks: list[int]
    since: float


class Ledger:
    """The blocks of one generation. Times are seconds of any one clock.

    A block that is not done waits, or one is at it who is in time. Nothing here takes longer where
    there are more workers.
    """

    def __init__(self, blocks: Iterable[int], pace: Pace, at_a_time: int | str = "auto"):
        """`at_a_time`: blocks that somebody is given; "auto": half of an equal share of those that
        wait, so that who is quicker gets more of them, and fewer where those take long."""
        self._waiting = OrderedDict.fromkeys(blocks)
        self._open = set(self._waiting)
        self._pace, self._at_a_time = pace, at_a_time
        self._held: dict[Hashable, Held] = {}
        """Of those in time; whoever was given the first comes first."""
        self._late: dict[Hashable, Held] = {}
        self._behind: set[int] = set()
        self.twice = 0
        """Blocks that were given to somebody because another one is late."""

    @property
    def over(self) -> bool:
        """Whether all blocks are done."""
        return not self._open

    @property
    def at_work(self) -> int:
        """-> how many are at blocks, in time."""
        return len(self._held)

    def give(self, who: Hashable, hands: int, now: float, most: int | None = None) -> list[int]:
        """-> the blocks, at `most` so many, that somebody who is free is to do, among so many
        `hands`. None where there is nothing to do."""
        count = self._at_a_time
        if isinstance(count, str):
            share = math.ceil(len(self._waiting) / (2 * max(hands, 1)))
            count = min(share, self._pace.enough(hands) or share)
        count = min(count, len(self._waiting), most or count)
        blocks = [self._waiting.popitem(last=False)[0] for _ in range(count)]
        if blocks:
            self._held[who] = Held(blocks, now)
            self.twice += len(self._behind.intersection(blocks))
        return blocks

    def holds(self, who: Hashable) -> int:
        """-> how many blocks somebody is at."""
        held = self._held.get(who) or self._late.get(who)
        return len(held.blocks) if held else 0

    def late(self, now: float) -> int:
        """What those are at who take too long waits again, behind all else -> how many they are."""
        soonest, late = self._pace.patience(1), []
        for who, held in self._held.items():
            if now - held.since <= soonest:
                break  # nor are those after it
            if now - held.since > self._pace.patience(len(held.blocks)):
                late.append(who)
        for who in late:
            held = self._late[who] = self._held.pop(who)
            again = [x for x in held.blocks if x in self._open]
            self._waiting.update(dict.fromkeys(again))
            self._behind.update(again)
        return len(self._late)

    def done(self, who: Hashable, now: float) -> list[tuple[int, int]]:
        """Somebody has answered -> (place in what it was given, block) of those that nobody has
        answered before."""
        held = self._held.pop(who, None) or self._late.pop(who, None)
        if held is None:
            return []
        self._pace.note(len(held.blocks), now - held.since)
        new = [(i, x) for i, x in enumerate(held.blocks) if x in self._open]
        for _, x in new:
            self._open.discard(x)
            self._waiting.pop(x, None)
        return new

    def lost(self, who: Hashable) -> None:
        """Somebody is gone: what it held in time waits again, before all else."""
        self._late.pop(who, None)
        held = self._held.pop(who, None)
        for x in reversed(held.blocks if held else []):
            if x in self._open:
                self._waiting[x] = None
                self._waiting.move_to_end(x, last=False)
