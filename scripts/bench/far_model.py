"""Many workers in simulated time: esrun's own crew and ledger hand out blocks, and a message, a
block, a death are events of a heap.

The scheduling is not modelled, it runs: what is simulated is a `Hiring`, the clock that goes with
it, and the workers behind it. So ten lines of heap are all that is left for a simulator (simpy's
processes would have to be suspended inside the crew's own loop).
"""

import heapq
import json
import random
import time
from collections import namedtuple
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from far_stub import answer

from esrun.training.crew import Crew
from esrun.training.hiring import Heard, Hiring
from esrun.training.ledger import Ledger, Pace
from esrun.training.work import Work

Strategy = namedtuple("Strategy", "mean")
State = namedtuple("State", "generation strategy archive")
Seen = namedtuple("Seen", "fitness")


class Search:
    """Generations of which only the scheduling is there; by any clock and any `Hiring`."""

    def __init__(
        self,
        hiring: Hiring,
        order: bytes,
        shape: "Shape",
        alone: Callable[[int], None],
        now: Callable[[], float] = time.monotonic,
    ):
        """`alone`: the run's own process does so many blocks."""
        self.crew, self.shape, self.pace, self.alone = Crew(hiring, now), shape, Pace(), alone
        self.state = State(np.int32(0), Strategy(np.zeros(shape.n, np.float32)), None)
        self.crew.begin(order, dict, True)

    def generation(self) -> float:
        """-> the seconds that it took."""
        crew, shape, state, began = self.crew, self.shape, self.state, self.crew.now()
        crew.follow(state)

        def see(blocks: list[int]) -> Seen:
            self.alone(len(blocks))
            return Seen(np.zeros((len(blocks), shape.members), np.float32))

        nothing = Seen(np.zeros((shape.blocks, shape.members), np.float32))
        ledger = Ledger(range(shape.blocks), self.pace, shape.at_a_time)
        ask = lambda who, blocks: crew.work(who, blocks, state)  # noqa: E731
        seen = Work(crew, ledger, ask, see, nothing, 1).done()
        after = Strategy(state.strategy.mean.copy())
        self.state = State(state.generation + 1, after, None)
        crew.told(int(state.generation), seen, self.state, "")
        return crew.now() - began


class Shape(NamedTuple):
    """What a generation is made of."""

    blocks: int
    members: int = 48
    """Of a block."""
    n: int = 750
    """Numbers of the state."""
    at_a_time: int | str = "auto"
    """As `runtime.worker_blocks`."""


class Link(NamedTuple):
    """What messages cost, in seconds."""

    ask: float = 0.0
    """Of the run's own process, for each question, ..."""
    hear: float = 0.0
    """... for each answer, ..."""
    pending: float = 0.0
    """... and for each answer that is awaited, whenever it listens."""
    way: float = 0.0
    """From the one to the other, without any of those."""
    rate: float = float("inf")
    """Bytes a second, in each direction, of the run's own process."""


class Hand(NamedTuple):
    """What a worker is like."""

    each: float
    """Seconds that a block takes."""
    way: float = 0.0
    """Seconds that its messages take in addition."""
    rate: float = float("inf")
    """Bytes a second that its own link carries."""
    straggles: float = 0.0
    """How often an answer takes five times as long."""
    lives: float = float("inf")
    """Seconds, on average."""


STRAGGLES = 5.0
MISSED, BEGUN = 1.0, 5.0
"""Seconds until a death is known, and until another worker is there in its place."""


class Simulated:
    """Workers in simulated time, and its clock: a `Hiring`."""

    def __init__(
        self, count: int, link: Link, hand: Callable[[int], Hand], members: int, charged: bool
    ):
        """`hand` (number): what a worker is like. `charged`: what the scheduling itself takes of
        this processor is added to the time."""
        self.say: Callable[[str], None] = lambda line: None
        self._count, self._link, self._hand = count, link, hand
        self._members, self._chance = members, random.Random(0)
        self._there: dict[int, tuple[Hand, float]] = {}
        self._begun = self._waited_for = 0
        self._events: list[tuple[float, int, Heard]] = []
        self._now = self._sent = self._received = 0.0
        self._charged, self._since = charged, time.thread_time()

    def now(self) -> float:
        """-> simulated seconds."""
        return self._now

    def spend(self, seconds: float) -> None:
        """The run's own process does something."""
        self._now += seconds

    def _enter(self) -> None:
        if self._charged:
            self._now += time.thread_time() - self._since

    def _leave(self) -> None:
        self._since = time.thread_time()

    def hire(self, on_cpu: bool, refused: int) -> list[int]:
        begun = []
        while len(self._there) < self._count - refused:
            self._begun += 1
            hand = self._hand(self._begun)
            dies = self._now + hand.lives * self._chance.expovariate(1.0)
            self._there[self._begun] = hand, dies
            begun.append(self._begun)
        return begun

    def ask(self, who: int, method: str, contents: list[bytes]) -> None:
        self._enter()
        link, (hand, dies) = self._link, self._there[who]
        size = sum(map(len, contents))
        self.spend(link.ask)
        self._sent = max(self._sent, self._now) + size / link.rate
        arrived = self._sent + link.way + hand.way + size / hand.rate
        if method == "prepare":
            content, takes = b"{}", BEGUN if who > self._count else 0.0
        else:
            blocks = len(json.loads(contents[0])["blocks"])
            takes = hand.each * blocks
            if self._chance.random() < hand.straggles:
                takes *= STRAGGLES
            content = answer(blocks, self._members, takes)
        back = arrived + takes + link.way + hand.way + len(content) / hand.rate
        heard, at = Heard(who, content), back
        if dies < arrived + takes:
            heard, at = Heard(who, None, "it has died"), max(dies + MISSED, self._now)
        self._waited_for += 1
        heapq.heappush(self._events, (at, self._waited_for, heard))
        self._leave()

    def hear(self, seconds: float) -> list[Heard]:
        self._enter()
        self.spend(self._link.pending * len(self._events))
        events, heard = self._events, []
        until = self._now + seconds
        if not events or self._ready() > until:
            self._now = until
        else:
            self._now = max(self._now, self._ready())
            while events and self._ready() <= self._now:
                self._received = self._ready()
                heard.append(heapq.heappop(events)[2])
            self.spend(self._link.hear * len(heard))
        self._leave()
        return heard

    def _ready(self) -> float:
        """-> when the next message is here, behind those before it."""
        at, _, heard = self._events[0]
        return max(at, self._received) + len(heard.content or b"") / self._link.rate

    def share(self, content: bytes) -> bytes:
        return content

    def dismiss(self, who: int) -> None:
        self._there.pop(who, None)


def simulated(
    count: int,
    shape: Shape,
    link: Link,
    hand: Callable[[int], Hand],
    generations: int,
    charged: bool = True,
) -> tuple[list[float], Crew]:
    """-> (the seconds of generations, when the workers have begun and been sent the state once,
    the account of the workers)."""
    there = Simulated(count, link, hand, shape.members, charged)
    slowest = max(hand(number).each for number in range(1, min(count, 100) + 1))
    alone = lambda blocks: there.spend(slowest * blocks)  # noqa: E731
    search = Search(there, b"{}", shape, alone, there.now)
    while len(search.crew.ready) < 0.99 * count:  # where many die some are always missing
        search.crew.tend()
        search.crew.hear(1.0)
    search.generation()
    search.crew.news()
    return [search.generation() for _ in range(generations)], search.crew
