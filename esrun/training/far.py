"""Training where workers evaluate the blocks, which come and go: a chunk is generations one by one.

The driver holds the state, hands out blocks, and tells everybody what all of them have seen. Bits
depend on the blocks alone, so it matters to none of them who has done what, or how often. Where no
worker is there, or all are late, the driver works itself.
"""

import functools
import math
from typing import Any

import jax
import numpy as np

from esrun import files
from esrun.backend import devices, machine, memory
from esrun.config import imports
from esrun.config.schema.run import Config
from esrun.training.apart import zeros
from esrun.training.crew import Crew
from esrun.training.generation import Seen
from esrun.training.handshake import about, digest_of_row, filled
from esrun.training.hiring import Hiring, Order
from esrun.training.ledger import Ledger, Pace
from esrun.training.one_by_one import one_by_one
from esrun.training.program import Program
from esrun.training.sharing import Sharing
from esrun.training.work import Work
from esrun.types import PyTree, TrainState

ADDED = 0.25
"""Of the memory that is free: what the sums of all subtrees may take."""


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
        self.sharing, self._believed = Sharing(), set()

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
        reached = self._apart.reached(hyper, seed, state, stop, self._nothing)
        return one_by_one(
            state, stop, reached, lambda state: self._generation(hyper, seed, state, stop)
        )

    def _generation(self, hyper: Any, seed: Any, state: TrainState, stop: Any) -> tuple:
        began, crew, search = self._crew.now(), self._crew, (hyper, seed, state)
        crew.follow(state)
        works = [self._evaluating(*search)]
        seen, sums, added_up = works[0].done(), None, set()
        all_seen = filled(self._nothing, seen)
        level = self._level(*search)
        if level is not None:
            crew.seen(int(state.generation), seen)
            works.append(self._adding(*search, all_seen, level))
            sums, added_up = self._apart.together(works[1].done()), works[1].who
        heard = crew.now()
        told, sums = self._told(search, stop, all_seen, sums, added_up)
        after, rows, *_, reached = told
        row = {name: np.asarray(column)[0] for name, column in rows.items()}
        crew.told(int(state.generation), seen, after, digest_of_row(rows), sums)
        ended, hands = crew.now(), len(crew.ready)
        part = ended - heard if sums is None else works[1].idle
        self.sharing.note(sums is not None, hands, ended - began, part)
        joined, lost, moved = crew.news()
        row |= {
            "workers": np.int32(hands),
            "workers_joined": np.int32(joined),
            "workers_lost": np.int32(lost),
            "blocks_twice": np.int32(sum(work.ledger.twice for work in works)),
            "sums_shared": np.int32(sums is not None),
            "engine_ms": np.float64(1e3 * (heard - began - sum(work.busiest for work in works))),
            "engine_bytes": np.int64(moved),
        }
        return after, row, reached

    def _evaluating(self, *search: Any) -> Work:
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

    def _level(self, hyper: Any, seed: Any, state: TrainState) -> int | None:
        """-> the level of the subtrees that workers add up; None where everybody adds up all."""
        hands = len(self._crew.ready)
        level = self._apart.level(hyper, hands) if self.sharing.shares(hands) else None
        if level is None:
            return None
        one = memory.tree_bytes(self._apart.shapes_of_sums(hyper, seed, state))
        free = machine.available(), memory.free_of_each(self._run.local_devices)
        fits = one * self._subtrees(hyper, level) < ADDED * min(x or math.inf for x in free)
        return level if fits else None

    def _subtrees(self, hyper: Any, level: int) -> int:
        return -(-self._apart.blocks(hyper).count // 2**level)

    def _told(
        self, search: tuple, stop: Any, seen: Seen, sums: PyTree, who: set
    ) -> tuple[tuple, PyTree]:
        """-> (what `Apart.told` returns, the sums that it was told). Where somebody has helped to
        make `sums` for the first time, and they lead elsewhere than this process's own, they are
        None, and not shared any more."""
        told = self._apart.told(*search, stop, seen, sums)
        if who <= self._believed:
            return told, sums
        own = self._apart.told(*search, stop, seen)
        pairs = zip(
            *(jax.tree.leaves(x[0]._replace(archive=None)) for x in (told, own)), strict=True
        )
        if all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs):
            self._believed |= who
            return told, sums
        self.sharing.never = True
        self._crew.hiring.say(
            "warning: sums that workers have made have other bits than those of this process: "
            "everybody makes all of them"
        )
        return own, None

    def _adding(self, hyper: Any, seed: Any, state: TrainState, seen: Seen, level: int) -> Work:
        """-> the sums over all blocks, which were `seen`."""
        crew, search = self._crew, (hyper, seed, state)
        count = self._subtrees(hyper, level)
        return Work(
            crew,
            Ledger(range(count), self._pace_of_sums, 1),
            lambda who, numbers: crew.work(who, numbers, state, level),
            lambda numbers: self._apart.summed(*search, seen, level, numbers),
            zeros(self._apart.shapes_of_sums(*search), count),
            1,
        )
