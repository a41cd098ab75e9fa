"""Who is there: successors, who is late, and what is told of those who were lost."""

from __future__ import annotations

import pytest

from nodewise.specs.training import LostWorker
from nodewise.training.roll import MIN_WAIT_S, PATIENCE, Roll


@pytest.fixture
def roll() -> Roll:
    """Three workers that have entered at place 0, at time 0."""
    roll = Roll(3)
    for rank in range(3):
        roll.begins(rank, 0, epoch=1, step=0)
        roll.enters(rank, 0, 0.0)
    roll.opens(0.0)
    return roll


def test_a_place_is_complete_when_everybody_has_come(roll: Roll) -> None:
    for rank in range(3):
        assert not roll.is_complete(0)
        roll.comes(rank, 1.0)
    assert roll.is_complete(0)
    assert roll.lost == ()


def test_a_successor_tells_that_the_one_before_is_lost(roll: Roll) -> None:
    roll.comes(0, 1.0)
    roll.comes(2, 1.0)
    assert not roll.begins(1, 0, epoch=2, step=7)
    assert roll.begins(1, 1, epoch=2, step=7)
    assert roll.is_complete(0)
    assert roll.lost == (LostWorker(rank=1, epoch=2, step=7, came_back=False),)
    roll.enters(1, 5, 3.0)
    assert roll.lost == (LostWorker(rank=1, epoch=2, step=7, came_back=True),)
    assert (roll.awaited(4), roll.awaited(5)) == ({0, 2}, {0, 1, 2})


def test_one_that_died_before_it_could_say_anything_is_lost_too() -> None:
    roll = Roll(1)
    roll.begins(0, 1, epoch=1, step=0)
    assert roll.lost == (LostWorker(rank=0, epoch=1, step=0, came_back=False),)


def test_a_loss_that_was_noticed_is_not_told_again_when_the_successor_begins(roll: Roll) -> None:
    roll.misses(1, epoch=1, step=3)
    roll.begins(1, 1, epoch=2, step=9)
    assert roll.lost == (LostWorker(rank=1, epoch=1, step=3, came_back=False),)
    roll.enters(1, 9, 1.0)
    roll.misses(1, epoch=3, step=12)
    assert [loss.step for loss in roll.lost] == [3, 12]


def test_nobody_is_late_while_nobody_has_come(roll: Roll) -> None:
    assert roll.late(0, 1e6) == set()


def test_a_worker_is_late_after_the_shortest_wait(roll: Roll) -> None:
    roll.comes(0, 0.1)
    assert roll.late(0, MIN_WAIT_S - 0.1) == set()
    assert roll.late(0, MIN_WAIT_S + 0.1) == {1, 2}


def test_where_the_first_one_took_long_the_others_may_take_longer(roll: Roll) -> None:
    roll.comes(0, 100.0)
    assert roll.late(0, PATIENCE * 100 - 1) == set()
    assert roll.late(0, PATIENCE * 100 + 1) == {1, 2}


def test_where_places_usually_take_long_a_quick_first_one_changes_nothing(roll: Roll) -> None:
    for number in range(3):
        for rank in range(3):
            roll.comes(rank, 50.0 * number + 50)
        roll.opens(50.0 * number + 50)
    roll.comes(0, 150.1)
    assert roll.late(0, 150 + PATIENCE * 50 - 1) == set()
    assert roll.late(0, 150 + PATIENCE * 50 + 1) == {1, 2}


def test_one_that_entered_later_has_its_time_from_then(roll: Roll) -> None:
    roll.misses(1, epoch=1, step=0)
    roll.comes(0, 0.1)
    roll.enters(1, 0, 8.0)
    assert roll.late(0, 8 + MIN_WAIT_S - 1) == {2}
    assert roll.late(0, 8 + MIN_WAIT_S + 1) == {1, 2}
