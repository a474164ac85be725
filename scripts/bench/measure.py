"""How things are timed, whatever they are.

The sides of a comparison take turns in one run, A B A B: a first call (tracing, compiling and
running), a call to warm up, then the counted rounds, more of them
where they are short. Figures are medians; a comparison is the ratio
of medians with the range of the ratios of single rounds.
"""

import statistics
import time
from typing import Any, NamedTuple

PAUSE = 0.05
"""Seconds between two turns, in which the threads of the last one fall asleep."""

BRIEF, OFTEN = 0.05, 10
"""Seconds of a round below which chance is a good part of it, and how many times as many rounds
then are counted."""


class Options(NamedTuple):
    """What the command line says."""

    generations: int | None
    """Generations in a round; None: the case's own number."""
    rounds: int
    limit: float
    """Seconds: a side whose warm-up takes longer is not repeated."""
    quick: bool
    populations: tuple[int, ...] | None
    episodes: int | None
    functions: tuple[str, ...] | None

    def size(self, full, quick):
        """-> `full`, or `quick` for a test of the script."""
        return quick if self.quick else full

    def in_round(self, generations: int) -> int:
        """-> the generations of a round, `generations` unless the command line says otherwise."""
        return self.generations or self.size(generations, min(generations, 2))


class Table(NamedTuple):
    """The figures of a case: every row a dict of columns, lists in it (raw seconds) being for the
    JSON alone."""

    title: str
    notes: list[str]
    rows: list[dict]


class Timing(NamedTuple):
    """One side's figures, in seconds."""

    first: float
    seconds: list[float]

    @property
    def median(self) -> float:
        """The median of the counted rounds."""
        return statistics.median(self.seconds)


def in_turn(sides: dict, options: Options) -> dict[Any, Timing]:
    """-> the timing of every side, each a function (first?) -> the seconds that it took."""
    firsts = {name: side(True) for name, side in sides.items()}
    warm = {name: side(False) for name, side in sides.items()}
    slow = {name for name, seconds in warm.items() if seconds > options.limit}
    if max(warm.values()) < BRIEF and not options.quick:
        options = options._replace(rounds=OFTEN * options.rounds)
    rounds = counted({name: side for name, side in sides.items() if name not in slow}, options)
    return {name: Timing(firsts[name], rounds.get(name, [warm[name]])) for name in sides}


def counted(sides: dict, options: Options) -> dict[Any, list[float]]:
    """-> the seconds of every side's rounds, without a first call."""
    seconds = {name: [] for name in sides}
    for _ in range(options.rounds):
        for name, side in sides.items():
            time.sleep(PAUSE)
            seconds[name].append(side(False))
    return seconds


def ratio(slower: Timing, faster: Timing, scale: float = 1.0) -> dict[str, float]:
    """-> how many times longer `slower` takes, for equal work after multiplying by `scale`."""
    pairs = [scale * a / b for a, b in zip(slower.seconds, faster.seconds, strict=False)]
    return {"median": scale * slower.median / faster.median, "min": min(pairs), "max": max(pairs)}
