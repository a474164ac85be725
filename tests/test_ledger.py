"""Who is at which block: shares, lags, losses, double work."""

import random

import pytest

from esrun.training.ledger import LAG, LEAST, UNKNOWN, Ledger, Pace


def known(seconds):
    """-> the pace of somebody whose blocks take so long."""
    pace = Pace()
    pace.note(1, seconds)
    return pace


def test_shares_become_smaller_so_that_all_end_together():
    ledger = Ledger(range(16), Pace())
    assert ledger.give("a", 2, 0.0) == [0, 1, 2, 3]
    assert ledger.give("b", 2, 0.0) == [4, 5, 6]
    assert ledger.done("a", 0.004) == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert ledger.give("a", 2, 0.004) == [7, 8, 9]


def test_of_blocks_that_take_long_nobody_has_many_to_lose():
    assert Ledger(range(16), known(1.0)).give("a", 4, 0.0) == [0]
    assert Ledger(range(160), known(0.05)).give("a", 10, 0.0) == [0, 1]
    # where there are many, or blocks are short, asking costs more than what may be lost
    assert len(Ledger(range(1600), known(1.0)).give("a", 200, 0.0)) == 2
    assert len(Ledger(range(160), known(0.001)).give("a", 4, 0.0)) == 20


def test_a_number_of_blocks_at_a_time():
    ledger = Ledger(range(5), Pace(), 2)
    assert [ledger.give(who, 9, 0.0) for who in "abc"] == [[0, 1], [2, 3], [4]]
    assert ledger.give("d", 9, 0.0) == []
    assert not ledger.over


def test_what_the_lost_held_waits_again_before_all_else():
    ledger = Ledger(range(6), Pace(), 2)
    ledger.give("a", 1, 0.0)
    ledger.lost("a")
    assert ledger.give("b", 1, 0.0) == [0, 1]
    assert ledger.done("a", 1.0) == []


def test_who_takes_three_times_the_median_is_late_and_the_first_answer_counts():
    ledger = Ledger(range(2), known(1.0), 1)
    ledger.give("a", 2, 0.0)
    ledger.give("b", 2, 0.0)
    assert ledger.done("b", 1.0) == [(0, 1)]
    assert ledger.late(LAG - 0.1) == 0
    assert ledger.give("b", 2, LAG - 0.1) == []
    assert (ledger.late(LAG + 0.1), ledger.at_work) == (1, 0)
    assert ledger.give("b", 2, LAG + 0.1) == [0]
    assert ledger.twice == 1
    assert ledger.late(LAG + 0.2) == 1
    assert ledger.give("c", 2, LAG + 0.2) == []  # two are at it, one of them in time
    assert ledger.late(2 * LAG + 0.3) == 2
    assert ledger.give("c", 2, 2 * LAG + 0.3) == [0]  # both are late
    assert ledger.done("a", 9.0) == [(0, 0)]
    assert ledger.over
    assert ledger.done("b", 9.5) == []


def test_a_copy_that_is_lost_leaves_the_block_with_who_has_it_still():
    ledger = Ledger(range(1), known(1.0), 1)
    ledger.give("a", 1, 0.0)
    assert ledger.late(4.0) == 1
    assert ledger.give("b", 1, 4.0) == [0]
    ledger.lost("a")
    assert ledger.give("c", 1, 4.0) == []
    ledger.lost("b")
    assert ledger.give("c", 1, 4.0) == [0]


def test_what_the_late_hold_is_shared_and_who_answers_late_leaves_the_rest():
    ledger = Ledger(range(4), known(1.0), 4)
    ledger.give("a", 1, 0.0)
    ledger.late(4 * LAG + 0.1)
    assert ledger.give("b", 1, 20.0, most=2) == [0, 1]
    assert [block for _, block in ledger.done("a", 21.0)] == [0, 1, 2, 3]
    assert ledger.give("c", 1, 21.0) == []
    assert (ledger.over, ledger.done("b", 22.0)) == (True, [])


def test_short_blocks_and_unknown_ones_are_not_late_at_once():
    assert known(1e-3).patience(2) == LEAST
    assert Pace().patience(2) == UNKNOWN


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_every_block_is_done_once(seed):
    chance = random.Random(seed)
    blocks, found, now = chance.randrange(1, 40), [], 0.0
    pace = known(1.0)
    ledger = Ledger(range(blocks), pace, chance.choice(["auto", 1, 3]))
    at_work = {}
    while not ledger.over:
        now += chance.expovariate(1.0)
        ledger.late(now)
        for who in chance.sample("abcd", 4):
            if who not in at_work and (given := ledger.give(who, 4, now)):
                at_work[who] = given
        who = chance.choice("abcd")
        if who in at_work and chance.random() < 0.7:
            held = at_work.pop(who)
            if chance.random() < 0.3:
                ledger.lost(who)
            else:
                new = ledger.done(who, now)
                assert all(held[place] == block for place, block in new)
                found += [block for _, block in new]
    assert sorted(found) == list(range(blocks))


def took(blocks, seconds, deaths=()):
    """-> the time of a generation among workers who take so many `seconds` a block each; those of
    `deaths` (when, who) are gone then for good."""
    ledger, now, ends = Ledger(range(blocks), known(sum(seconds) / len(seconds))), 0.0, {}
    there = dict(enumerate(seconds))
    gone = sorted(deaths)
    while not ledger.over:
        for who, each in there.items():
            if who not in ends and (given := ledger.give(who, len(there), now)):
                ends[who] = now + each * len(given)
        who = min(ends, key=lambda who: ends[who])
        if gone and gone[0][0] <= ends[who]:
            now, who = gone.pop(0)
            ends.pop(who, None)
            del there[who]
            ledger.lost(who)
        else:
            now = ends.pop(who)
            ledger.done(who, now)
    return now


@pytest.mark.parametrize("seconds", [(1.0, 2.0), (1.0, 4.0), (1.0, 1.0, 1.0, 3.0), (1.0,) * 32])
def test_the_fast_and_the_slow_together_reach_nine_tenths_of_their_sum(seconds):
    blocks = 32 * len(seconds)
    ideal = blocks / sum(1 / each for each in seconds)
    assert ideal / took(blocks, seconds) >= 0.9


def test_a_death_costs_at_most_what_the_dead_was_at():
    blocks, alone = 64, (1.0, 1.0)
    whole = took(blocks, alone)
    lost = took(blocks, alone, deaths=[(whole / 2, 1)])
    # half of the blocks were done, but for those of the share that the dead held
    assert lost <= whole / 2 + blocks / 2 + blocks / 8 + 1
