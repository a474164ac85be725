"""The blocks of a generation on their way to workers and back."""

from collections.abc import Callable
from typing import Any

import jax

from esrun.training import wire
from esrun.training.crew import Crew
from esrun.training.ledger import Ledger

PATIENCE = 60.0
"""Seconds for which the first worker is waited for, before the driver begins by itself."""
LOOK = 0.1
"""Seconds after which it is looked again who is late."""
SELF = "driver"


class Work:
    """The blocks of one generation on their way, or subtrees of them."""

    def __init__(
        self,
        crew: Crew,
        ledger: Ledger,
        ask: Callable[[int, list[int]], None],
        see: Callable[[list[int]], Any],
        seen: Any,
        most: int,
    ):
        """`ask` has a worker do blocks; `see`: the driver's own doing of them, at `most` so many at
        a time; `seen` [blocks, ...]: to be filled."""
        self.crew, self.ledger = crew, ledger
        self._ask, self._see, self._seen, self._most = ask, see, seen, most
        self._seconds: dict[Any, float] = {}
        self._took = 0.0

    @property
    def busiest(self) -> float:
        """-> the most seconds that anybody has worked."""
        return max(self._seconds.values(), default=0.0)

    @property
    def who(self) -> set:
        """-> those who have answered."""
        return {*self._seconds}

    @property
    def idle(self) -> float:
        """-> the seconds in which nobody has worked."""
        return self._took - self.busiest

    def done(self) -> Any:
        """-> what all blocks have told, [blocks, ...] each."""
        crew, ledger, began = self.crew, self.ledger, self.crew.now()
        while not ledger.over:
            crew.tend()
            hands = len(crew.ready) - ledger.late(crew.now())
            for who in crew.free:
                blocks = ledger.give(who, hands, crew.now())
                if not blocks:
                    break  # nor is there anything for another one
                self._ask(who, blocks)
            alone = not ledger.at_work and not self._waits()
            if alone:
                self._work()
            for answer in crew.hear(0.0 if alone else LOOK):
                self._take(answer)
        self._took = crew.now() - began
        return self._seen

    def _waits(self) -> bool:
        """Whether it is better to wait for the first worker."""
        begins = self.crew.waited_for and self.crew.to_be_ready
        return begins and self.crew.now() - self.crew.began < PATIENCE

    def _work(self) -> None:
        began = self.crew.now()
        if blocks := self.ledger.give(SELF, 1, began, self._most):
            self._note(SELF, self._see(blocks), self.crew.now() - began)

    def _take(self, answer: Any) -> None:
        if answer.content is None:
            self.ledger.lost(answer.who)
        elif not self.ledger.holds(answer.who):  # of an earlier generation
            self.crew.check(answer)
        elif self.crew.check(answer):
            template = jax.tree.map(lambda x: x[: self.ledger.holds(answer.who)], self._seen)
            seen = wire.unpacked(answer.content, template)
            self._note(answer.who, seen, wire.about(answer.content)["seconds"])
        else:
            self.ledger.lost(answer.who)

    def _note(self, who: Any, seen: Any, seconds: float) -> None:
        self._seconds[who] = self._seconds.get(who, 0.0) + seconds
        for place, block in self.ledger.done(who, self.crew.now()):
            jax.tree.map(lambda all, x: all.__setitem__(block, x[place]), self._seen, seen)  # noqa: B023
