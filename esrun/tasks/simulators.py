"""Environments that are stepped outside of the compiled program, by worker processes.

A set of episodes goes in lockstep: the policy acts for all of them at once, always the same number,
and each worker steps its part. So what the policies compute does not depend on how many workers
there are, and an episode depends on its seed and its actions alone. One that was lost with its
worker is played again.
"""

from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple

import numpy as np

from esrun.backend.workers import LostError, Workers
from esrun.tasks.stepping import FAILED, RESET, STEP, layout, unpacked
from esrun.types import PyTree

SETS = 2
"""Sets of episodes that are under way: while workers step one, the policy acts in the other."""

TRIES = 10
"""How often workers may die before any set of episodes has come to its end: a run then gives up."""

MODULE = "esrun.tasks.stepping"


Paid = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(rewards, whether each step ended its episode) -> rewards, [k] each."""


class Simulators(NamedTuple):
    """How a task's environments are stepped."""

    order: dict[str, Any]
    """What a worker needs to make them, in plain data."""
    observation: Any
    action: Any
    """gymnasium's spaces."""
    assembled: Callable[[list[np.ndarray]], PyTree]
    """Parts of observations, [k, ...] each -> observations."""
    length: int
    """Most steps of an episode."""
    paid: Paid | None
    """What training pays, where that is not what the environment does."""


class Played(NamedTuple):
    """Episodes [k] at their end."""

    totals: np.ndarray  # [k] float64
    steps: np.ndarray  # [k]
    terminated: np.ndarray  # [k] bool; those that are not were cut at their length
    memory: Any
    """What `act` has kept."""


class Pool:
    """Workers that step a task's environments."""

    def __init__(self, simulators: Simulators, count: int):
        """`count` workers."""
        self.simulators = simulators
        self.workers = Workers(MODULE, simulators.order, count)
        self._seen, self._acts = layout(simulators.observation), layout(simulators.action)
        self._lives = 0
        """Of the workers, when a set of episodes came to its end."""

    def play(
        self,
        number: int,
        seeds: np.ndarray,
        real: np.ndarray,
        act: Callable,
        paid: Paid | None = None,
    ) -> Generator[None, None, Played]:
        """A generator that yields while workers are busy -> the episodes of the `seeds` [k] at
        their end, as set `number`; those that are not `real` [k] are padding.

        `act`: (observations, alive [k], what it has kept or None) -> (actions [k, ...], what it
        keeps). Without `paid` rewards are those of the environment. Raises RuntimeError where
        workers die again and again, or fail.
        """
        while True:
            try:
                played = yield from self._play(number, seeds, real, act, paid)
            except LostError:
                if self.workers.lives - self._lives >= TRIES:
                    said = self.workers.complaint
                    raise RuntimeError(
                        f"the processes that step {self.simulators.order['env']} died {TRIES} "
                        f"times{': ' * bool(said)}{said}"
                    ) from None
            else:
                self._lives = self.workers.lives
                return played

    def _play(
        self, number: int, seeds: np.ndarray, real: np.ndarray, act: Callable, paid: Paid | None
    ) -> Generator[None, None, Played]:
        k, sim = len(seeds), self.simulators
        shares = [x for x in np.array_split(np.arange(k), self.workers.count) if len(x)]
        mark = bytes([number])
        self.workers.ask([RESET + mark + seeds[own].tobytes() for own in shares])
        lives = self.workers.lives
        yield
        self._same(lives)
        observations, _ = self._answered(mark, shares, 0)
        alive, terminated = real.copy(), np.zeros(k, bool)
        totals, steps, memory = np.zeros(k), np.zeros(k, np.int64), None
        for _ in range(sim.length):
            actions, memory = act(sim.assembled(observations), alive, memory)
            self._same(lives)
            content = [alive[own].tobytes() + self._as_sent(actions[own]) for own in shares]
            self.workers.ask([STEP + mark + x for x in content])
            yield
            self._same(lives)
            observations, (rewards, ends) = self._answered(mark, shares, 8 + 2)
            ended = ends.any(axis=1)
            rewards = paid(rewards, ends[:, 0]) if paid else rewards
            totals += np.where(alive, rewards, 0)
            steps += alive
            terminated |= alive & ends[:, 0]
            alive &= ~ended
            if not alive.any():
                break
        return Played(totals, steps, terminated, memory)

    def _same(self, lives: int) -> None:
        """Raise LostError where the workers are others than those that were asked."""
        if self.workers.lives != lives:
            raise LostError

    def _as_sent(self, actions: np.ndarray) -> bytes:
        (kind, _), *_ = self._acts
        return np.ascontiguousarray(actions, kind).tobytes()

    def _answered(
        self, mark: bytes, shares: list[np.ndarray], outcome: int
    ) -> tuple[list[np.ndarray], Any]:
        """-> (parts of the observations, (rewards, ends) where there are any); `outcome`: the bytes
        that these have for each episode."""
        parts, outcomes = [], []
        for own, answer in zip(shares, self.workers.answers(len(shares)), strict=True):
            if answer[:1] == FAILED:
                self.workers.close()
                raise RuntimeError(
                    f"{self.simulators.order['env']} cannot be stepped: {answer[2:].decode()}"
                )
            assert answer[1:2] == mark, "an answer to another set's question"
            k, at = len(own), 2
            if outcome:
                rewards = np.frombuffer(answer, float, k, at)
                ends = np.frombuffer(answer, bool, 2 * k, at + 8 * k).reshape(k, 2)
                outcomes.append((rewards, ends))
                at += outcome * k
            parts.append(unpacked(self._seen, k, answer[at:]))
        joined = [np.concatenate(x) for x in zip(*parts, strict=True)]
        return joined, [np.concatenate(x) for x in zip(*outcomes, strict=True)]


def together(pieces: Iterable[Callable[[int], Generator[None, None, Any]]]) -> list[Any]:
    """-> the results of generators that are made as they come to their turn, each given the number
    of its set; SETS of them take turns."""
    waiting, results, running = enumerate(pieces), {}, {}
    free = list(range(SETS))
    while True:
        while free:
            following = next(waiting, None)
            if following is None:
                break
            number = free.pop(0)
            running[number] = (following[0], following[1](number))
        if not running:
            return [results[i] for i in sorted(results)]
        for number, (i, piece) in [*running.items()]:
            try:
                next(piece)
            except StopIteration as done:
                results[i] = done.value
                del running[number]
                free.append(number)
