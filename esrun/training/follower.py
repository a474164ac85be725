"""The inside of a worker: a run that is followed, generation after generation.

It begins with the run's state and goes on by being told what was seen of every block, from which it
makes the same update as everybody else, to the bit. The archive, which nothing of training reads,
is not kept here.
"""

import time
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from esrun.backend import everywhere
from esrun.config import imports
from esrun.config.check import checked
from esrun.training import wire
from esrun.training.build import build
from esrun.training.handshake import about, digest_of_row, filled, unlimited
from esrun.training.stop import stop_at
from esrun.types import TrainState


class Follower:
    """One search of a run, followed."""

    def __init__(self, order: dict[str, Any]):
        """`order`: as in `hiring.Order`. Raises ConfigError for what this process cannot do."""
        imports.allow(*order["imports"])
        self._run = build(checked(order["config"]), begins=False, least=order["least"])
        self._apart, self._seed = self._run.program.apart, np.uint32(self._run.config.seed)
        self.about = about(self._run)
        first = jax.eval_shape(self._run.program.init, self._run.hyper, self._seed)
        self._template = first
        self._nothing = self._apart.nothing(self._run.hyper, self._seed, first)
        there = len(self._apart.wanted(self._run.hyper))
        self._told = jax.tree.map(lambda x: x[:there], self._nothing)
        self._state: TrainState | None = None
        self._epoch, self._row = -1, ""

    def work(self, question: dict[str, Any], contents: Sequence[bytes]) -> bytes:
        """-> a message: what the `blocks` told that a question names [blocks, ...], with the
        `seconds` that it took and the `row` of the last generation that this worker was told of, as
        a digest. Where the question has a `level`, its `blocks` are subtrees of blocks, the last
        content is what all blocks were seen to tell, and the answer has the sums over them.

        The (other) `contents` lead to the question's `generation`: the state, where it is `whole`,
        or what was seen in the generations since. Raises ValueError where they lead elsewhere.
        """
        began, level = time.monotonic(), question["level"]
        contents, seen = (contents, None) if level is None else (contents[:-1], contents[-1])
        if question["whole"]:
            state = wire.unpacked(contents[0], self._template)
            self._state = everywhere.replicated(self._run.local_devices, state)
            self._epoch, self._row = question["epoch"], ""
        else:
            for content in contents:
                self._follow(content)
        state = self._state
        here = (self._epoch, state and int(state.generation))
        if state is None or here != (question["epoch"], question["generation"]):
            raise ValueError(f"this worker is at {here}, and not where the run is")
        search, blocks = (self._run.hyper, self._seed, state), question["blocks"]
        if seen is None:
            found = self._apart.seen(*search, blocks)
        else:
            all_seen = filled(self._nothing, wire.unpacked(seen, self._told))
            found = self._apart.summed(*search, all_seen, level, blocks)
        seconds = time.monotonic() - began
        return wire.packed({"seconds": seconds, "row": self._row}, found)

    def _follow(self, content: bytes) -> None:
        assert self._state is not None
        search, sums = (self._run.hyper, self._seed, self._state), None
        if wire.about(content).get("sums"):
            both = self._told, self._apart.shapes_of_sums(*search)
            seen, sums = wire.unpacked(content, both)
        else:
            seen = wire.unpacked(content, self._told)
        limits = stop_at(unlimited(self._run.config), 0)
        self._state, rows, done, _ = self._apart.told(
            *search, limits, filled(self._nothing, seen), sums
        )
        if int(done) != 1:
            raise ValueError("the run has ended, as far as this worker can tell")
        self._row = digest_of_row(rows)
