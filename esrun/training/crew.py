"""The workers of a run, seen from it: who is there, prepared, free, and how far it has followed.

How workers come to be and how bytes reach them is somebody else's (`Hiring`): Ray's or, in tests,
threads'.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from esrun.backend import memory
from esrun.training import wire
from esrun.training.hiring import Heard, Hiring, Later

TRIES = 3
"""How many workers may fail before one was ever ready: then no further one is begun."""


@dataclass
class Hand:
    """One worker."""

    met: bool = False
    """Whether it was ever ready."""
    preparing: bool = False
    ready: bool = False
    busy: bool = False
    order: bytes = b""
    """What it was prepared for."""
    at: tuple[int, int] | None = None
    """Epoch and generation that it has followed the run to."""


class Told(NamedTuple):
    """What a generation has told, as it is sent."""

    generation: int
    size: int
    content: Any


class Crew:
    """The workers, for one search after another."""

    def __init__(self, hiring: Hiring, now: Callable[[], float] = time.monotonic):
        """Nobody is there yet. `now`: the clock that all waiting goes by, in seconds."""
        self.hiring, self.now, self.hands = hiring, now, dict[int, Hand]()
        self.joined = self.lost = self.sent = self.received = self.states = 0
        """Since the beginning: workers that became ready, those of them that were lost, bytes, and
        states that were sent."""
        self.epoch, self.latest = 0, None
        """How often the run's state was another one than those before lead to, and the strategy's
        state that it has now."""
        self.waited_for = True
        """Whether nobody was ready yet for the present order."""
        self.began = 0.0
        """When this process was ready for that, by `now`."""
        self._order, self._about, self._on_cpu = b"", {}, True
        self._row = ((-1, -1), "")
        self._known = (0, 0, 0)
        self._failed = self._refused = 0
        self._told: list[Told] = []
        self._seen: Told | None = None
        self._whole: tuple[int, Later] | None = None

    def begin(self, order: bytes, about: Callable[[], dict[str, Any]], on_cpu: bool) -> None:
        """Prepare all for an order, unless they are. `about`: what workers must be."""
        self._on_cpu = on_cpu
        if order == self._order:
            return
        self._order, self.waited_for = order, True
        self.epoch, self.latest = self.epoch + 1, None
        for hand in self.hands.values():
            hand.ready = False
        self.tend()
        self._about = about()  # compiles, while the workers do
        self.began = self.now()

    def tend(self) -> None:
        """Have as many workers as are wanted, and those prepared that are not."""
        if self.joined or self._failed < TRIES:
            for who in self.hiring.hire(self._on_cpu, self._refused):
                self.hands[who] = Hand()
        for who, hand in self.hands.items():
            if not (hand.ready or hand.busy):
                hand.preparing = hand.busy = True
                hand.at, hand.order = None, self._order
                self._ask(who, "prepare", [self._order], 0)

    @property
    def ready(self) -> list[int]:
        """-> those who can work, or do."""
        return [who for who, hand in self.hands.items() if hand.ready]

    @property
    def free(self) -> list[int]:
        """-> those of them who have nothing to do."""
        return [who for who in self.ready if not self.hands[who].busy]

    @property
    def to_be_ready(self) -> bool:
        """Whether somebody is being prepared."""
        return any(hand.preparing for hand in self.hands.values())

    def follow(self, state: Any) -> None:
        """The run has a `state` that may be another one than those before lead to."""
        if state.strategy is not self.latest:
            self.epoch, self.latest, self._told = self.epoch + 1, state.strategy, []
        self._whole = None

    def seen(self, generation: int, seen: Any) -> None:
        """All blocks of a generation have told this; their sums are to be made."""
        self._seen = self._sent(generation, {}, seen)

    def _sent(self, generation: int, about: dict[str, Any], told: Any) -> Told:
        content = wire.packed(about, told)
        return Told(generation, len(content), self.hiring.share(content))

    def told(self, generation: int, seen: Any, state: Any, row: str, sums: Any = None) -> None:
        """A generation has seen this of its blocks, which leads to another `state`; `row`: the
        digest of its figures. Where there are `sums`, nobody else has to make them."""
        self._row = (self.epoch, generation + 1), row
        self.latest, self._whole = state.strategy, None
        behind = [hand.at[1] for hand in self.hands.values() if hand.at and self._follows(hand)]
        self._told = [one for one in self._told if behind and one.generation >= min(behind)]
        if behind:  # whoever has not followed is sent the state
            told = seen if sums is None else (seen, sums)
            self._told.append(self._sent(generation, {"sums": sums is not None}, told))
        most = memory.tree_bytes(state._replace(archive=None))
        while self._told and sum(one.size for one in self._told) > most:
            del self._told[0]

    def _follows(self, hand: Hand) -> bool:
        return hand.at is not None and hand.at[0] == self.epoch

    def work(self, who: int, blocks: list[int], state: Any, level: int | None = None) -> None:
        """Have a worker evaluate blocks of the generation that follows on the `state` or, where
        there is a `level`, add up subtrees of blocks of it, of which all were `seen`.

        It is sent what has been told since it followed, or the state, where that is less or where
        it has not followed.
        """
        hand, generation = self.hands[who], int(state.generation)
        whole = self._packed(state)
        there = hand.at if self._follows(hand) else None
        missing = [one for one in self._told if there and one.generation >= there[1]]
        follows = there is not None and len(missing) == generation - there[1]
        follows = follows and sum(one.size for one in missing) <= whole[0]
        question = {
            **{"generation": generation, "epoch": self.epoch},
            **{"blocks": blocks, "whole": not follows, "level": level},
        }
        self.states += not follows
        contents = [one.content for one in missing] if follows else [whole[1]()]
        size = sum(one.size for one in missing) if follows else whole[0]
        if level is not None:
            assert self._seen is not None
            contents, size = [*contents, self._seen.content], size + self._seen.size
        hand.busy, hand.at = True, (self.epoch, generation)
        self._ask(who, "work", [json.dumps(question).encode(), *contents], size)

    def _packed(self, state: Any) -> tuple[int, Later]:
        """-> the bytes of the state, about, and the state as it is sent."""
        if self._whole is None:
            own = state._replace(archive=None)
            content = Later(lambda: wire.packed({}, own), self.hiring.share)
            self._whole = memory.tree_bytes(own), content
        return self._whole

    def _ask(self, who: int, method: str, contents: list[Any], size: int) -> None:
        """Ask a worker; `size`: the bytes of what stands behind the first of the `contents`."""
        self.sent += len(contents[0]) + size
        self.hiring.ask(who, method, contents)

    def hear(self, seconds: float) -> list[Heard]:
        """-> what workers have answered to `work`, and who is lost."""
        before, answers = (self.joined, self.lost), []
        for one in self.hiring.hear(seconds):
            hand = self.hands.get(one.who)
            if hand is None:
                continue
            preparing, hand.preparing, hand.busy = hand.preparing, False, False
            if one.content is None:
                self._lose(one.who, one.why, hand)
                answers.append(one)
            elif preparing and hand.order != self._order:
                pass  # the run is at another search already
            elif preparing:
                self._meet(one.who, hand, json.loads(one.content))
            else:
                self.received += len(one.content)
                answers.append(one)
        self._say_who_changed(*before, [one.why for one in answers if one.content is None])
        return answers

    def news(self) -> tuple[int, int, int]:
        """-> workers that joined, that were lost, and bytes, since this was asked before."""
        before, self._known = self._known, (self.joined, self.lost, self.sent + self.received)
        joined, lost, moved = (x - y for x, y in zip(self._known, before, strict=True))
        return joined, lost, moved

    def _say_who_changed(self, joined: int, lost: int, why: list[str]) -> None:
        joined, lost = self.joined - joined, self.lost - lost
        parts = [f"{joined} joined"] * bool(joined) + [f"{lost} lost"] * bool(lost)
        if parts:
            reason = f": {why[-1]}" if lost and why and why[-1] else ""
            self.hiring.say(f"workers: {len(self.ready)} at work, {', '.join(parts)}{reason}")

    def _lose(self, who: int, why: str, hand: Hand) -> None:
        del self.hands[who]
        self.hiring.dismiss(who)
        if hand.met:
            self.lost += 1
            return
        self._failed += 1
        if not self.joined and self._failed == TRIES:
            self.hiring.say(f"warning: no worker can be begun: {why}")

    def _meet(self, who: int, hand: Hand, about: dict[str, Any]) -> None:
        wrong = about.get("refused")
        for name, mine in self._about.items():
            if wrong is None and about.get(name) != mine:
                wrong = f"{name} must be {mine}, as here, got {about.get(name)}"
        if wrong is not None:
            self.refuse(who, wrong)
            return
        self.joined += not hand.met
        hand.met = hand.ready = True
        self.waited_for = False

    def check(self, answer: Heard) -> bool:
        """Whether a worker that has followed makes the updates that the run makes; it is refused
        otherwise."""
        at, row = self._row
        told = wire.about(answer.content or b"")["row"]
        if self.hands[answer.who].at != at or told in ("", row):
            return True
        self.refuse(answer.who, "its updates have other bits than those of this process")
        return False

    def refuse(self, who: int, why: str) -> None:
        """End a worker that differs, and begin none in its place."""
        del self.hands[who]
        self.hiring.dismiss(who)
        self._refused += 1
        self.hiring.say(f"warning: a worker is refused: {why}")
