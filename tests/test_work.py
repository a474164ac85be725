"""The blocks of a generation on their way: workers that answer, die, or fall silent, and the run's
own process where nobody else is there. No program is compiled."""

import functools
import json
from collections import namedtuple

import numpy as np
import pytest
from test_crew import ABOUT, Paper, state

from esrun.training import wire
from esrun.training.crew import Crew
from esrun.training.hiring import Heard
from esrun.training.ledger import Ledger, Pace
from esrun.training.work import Work

Told = namedtuple("Told", "fitness steps")
BLOCKS = 12


def seen_of(blocks):
    """-> what blocks tell: their own numbers."""
    numbers = np.asarray(blocks, np.float32)
    return Told(np.stack([numbers, numbers + 0.5], 1), numbers.astype(np.int32))


class Acting(Paper):
    """Workers that answer at once, but for those that are `silent`, and those that die `after` so
    many answers."""

    def __init__(self, count, silent=(), after=10**6):
        super().__init__(count)
        self._silent, self._after, self._given = silent, after, {}

    def ask(self, who, method, contents):
        super().ask(who, method, contents)
        if method == "prepare":
            self.ready(who)
        elif self._given.setdefault(who, 0) >= self._after:
            self.lost(who)
        elif who not in self._silent:
            self._given[who] += 1
            seen = seen_of(json.loads(contents[0])["blocks"])
            self.answers.append(Heard(who, wire.packed({"seconds": 0.01, "row": ""}, seen)))


def work(hiring, pace=None):
    """-> (what all blocks told, the work, the blocks that the run's own process did)."""
    crew, own = Crew(hiring), []
    crew.begin(b"order", lambda: ABOUT, True)
    first = state(0)
    crew.follow(first)

    def see(blocks):
        own.extend(blocks)
        return seen_of(blocks)

    nothing = Told(np.full((BLOCKS, 2), np.nan, np.float32), np.zeros(BLOCKS, np.int32))
    ask = functools.partial(crew.work, state=first)
    one = Work(crew, Ledger(range(BLOCKS), pace or Pace()), ask, see, nothing, 2)
    return one.done(), one, own


def whole(seen):
    """Whether every block has told what it had to tell, in its place."""
    return all(np.array_equal(a, b) for a, b in zip(seen, seen_of(range(BLOCKS)), strict=True))


def known():
    """-> the pace of blocks that take a hundredth of a second."""
    pace = Pace()
    pace.note(1, 0.01)
    return pace


def test_workers_do_all_of_it():
    seen, one, own = work(Acting(3))
    assert (whole(seen), own, one.ledger.twice) == (True, [], 0)
    assert one.busiest > 0


def test_those_that_die_are_replaced_and_nothing_is_lost():
    seen, one, own = work(Acting(2, after=1))
    assert whole(seen)
    assert one.crew.lost > 0
    assert len(own) < BLOCKS  # some, in the moments when nobody was ready


def test_without_workers_the_run_works_itself():
    seen, _, own = work(Acting(0))
    assert (whole(seen), sorted(own)) == (True, list(range(BLOCKS)))


def test_what_a_silent_worker_holds_is_done_by_another():
    seen, one, own = work(Acting(2, silent={1}), known())
    assert (whole(seen), own) == (True, [])
    assert one.ledger.twice > 0


def test_where_all_are_silent_the_run_works_itself():
    seen, one, own = work(Acting(2, silent={1, 2}), known())
    assert whole(seen)
    assert sorted(own) == list(range(BLOCKS))
    assert one.ledger.twice > 0


@pytest.mark.parametrize("patience", [0.0, 60.0])
def test_the_first_worker_is_waited_for_but_not_for_ever(monkeypatch, patience):
    monkeypatch.setattr("esrun.training.work.PATIENCE", patience)
    hiring = Acting(1)
    late = []

    def ready(who, **other):  # it says so when it has been asked for three times
        late.append(who)

    def hear(seconds):
        if len(late) in (1, 2):
            late.append(None)
        elif len(late) == 3:
            late.append(None)
            Paper.ready(hiring, late[0])
        return Paper.hear(hiring, seconds)

    monkeypatch.setattr(hiring, "ready", ready)
    monkeypatch.setattr(hiring, "hear", hear)
    seen, _, own = work(hiring)
    assert whole(seen)
    assert bool(own) == (patience == 0)
