from __future__ import annotations

import numpy as np
import pytest

from nodewise.whatif.account import account
from nodewise.whatif.program import Program, SlotGroup
from nodewise.whatif.simulate import simulate

from .made_programs import made_program, made_slots, made_stage, made_tasks


def core_s(program: Program, *slots: SlotGroup) -> dict[str, float]:
    """Core-seconds by what they went to."""
    hours = account(program, slots, simulate(program, slots))
    assert hours.useful + hours.wasted.total == pytest.approx(hours.total)
    names = ("driver", "skew", "too_few_tasks", "start_up", "failed_attempts")
    found = {name: getattr(hours.wasted, name) for name in names} | {"useful": hours.useful}
    return {name: round(value * 3600, 6) for name, value in found.items() if value > 1e-9}


def test_every_second_of_every_slot_has_its_name() -> None:
    # Ready at 1, submitted at 2; tasks 2 to 5 and 2 to 3; driver to 6; then one task for two slots, and 1 s at the end.
    program = made_program(
        made_stage([3.0, 1.0], gap_s=2.0, closing_s=1.0),
        made_stage([2.0], (0,)),
        tail_s=1.0,
    )

    assert core_s(program, made_slots(2, ready_s=1.0)) == {
        "start_up": 4,
        "useful": 6,
        "skew": 2,
        "too_few_tasks": 2,
        "driver": 4,
    }


def test_handing_out_is_the_drivers_and_failed_attempts_are_no_use() -> None:
    program = made_program(made_stage(made_tasks([1.0, 2.0], wait_s=[0.5, 0.5], has_failed=[True, False])))

    # The first slot is free again at 1.5, a second before the last task ends.
    assert core_s(program, made_slots(2)) == {"driver": 1, "failed_attempts": 1, "useful": 2, "skew": 1}


def test_slots_count_from_when_they_are_paid_to_when_they_go() -> None:
    program = made_program(made_stage([1.0, 1.0, 6.0]), tail_s=2.0)

    # Two slots for 2 s, then one for 7 s.
    assert core_s(program, made_slots(1), made_slots(1, until_s=2.0)) == {"useful": 8, "skew": 1, "driver": 2}


def test_a_gang_has_all_slots_to_itself() -> None:
    program = made_program(made_stage([2.0, 3.0], is_gang=True), slots=8, nodes=2)

    assert core_s(program, made_slots(8)) == {"useful": 20, "skew": 4}


def test_cores_are_counted_not_slots() -> None:
    program = made_program(made_stage([3600.0]), slots=1, cores_per_node=4)

    hours = account(program, [made_slots(1)], simulate(program, [made_slots(1)]))
    assert (hours.useful, hours.total) == (4, 4)


@pytest.mark.parametrize("seed", range(5))
def test_the_parts_add_up_whatever_runs(seed: int) -> None:
    generator = np.random.default_rng(seed)
    stages = []
    for number in range(12):
        count = int(generator.integers(0, 30))
        tasks = made_tasks(
            generator.exponential(1.0, count).tolist(),
            wait_s=generator.exponential(0.1, count),
            has_failed=generator.random(count) < 0.1,
            holds_stage=generator.random(count) < 0.9,
        )
        waits_for = tuple(sorted({int(place) for place in generator.integers(0, number, 2)})) if number else ()
        gaps = {"gap_s": float(generator.random()), "closing_s": float(generator.random())}
        stages.append(made_stage(tasks, waits_for, priority=number, **gaps))
    slots = (made_slots(3, ready_s=0.5), made_slots(4, paid_from_s=2.0, ready_s=2.0, until_s=6.0))

    assert core_s(made_program(*stages, tail_s=0.3), *slots)


def test_nothing_took_no_time() -> None:
    assert core_s(made_program(), made_slots(2)) == {}
