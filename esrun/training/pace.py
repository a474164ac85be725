"""How fast a run trains, and how many generations it does at a time."""

from collections.abc import Callable

from esrun.config.schema.run import Config
from esrun.training.program import CHUNK

SECONDS_PER_CHUNK = 1.0
"""Python looks at a run about this often."""

SHARE_OF_THE_REST = 0.5
"""The most of what is left of a time limit that a chunk may be expected to take: generations may
become longer while a policy learns to survive."""


def halt(config: Config, generation: int) -> int:
    """-> the first generation behind `generation` where a chunk has to end: the last one, one that
    is evaluated, or one whose policy is kept."""
    rhythms = (config.eval.every, config.policy.keep_every)
    marks = [(generation // every + 1) * every for every in rhythms if every]
    marks += [at for at in config.checkpoint.keep_at if at > generation]
    return min(config.generations, *marks)


def is_kept(config: Config, generation: int) -> bool:
    """Whether the mean policy that a generation leaves is kept."""
    every = config.policy.keep_every
    return generation in config.checkpoint.keep_at or bool(every and generation % every == 0)


class Pace:
    """How long training has taken, and how many generations make a chunk."""

    def __init__(self, earlier: float, clock: Callable[[], float], limit: float | None = None):
        """`earlier`: seconds that other processes have trained already; `limit`: those that all of
        them have."""
        self.seconds, self.length = earlier, 1
        self._earlier, self._clock, self._limit = earlier, clock, limit
        self._arrivals: list[tuple[float, int]] = []
        """(when, generations) of the latest chunks."""
        self._started: float | None = None

    def note(self, done: int) -> None:
        """A chunk of `done` generations has arrived. The first one's time counts as compiling."""
        now = self._clock()
        self._started = now if self._started is None else self._started
        # over two chunks: one that was done before it was asked for seems to have taken no time
        self._arrivals = [*self._arrivals[-2:], (now, done)]
        if (each := self._seconds_each()) is not None:
            wanted = int(SECONDS_PER_CHUNK / max(each, 1e-9))
            self.length = max(1, min(wanted, 4 * self.length, CHUNK))
        self.seconds = self._earlier + now - self._started

    def generations(self, in_flight: int) -> int:
        """-> how many the next chunk has, behind those that are `in_flight`; 0 where it is better
        to wait for them.

        Near a time limit chunks become shorter, and the last ones begin when all before them have
        ended: the limit is passed by one generation at most.
        """
        if self._limit is None or self._started is None:
            return self.length
        each = self._seconds_each()
        left = self._limit - (self._earlier + self._clock() - self._started)
        fitting = (
            int((left - in_flight * each) * SHARE_OF_THE_REST / max(each, 1e-9))
            if each is not None and left > 0
            else 0
        )
        return max(min(self.length, fitting), 0 if in_flight else 1)

    def _seconds_each(self) -> float | None:
        """-> what a generation takes, None while nothing can be said."""
        done = sum(count for _, count in self._arrivals[1:])
        return (self._arrivals[-1][0] - self._arrivals[0][0]) / done if done else None
