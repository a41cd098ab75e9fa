from __future__ import annotations

import numpy as np
import pytest

from nodewise.whatif.simulate import simulate

from .made_programs import made_program, made_slots, made_stage, made_tasks


def starts(program: object, *slots: object) -> list[list[float]]:
    schedule = simulate(program, slots)  # type: ignore[arg-type]
    return [stage.starts_s.tolist() for stage in schedule.stages]


def test_a_free_slot_takes_the_next_task() -> None:
    program = made_program(made_stage([3.0, 1.0, 1.0, 4.0]))

    # Slot 0: 3 s, then the last task. Slot 1: 1 s, 1 s, and the last task at 2.
    assert starts(program, made_slots(2)) == [[0, 0, 1, 2]]
    assert simulate(program, [made_slots(2)]).end_s == 6


def test_a_stage_waits_for_all_its_parents_and_for_the_driver() -> None:
    program = made_program(
        made_stage([1.0], closing_s=0.5),
        made_stage([2.0]),
        made_stage([1.0], (0, 1), gap_s=0.25, closing_s=0.125),
        tail_s=1.0,
    )
    schedule = simulate(program, [made_slots(2)])

    last = schedule.stages[2]
    assert (last.submitted_s, last.tasks_end_s, last.ended_s) == (2.25, 3.25, 3.375)
    assert schedule.stages[0].ended_s == 1.5
    assert schedule.end_s == 4.375


def test_of_two_ready_stages_the_first_goes_first() -> None:
    program = made_program(made_stage([2.0, 2.0], priority=1), made_stage([1.0, 1.0], priority=0))

    assert starts(program, made_slots(1)) == [[2, 4], [0, 1]]


def test_a_stage_that_goes_first_gets_the_slots_as_soon_as_it_is_submitted() -> None:
    program = made_program(made_stage([2.0] * 4, priority=1), made_stage([1.0, 1.0], gap_s=3.0, priority=0))

    # At 4 s, when the slot is next free, the second stage is there.
    assert starts(program, made_slots(1)) == [[0, 2, 6, 8], [4, 5]]


def test_slots_that_come_later_take_tasks_from_then_on() -> None:
    program = made_program(made_stage([4.0, 4.0, 4.0]))

    assert starts(program, made_slots(1), made_slots(1, ready_s=3.0)) == [[0, 3, 4]]


def test_slots_that_go_finish_their_task_and_take_no_more() -> None:
    program = made_program(made_stage([4.0, 4.0, 4.0, 4.0]))

    assert starts(program, made_slots(1), made_slots(1, until_s=2.0)) == [[0, 0, 4, 8]]


def test_the_last_slot_stays() -> None:
    assert starts(made_program(made_stage([4.0, 4.0])), made_slots(2, until_s=2.0)) == [[0, 0]]
    assert starts(made_program(made_stage([4.0] * 4)), made_slots(2, until_s=2.0)) == [[0, 0, 4, 8]]


def test_what_nobody_waited_for_does_not_hold_its_stage_but_its_slot() -> None:
    program = made_program(made_stage(made_tasks([1.0, 9.0], holds_stage=[True, False])), made_stage([1.0, 1.0], (0,)))

    assert starts(program, made_slots(2)) == [[0, 0], [1, 2]]


def test_stages_without_tasks_pass_on_at_once() -> None:
    program = made_program(
        made_stage([], gap_s=1.0, closing_s=2.0), made_stage([], (0,), gap_s=0.5), made_stage([1.0], (1,))
    )

    assert starts(program, made_slots(1)) == [[], [], [3.5]]
    assert simulate(made_program(), [made_slots(1)]).end_s == 0


def test_handing_out_a_task_takes_its_slot() -> None:
    program = made_program(made_stage(made_tasks([1.0, 1.0], wait_s=[0.5, 0.5])))

    assert simulate(program, [made_slots(1)]).end_s == 3


def test_a_gang_starts_when_all_slots_are_free_and_keeps_all() -> None:
    program = made_program(
        made_stage([1.0, 3.0], priority=0),
        made_stage([2.0, 5.0], priority=1, is_gang=True),
        made_stage([1.0], priority=2),
    )

    assert starts(program, made_slots(4)) == [[0, 0], [3, 3], [8]]


@pytest.mark.parametrize("slots", [1, 2, 3, 7, 50, 1000])
def test_no_schedule_beats_its_bounds_or_leaves_a_slot_idle_in_vain(slots: int) -> None:
    generator = np.random.default_rng(slots)
    cpu_s = generator.lognormal(0, 1, 200)
    end_s = simulate(made_program(made_stage(cpu_s.tolist())), [made_slots(slots)]).end_s

    work_s, longest_s = cpu_s.sum() / slots, cpu_s.max()
    assert max(work_s, longest_s) - 1e-9 <= end_s <= work_s + longest_s + 1e-9
