"""Who is there and what they are sent: the account of the workers, with workers of paper."""

import json
from collections import namedtuple

import numpy as np

from esrun.training import wire
from esrun.training.crew import TRIES, Crew
from esrun.training.hiring import Heard

Strategy = namedtuple("Strategy", "mean")
State = namedtuple("State", "generation strategy archive")
ABOUT = {"jax": "1", "probe": "abc"}


class Paper:
    """Workers that do nothing but what a test says for them."""

    def __init__(self, count):
        self.said, self.asked, self.answers, self.gone = [], [], [], []
        self.say, self._count, self._begun, self.there = self.said.append, count, 0, set()

    def hire(self, on_cpu, refused):
        begun = []
        while len(self.there) < self._count - refused:
            self._begun += 1
            self.there.add(self._begun)
            begun.append(self._begun)
        return begun

    def ask(self, who, method, contents):
        self.asked.append((who, method, contents))

    def hear(self, seconds):
        answers, self.answers = self.answers, []
        return answers

    def share(self, content):
        return content

    def dismiss(self, who):
        self.there.discard(who)
        self.gone.append(who)

    def ready(self, who, **other):
        self.answers.append(Heard(who, json.dumps(ABOUT | other).encode()))

    def answered(self, who, row=""):
        self.answers.append(Heard(who, wire.packed({"seconds": 1, "row": row})))

    def lost(self, who):
        self.answers.append(Heard(who, None, "it was killed"))


def begun(count, order=b"first"):
    """-> (workers, a crew that has asked them to prepare)."""
    paper = Paper(count)
    crew = Crew(paper)
    crew.begin(order, lambda: ABOUT, True)
    return paper, crew


def state(generation, numbers=1000):
    return State(np.int32(generation), Strategy(np.zeros(numbers)), None)


def told(crew, generation, after, row="r", members=4):
    crew.told(generation, np.zeros(members, np.float32), after, row)


def question(paper):
    """-> what was asked last, and how many contents lead there."""
    who, method, (first, *contents) = paper.asked[-1]
    assert method == "work"
    return who, json.loads(first), len(contents)


def test_workers_are_free_when_they_say_that_they_are_ready():
    paper, crew = begun(2)
    assert [method for _, method, _ in paper.asked] == ["prepare", "prepare"]
    assert (crew.free, crew.waited_for) == ([], True)
    paper.ready(2)
    assert crew.hear(0) == []
    assert (crew.free, crew.joined, crew.waited_for) == ([2], 1, False)
    assert paper.said == ["workers: 1 at work, 1 joined"]


def test_who_joins_gets_the_state_and_who_follows_what_was_told():
    paper, crew = begun(2)
    paper.ready(1)
    crew.hear(0)
    first, second, third = state(0), state(1), state(2)
    crew.follow(first)
    crew.work(1, [0, 1], first)
    who, asked, contents = question(paper)
    assert (who, asked["whole"], asked["generation"], contents) == (1, True, 0, 1)
    paper.answered(1)
    (answer,) = crew.hear(0)
    assert crew.check(answer)
    told(crew, 0, second)
    told(crew, 1, third)
    crew.follow(third)
    crew.work(1, [0], third)
    _, asked, contents = question(paper)
    assert (asked["whole"], asked["generation"], contents) == (False, 2, 2)
    paper.ready(2)
    crew.hear(0)
    crew.work(2, [1], third)
    assert question(paper)[1]["whole"]
    assert crew.states == 2


def test_a_state_that_is_less_than_what_was_told_travels_itself():
    paper, crew = begun(1)
    paper.ready(1)
    crew.hear(0)
    first, second = state(0, 3), state(1, 3)
    crew.follow(first)
    crew.work(1, [0], first)
    paper.answered(1)
    crew.hear(0)
    told(crew, 0, second, members=10**4)
    crew.work(1, [0], second)
    assert question(paper)[1]["whole"]


def test_a_state_from_elsewhere_is_sent_to_everybody():
    paper, crew = begun(1)
    paper.ready(1)
    crew.hear(0)
    first, second, other = state(0), state(1), state(1)
    crew.follow(first)
    crew.work(1, [0], first)
    paper.answered(1)
    crew.hear(0)
    told(crew, 0, second)
    crew.follow(other)
    crew.work(1, [0], other)
    assert question(paper)[1]["whole"]


def test_bytes_are_those_of_what_was_sent_and_heard():
    paper, crew = begun(1)
    paper.ready(1)
    crew.hear(0)
    before, first = crew.sent, state(0)
    crew.follow(first)
    crew.work(1, [0], first)
    _, _, contents = paper.asked[-1]
    whole = sum(map(len, contents))
    assert 0 <= whole - (crew.sent - before) < 300  # but for the header of the state's message
    paper.answered(1)
    (answer,) = crew.hear(0)
    assert crew.received == len(answer.content)


def test_the_lost_are_named_and_others_begun():
    paper, crew = begun(1)
    paper.ready(1)
    crew.hear(0)
    paper.lost(1)
    assert [x.content for x in crew.hear(0)] == [None]
    assert (crew.lost, crew.ready, paper.gone) == (1, [], [1])
    assert paper.said[-1] == "workers: 0 at work, 1 lost: it was killed"
    crew.tend()
    assert list(crew.hands) == [2]
    assert not crew.waited_for  # the run goes on meanwhile


def test_who_differs_is_refused_and_not_replaced():
    paper, crew = begun(1)
    paper.ready(1, jax="2")
    crew.hear(0)
    crew.tend()
    assert paper.said == ["warning: a worker is refused: jax must be 1, as here, got 2"]
    assert (crew.hands, paper.gone) == ({}, [1])


def test_after_some_failures_before_anybody_was_ready_none_is_begun():
    paper, crew = begun(1)
    for who in range(1, TRIES + 1):
        paper.lost(who)
        crew.hear(0)
        crew.tend()
    assert crew.hands == {}
    assert paper.said == ["warning: no worker can be begun: it was killed"]


def test_other_bits_of_an_update_are_found_in_the_generation_after():
    paper, crew = begun(1)
    paper.ready(1)
    crew.hear(0)
    first, second = state(0), state(1)
    crew.follow(first)
    crew.work(1, [0], first)
    paper.answered(1)
    crew.hear(0)
    told(crew, 0, second, row="mine")
    crew.work(1, [0], second)
    paper.answered(1, row="another")
    (answer,) = crew.hear(0)
    assert not crew.check(answer)
    assert "its updates have other bits" in paper.said[-1]


def test_another_order_is_prepared_by_whoever_is_free_and_by_the_busy_later():
    paper, crew = begun(2)
    paper.ready(1)
    crew.hear(0)
    crew.begin(b"second", lambda: ABOUT | {"probe": "of the second"}, True)
    assert [(who, contents) for who, _, contents in paper.asked[2:]] == [(1, [b"second"])]
    paper.ready(2)  # for the first
    crew.hear(0)
    assert (crew.ready, crew.waited_for) == ([], True)
    crew.tend()
    paper.ready(1, probe="of the second")
    paper.ready(2, probe="of the second")
    crew.hear(0)
    assert crew.ready == [1, 2]
    assert crew.joined == 2
