"""Which of the two ways to make an update's sums is taken, by times that are given."""

import pytest

from esrun.training.sharing import AGAIN, TRIES, Sharing


def go(sharing, workers, alone, shared, generations, update=1.0, idle=0.0):
    """-> which generations shared their sums, where one takes so long if everybody makes its own
    and if they are shared."""
    found = []
    for _ in range(generations):
        shares = sharing.shares(workers)
        found.append(shares)
        took = (shared, idle) if shares else (alone, update)
        sharing.note(shares, workers, *took)
    return found


def test_sums_are_shared_where_that_is_quicker():
    found = go(Sharing(), 8, alone=3.0, shared=1.5, generations=30)
    assert not any(found[: TRIES + 1])  # the first one has compiled, and is not counted
    assert all(found[TRIES + 1 :])


def test_what_was_tried_and_is_slower_is_left():
    found = go(Sharing(), 8, alone=1.5, shared=1.9, generations=30)
    assert sum(found) == TRIES + 1
    assert not found[-1]


def test_a_network_that_takes_longer_than_all_else_is_tried_once():
    assert sum(go(Sharing(), 8, alone=1.5, shared=31.0, generations=30, idle=29.0)) == 1


@pytest.mark.parametrize(("workers", "update"), [(1, 2.0), (0, 2.0), (8, 0.01)])
def test_where_nothing_is_to_be_gained_nothing_is_tried(workers, update):
    assert not any(go(Sharing(), workers, 3.0, 0.5, 30, update=update))


def test_more_than_twice_as_many_workers_are_another_case():
    sharing = Sharing()
    assert go(sharing, 4, alone=3.0, shared=4.0, generations=12)[-1] is False
    assert sum(go(sharing, 8, alone=3.0, shared=4.0, generations=12)) == 0
    later = go(sharing, 9, alone=3.0, shared=1.0, generations=12)
    assert (later[0], later[-1]) == (False, True)


def test_what_has_become_quicker_is_taken_in_the_end():
    sharing = Sharing()
    assert go(sharing, 8, alone=3.0, shared=2.0, generations=20)[-1] is True
    found = go(sharing, 8, alone=1.0, shared=2.0, generations=5 * AGAIN)
    assert sum(found[4 * AGAIN :]) <= 2
    back = go(sharing, 8, alone=3.0, shared=2.0, generations=5 * AGAIN)
    assert sum(back[4 * AGAIN :]) >= AGAIN - 2


def test_generations_without_workers_say_nothing_of_those_with():
    sharing = Sharing()
    assert go(sharing, 8, alone=5.0, shared=6.0, generations=20)[-1] is False
    go(sharing, 1, alone=20.0, shared=20.0, generations=20)
    assert go(sharing, 8, alone=5.0, shared=6.0, generations=20)[-1] is False
