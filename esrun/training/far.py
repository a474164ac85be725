"""Training where workers evaluate the blocks, which come and go: a chunk is generations one by one.

The driver holds the state, hands out blocks, and tells everybody what all of them have seen. Bits
depend on the blocks alone, so it matters to none of them who has done what, or how often. Where no
worker is there, or all are late, the driver works itself.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from esrun import files
from esrun.backend import devices
from esrun.config import imports
from esrun.config.schema.run import Config
from esrun.training import wire
from esrun.training.crew import Crew
from esrun.training.generation import Seen
from esrun.training.handshake import about, digest_of_row, filled
from esrun.training.hiring import Hiring, Order
from esrun.training.ledger import Ledger, Pace
from esrun.training.program import CHUNK, Program
from esrun.training.sharing import Sharing
from esrun.types import TrainState

PATIENCE = 60.0
"""Seconds for which the first worker is waited for, before the driver begins by itself."""
LOOK = 0.1
"""Seconds after which it is looked again who is late."""
SELF = "driver"


@functools.cache
def crew_of(hiring: Hiring) -> Crew:
    """-> the workers from there, the same ones for every search."""
    return Crew(hiring)


def over_workers(run: Any, least: int | None, hiring: Hiring) -> Program:
    """-> the program of a `training.build.Run` whose blocks workers evaluate; `least` as in
    `build`."""
    driver = Driver(run, ordered(run.config, least), crew_of(hiring))
    return run.program._replace(
        advance=driver.advance,
        evaluate=driver.evaluate,
        plan=run.program.apart.planned,
        prepare=lambda *arguments: driver.begin(),
        prepare_advance=None,
    )


def ordered(config: Config, least: int | None) -> Order:
    """-> what a worker is told of a configuration: what decides the bits."""
    told = config.model_dump()
    told |= {"logger": {}, "resume": None}
    told["archive"] |= {"top_k": 0}
    told["runtime"] |= {"devices": "auto", "engine": "local", "driver": "here", "hosts": None}
    told["runtime"] |= {"workers": 1}  # of processes that step its environments: it has a core
    told["policy"] |= {"start": None}  # the state says it
    if told["task"].get("file"):  # a worker may stand elsewhere
        told["task"] |= {"file": str(files.named(told["task"]["file"]))}
    return Order(told, least, imports.allowed())


class Driver:
    """One search, whose blocks others evaluate."""

    def __init__(self, run: Any, order: Order, crew: Crew):
        """`run`: of one process."""
        self._run, self._order, self._crew = run, order.content, crew
        self._apart, self._pace, self._pace_of_sums = run.program.apart, Pace(), Pace()
        self._nothing: Any = None
        self.sharing = Sharing()

    def begin(self) -> None:
        """Have workers prepared, and what this process needs of its own."""
        on_cpu = devices.on_cpu(self._run.local_devices)
        self._crew.begin(self._order, lambda: about(self._run), on_cpu)

    def evaluate(self, hyper: Any, seed: Any, state: TrainState) -> tuple:
        """As the program of one process does; the state stays the one that workers follow."""
        after, *told = self._run.program.evaluate(hyper, seed, state)
        return state._replace(held_out=after.held_out), *told

    def advance(self, hyper: Any, seed: Any, state: TrainState, stop: Any) -> tuple:
        """As in `Program`."""
        self.begin()
        if self._nothing is None:
            self._nothing = self._apart.nothing(hyper, seed, state)
        reached, rows = self._apart.reached(hyper, seed, state, stop, self._nothing), []
        while not reached.held() and len(rows) < CHUNK:
            if int(state.generation) >= int(stop.generation):
                break
            state, row, reached = self._generation(hyper, seed, state, stop)
            rows.append(row)
        columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]} if rows else {}
        return state, columns, np.int32(len(rows)), reached

    def _generation(self, hyper: Any, seed: Any, state: TrainState, stop: Any) -> tuple:
        began, crew, search = self._crew.now(), self._crew, (hyper, seed, state)
        crew.follow(state)
        works = [self._evaluating(*search)]
        seen, sums = works[0].done(), None
        all_seen = filled(self._nothing, seen)
        level = self._level(hyper)
        if level is not None:
            crew.seen(int(state.generation), seen)
            works.append(self._adding(*search, all_seen, level))
            sums = self._apart.together(works[1].done())
        heard = crew.now()
        after, rows, *_, reached = self._apart.told(*search, stop, all_seen, sums)
        row = {name: np.asarray(column)[0] for name, column in rows.items()}
        crew.told(int(state.generation), seen, after, digest_of_row(rows), sums)
        ended = crew.now()
        self.sharing.note(
            sums is not None, ended - began, ended - heard if sums is None else works[-1].idle
        )
        joined, lost, moved = crew.news()
        row |= {
            "workers": np.int32(len(crew.ready)),
            "workers_joined": np.int32(joined),
            "workers_lost": np.int32(lost),
            "blocks_twice": np.int32(sum(work.ledger.twice for work in works)),
            "sums_shared": np.int32(sums is not None),
            "engine_ms": np.float64(1e3 * (heard - began - sum(work.busiest for work in works))),
            "engine_bytes": np.int64(moved),
        }
        return after, row, reached

    def _evaluating(self, *search: Any) -> "Work":
        """-> the blocks of the generation that follows on the state."""
        crew, wanted = self._crew, self._apart.wanted(search[0])
        return Work(
            crew,
            Ledger(wanted, self._pace, self._run.config.runtime.worker_blocks),
            lambda who, blocks: crew.work(who, blocks, search[-1]),
            lambda blocks: self._apart.seen(*search, blocks),
            jax.tree.map(lambda x: x[: len(wanted)].copy(), self._nothing),
            self._apart.at_once,
        )

    def _level(self, hyper: Any) -> int | None:
        """-> the level of the subtrees that workers add up; None where everybody adds up all."""
        hands = len(self._crew.ready)
        return self._apart.level(hyper, hands) if self.sharing.shares(hands) else None

    def _adding(self, hyper: Any, seed: Any, state: TrainState, seen: Seen, level: int) -> "Work":
        """-> the sums over all blocks, which were `seen`."""
        crew, search = self._crew, (hyper, seed, state)
        count = -(-len(seen.fitness) // 2**level)
        return Work(
            crew,
            Ledger(range(count), self._pace_of_sums, 1),
            lambda who, numbers: crew.work(who, numbers, state, level),
            lambda numbers: self._apart.summed(*search, seen, level, numbers),
            self._apart.no_sums(*search, count),
            1,
        )


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
