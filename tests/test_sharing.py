"""Which of the two ways to make an update's sums is taken, by times that are given."""

import pytest

from esrun.training.sharing import TRIES, Sharing


def gone_through(workers, update, shared, idle=0.0, generations=30, rest=1.0):
    """-> which generations shared their sums, where an update takes so long for everybody and
    shared ones so long in all."""
    sharing, found = Sharing(), []
    for _ in range(generations):
        shares = sharing.shares(workers)
        found.append(shares)
        sharing.note(shares, rest + (shared if shares else update), idle if shares else update)
    return found


def test_sums_are_shared_where_that_is_quicker():
    found = gone_through(8, update=2.0, shared=0.5)
    assert not any(found[: TRIES + 1])  # the first one has compiled, and is not counted
    assert all(found[TRIES + 1 :])


def test_what_was_tried_and_is_slower_is_left():
    found = gone_through(8, update=0.5, shared=0.9)
    assert sum(found) == TRIES + 1
    assert not found[-1]


def test_a_network_that_takes_longer_than_all_else_is_tried_once():
    assert sum(gone_through(8, update=0.5, shared=30.0, idle=29.0)) == 1


@pytest.mark.parametrize(("workers", "update"), [(1, 2.0), (0, 2.0), (8, 0.01)])
def test_where_nothing_is_to_be_gained_nothing_is_tried(workers, update):
    assert not any(gone_through(workers, update, shared=0.0))


def test_twice_as_many_workers_are_another_case():
    sharing = Sharing()

    def generations(workers, shared):
        found = []
        for _ in range(12):
            found.append(sharing.shares(workers))
            seconds = 1 + (shared if found[-1] else 2.0)
            sharing.note(found[-1], seconds, 0.0 if found[-1] else 2.0)
        return found

    assert generations(4, shared=3.0)[-1] is False
    assert sum(generations(5, shared=3.0)) == 0
    later = generations(8, shared=0.5)
    assert later[0] is False
    assert later[-1] is True
