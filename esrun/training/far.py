"""Training where workers evaluate the blocks, which come and go: a chunk is generations one by one.

The driver holds the state, hands out blocks, and tells everybody what all of them have seen. Bits
depend on the blocks alone, so it matters to none of them who has done what, or how often. Where no
worker is there, or all are late, the driver works itself.
"""

import functools
import time
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
from esrun.training.handshake import about, digest_of_row, filled
from esrun.training.hiring import Hiring, Order
from esrun.training.ledger import Ledger, Pace
from esrun.training.program import CHUNK, Program
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
        self._apart, self._pace = run.program.apart, Pace()
        self._nothing: Any = None

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
        began, crew, generation = time.monotonic(), self._crew, int(state.generation)
        crew.follow(state)
        wanted = self._apart.wanted(hyper)
        work = Work(
            crew,
            Ledger(wanted, self._pace, self._run.config.runtime.worker_blocks),
            state,
            lambda blocks: self._apart.seen(hyper, seed, state, blocks),
            jax.tree.map(lambda x: x[: len(wanted)].copy(), self._nothing),
            self._apart.at_once,
        )
        seen, evaluated = work.done(), time.monotonic()
        state, rows, *_, reached = self._apart.told(
            hyper, seed, state, stop, filled(self._nothing, seen)
        )
        row = {name: np.asarray(column)[0] for name, column in rows.items()}
        crew.told(generation, seen, state, digest_of_row(rows))
        joined, lost, moved = crew.news()
        row |= {
            "workers": np.int32(len(crew.ready)),
            "workers_joined": np.int32(joined),
            "workers_lost": np.int32(lost),
            "blocks_twice": np.int32(work.ledger.twice),
            "engine_ms": np.float64(1e3 * (evaluated - began - work.busiest)),
            "engine_bytes": np.int64(moved),
        }
        return state, row, reached


class Work:
    """The blocks of one generation on their way."""

    def __init__(
        self,
        crew: Crew,
        ledger: Ledger,
        state: TrainState,
        see: Callable[[list[int]], Any],
        seen: Any,
        most: int,
    ):
        """`see`: the driver's own evaluation of blocks, at `most` so many at a time; `seen`
        [blocks, ...]: to be filled."""
        self.crew, self.ledger = crew, ledger
        self._state, self._see, self._seen, self._most = state, see, seen, most
        self._seconds: dict[Any, float] = {}

    @property
    def busiest(self) -> float:
        """-> the most seconds that anybody has worked."""
        return max(self._seconds.values(), default=0.0)

    def done(self) -> Any:
        """-> what all blocks have told, [blocks, ...] each."""
        crew, ledger = self.crew, self.ledger
        while not ledger.over:
            crew.tend()
            hands = len(crew.ready) - ledger.late(crew.now())
            for who in crew.free:
                blocks = ledger.give(who, hands, crew.now())
                if not blocks:
                    break  # nor is there anything for another one
                crew.work(who, blocks, self._state)
            alone = not ledger.at_work and not self._waits()
            if alone:
                self._work()
            for answer in crew.hear(0.0 if alone else LOOK):
                self._take(answer)
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
