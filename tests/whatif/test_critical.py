from __future__ import annotations

from dataclasses import replace

import pytest

from nodewise.whatif.critical import critical_path
from nodewise.whatif.simulate import simulate

from .made_programs import made_program, made_slots, made_stage, made_tasks


def test_the_path_goes_through_what_ended_last() -> None:
    program = made_program(
        made_stage([1.0, 5.0], name="long", gap_s=1.0),
        made_stage([2.0], name="short"),
        made_stage([3.0] * 100, (0, 1), name="last", gap_s=0.5, closing_s=0.25),
        tail_s=1.0,
    )

    seconds, chain = critical_path(program)

    assert seconds == 1 + 5 + 0.5 + 3 + 0.25 + 1
    assert [(stage.name, stage.driver_s, stage.longest_task_s, stage.num_tasks) for stage in chain] == [
        ("long", 1, 5, 2),
        ("last", 0.75, 3, 100),
    ]
    assert simulate(program, [made_slots(1000)]).end_s == pytest.approx(seconds)


def test_it_begins_when_slots_are_there_and_ends_with_what_is_waited_for() -> None:
    program = made_program(made_stage(made_tasks([1.0, 7.0], holds_stage=[True, False])))

    assert critical_path(program)[0] == 1
    assert critical_path(replace(program, slots=(made_slots(2, ready_s=4.0),)))[0] == 5


def test_of_work_that_is_shared_among_all_nodes_none_is_left() -> None:
    tasks = made_tasks([8.0, 9.0], fetch_s=[2.0, 1.0], other_s=[0.5, 0.5])

    assert critical_path(made_program(made_stage(tasks, is_gang=True)))[0] == 2.5
    assert critical_path(made_program(made_stage(tasks, fills_slots=True)))[0] == 2.5


def test_a_program_without_stages_has_no_path() -> None:
    assert critical_path(made_program(tail_s=2.0)) == (2.0, ())
