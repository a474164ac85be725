"""Who is at which block of a generation: a pure account, which knows neither workers nor time."""

import math
from collections import deque
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

    def note(self, blocks: int, seconds: float) -> None:
        """So many blocks were answered after so many seconds."""
        self._each.append(seconds / blocks)

    def patience(self, blocks: int) -> float:
        """-> the seconds after which somebody who holds so many blocks is late."""
        if not self._each:
            return UNKNOWN
        return max(LEAST, LAG * median(self._each) * blocks)


class Held(NamedTuple):
    """What somebody is at."""

    blocks: list[int]
    since: float


class Ledger:
    """The blocks of one generation. Times are seconds of any one clock."""

    def __init__(self, blocks: Iterable[int], pace: Pace, at_a_time: int | str = "auto"):
        """`at_a_time`: blocks that somebody is given; "auto": half of an equal share of those that
        wait, so that who is quicker gets more of them."""
        self._waiting = deque(blocks)
        self._open = set(self._waiting)
        self._pace, self._at_a_time = pace, at_a_time
        self._held: dict[Hashable, Held] = {}
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
            self._held[who] = Held(blocks, now)
        return blocks

    def _of_the_latest(self, now: float) -> list[int]:
        for held in sorted(self._held.values(), key=lambda held: held.since):
            blocks = [
                x
                for x in held.blocks
                if x in self._open and all(self.is_late(who, now) for who in self._holders(x))
            ]
            if blocks:
                return blocks
        return []

    def holds(self, who: Hashable) -> int:
        """-> how many blocks somebody is at."""
        return len(self._held[who].blocks) if who in self._held else 0

    def is_late(self, who: Hashable, now: float) -> bool:
        """Whether somebody takes too long."""
        held = self._held.get(who)
        return held is not None and now - held.since > self._pace.patience(len(held.blocks))

    def done(self, who: Hashable, now: float) -> list[tuple[int, int]]:
        """Somebody has answered -> (place in what it was given, block) of those that nobody has
        answered before."""
        held = self._held.pop(who, None)
        if held is None:
            return []
        self._pace.note(len(held.blocks), now - held.since)
        new = [(i, x) for i, x in enumerate(held.blocks) if x in self._open]
        self._open -= {x for _, x in new}
        return new

    def lost(self, who: Hashable) -> None:
        """Somebody is gone: what it held, and nobody else holds, waits again, before all else."""
        held = self._held.pop(who, None)
        if held is not None:
            again = [x for x in held.blocks if x in self._open and not self._holders(x)]
            self._waiting.extendleft(reversed(again))

    def _holders(self, block: int) -> list[Hashable]:
        return [who for who, held in self._held.items() if block in held.blocks]
