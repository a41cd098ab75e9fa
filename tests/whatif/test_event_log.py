"""Programs from event logs: what waits for what, and whether a replay takes the time that was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.eventlogs.small_logs import (
    Event,
    app_end,
    app_start,
    as_lines,
    environment,
    executor_added,
    executor_removed,
    job_end,
    job_start,
    log_start,
    stage_completed,
    stage_submitted,
    task_end,
)

from nodewise.core.errors import InputError
from nodewise.whatif.event_log import NodeShape, program_of_log
from nodewise.whatif.program import Program
from nodewise.whatif.simulate import simulate

from .made_programs import made_program, made_slots, made_stage


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(events: list[Event], cluster: NodeShape | None = None) -> Program:
        (tmp_path / "log").write_bytes(as_lines(events))
        return program_of_log(tmp_path / "log", cluster)

    return read


def a_job(number: int, began_ms: int, ended_ms: int, stages: list[list[Event]]) -> list[Event]:
    ids = [events[0]["Stage Info"]["Stage ID"] for events in stages]
    inside = [event for events in stages for event in events]
    return [job_start(number, began_ms) | {"Stage IDs": ids}, *inside, job_end(number, ended_ms)]


def a_stage(stage_id: int, began_ms: int, ended_ms: int, *parents: int, tasks: int = 1) -> list[Event]:
    """Submitted, its equal tasks from the beginning to 100 ms before the end, completed."""
    submitted, completed = stage_submitted(stage_id, began_ms), stage_completed(stage_id, began_ms, ended_ms)
    for event in (submitted, completed):
        event["Stage Info"]["Parent IDs"] = list(parents)
    ends = [task_end(100 * stage_id + n, began_ms, ended_ms - 100, stage_id=stage_id) for n in range(tasks)]
    return [submitted, *ends, completed]


START = [log_start(), app_start(), environment(), executor_added("1", 0, cores=4)]


def test_a_stage_waits_for_its_parents_and_a_job_for_those_before_it(read: Any) -> None:
    program = read(
        [
            *START,
            *a_job(0, 900, 3000, [a_stage(0, 1000, 2000), a_stage(1, 1000, 1500), a_stage(2, 2100, 3000, 0, 1)]),
            *a_job(1, 3500, 4000, [a_stage(3, 3600, 4000)]),
            app_end(4500),
        ]
    )

    assert [(stage.name[0], stage.waits_for) for stage in program.stages] == [
        ("0", ()),
        ("1", ()),
        ("2", (0, 1)),
        ("3", (2,)),
    ]
    assert [stage.gap_s for stage in program.stages] == pytest.approx([1.0, 1.0, 0.1, 0.6])
    assert [stage.closing_s for stage in program.stages] == pytest.approx([0.1] * 4)
    assert program.tail_s == pytest.approx(0.5)
    assert simulate(program, program.slots).end_s == pytest.approx(4.5)


def test_jobs_side_by_side_do_not_wait_for_each_other(read: Any) -> None:
    program = read(
        [
            *START,
            *a_job(0, 0, 3000, [a_stage(0, 0, 3000)]),
            *a_job(1, 500, 1000, [a_stage(1, 500, 1000)]),
            *a_job(2, 1200, 2000, [a_stage(2, 1200, 2000)]),
            *a_job(3, 3100, 4000, [a_stage(3, 3100, 4000)]),
            app_end(4000),
        ]
    )

    # The last one waits for the first and the third, which waited for the second.
    assert [stage.waits_for for stage in program.stages] == [(), (), (1,), (0, 2)]


def test_a_stage_whose_parents_were_skipped_waits_for_the_job_before(read: Any) -> None:
    later = a_stage(3, 2500, 3000, 2)
    events = [*START, *a_job(0, 0, 1000, [a_stage(0, 0, 1000)]), *a_job(1, 2000, 3000, [later]), app_end(3000)]

    assert read(events).stages[1].waits_for == (0,)


def test_a_second_attempt_waits_for_what_failed(read: Any) -> None:
    again = stage_submitted(0, 1500, attempt=1)
    rest = [task_end(9, 1500, 1900, stage_attempt=1), stage_completed(0, 1500, 2000, attempt=1)]
    lost = a_stage(0, 0, 1000)
    lost[1]["Task End Reason"]["Reason"] = "FetchFailed"
    program = read([*START, *a_job(0, 0, 2000, [[*lost, again, *rest]]), app_end(2000)])

    assert [stage.waits_for for stage in program.stages] == [(), (0,)]
    assert [stage.tasks.has_failed.tolist() for stage in program.stages] == [[True], [False]]


def test_what_a_slot_waited_for_a_task_is_the_drivers(read: Any) -> None:
    tasks = [task_end(0, 1200, 2000), task_end(1, 1000, 1500), task_end(2, 1600, 2000)]
    program = read(
        [
            *START[:-1],
            executor_added("1", 500, cores=2),
            stage_submitted(0, 1000),
            *tasks,
            stage_completed(0, 1000, 2000),
            app_end(2000),
        ]
    )

    # In the order of their start: at once, 0.2 s after the submission, 0.1 s after the first had ended.
    assert program.stages[0].tasks.wait_s == pytest.approx([0.0, 0.2, 0.1], abs=1e-6)
    assert simulate(program, program.slots).end_s == pytest.approx(2.0)


def test_a_tasks_time_is_split_into_what_it_did(read: Any) -> None:
    metrics = {
        "Executor Run Time": 900,
        "Executor CPU Time": 300_000_000,
        "Executor Deserialize CPU Time": 50_000_000,
        "Shuffle Read Metrics": {"Fetch Wait Time": 200, "Remote Bytes Read": 70, "Local Bytes Read": 30},
        "Shuffle Write Metrics": {"Shuffle Write Time": 100_000_000, "Shuffle Bytes Written": 5},
        "Input Metrics": {"Bytes Read": 40},
        "Output Metrics": {"Bytes Written": 6},
    }
    program = read([*START, stage_submitted(0), task_end(0, 0, 1000, metrics=metrics), app_end(1000)])

    tasks = program.stages[0].tasks
    parts = [tasks.cpu_s, tasks.fetch_s, tasks.write_s, tasks.read_s, tasks.other_s]
    assert [float(part[0]) for part in parts] == pytest.approx([0.35, 0.2, 0.1, 0.0, 0.35])
    assert [float(part[0]) for part in (tasks.read_bytes, tasks.fetch_bytes, tasks.write_bytes)] == [40, 100, 11]


def test_no_part_is_longer_than_the_task(read: Any) -> None:
    metrics = {"Executor CPU Time": 9_000_000_000, "Shuffle Read Metrics": {"Fetch Wait Time": 600}}
    tasks = read([*START, stage_submitted(0), task_end(0, 0, 1000, metrics=metrics), app_end(1000)]).stages[0].tasks

    assert (tasks.fetch_s[0], tasks.cpu_s[0], tasks.other_s[0]) == pytest.approx((0.6, 0.4, 0.0))


def test_executors_come_and_go_and_share_hosts(read: Any) -> None:
    events = [
        *START[:-1],
        executor_added("1", 100, host="a", cores=4),
        executor_added("2", 200, host="a", cores=4),
        executor_added("3", 300, host="b", cores=4),
        stage_submitted(0, 1000),
        task_end(0, 1000, 2000),
        executor_removed("1", 2500),
        executor_added("4", 3000, host="b", cores=4),
        app_end(4000),
    ]
    program = read(events)

    assert (program.nodes, program.cores_per_node, program.slots_per_node) == (2, 8, 8)
    assert sorted((group.count, group.paid_from_s, round(group.until_s, 3)) for group in program.slots) == [
        (4, 0, 2.5),
        (4, 0, float("inf")),
        (4, 0, float("inf")),
        (4, 3, float("inf")),
    ]
    told = read(events, NodeShape(nodes=3, cores_per_node=4, node_type="m5.xlarge"))
    assert (told.nodes, told.cores_per_node, told.slots_per_node, told.node_type) == (3, 4, 4, "m5.xlarge")


@pytest.mark.parametrize(
    ("properties", "slots"),
    [
        ({}, 8),
        ({"spark.task.cpus": "3"}, 2),
        ({"spark.task.resource.gpu.amount": "0.25", "spark.executor.resource.gpu.amount": "1"}, 4),
        ({"spark.task.resource.gpu.amount": "nonsense"}, 8),
        ({"spark.task.cpus": "16"}, 1),
    ],
)
def test_slots_are_what_cores_and_gpus_allow(properties: dict[str, str], slots: int, read: Any) -> None:
    settings = environment()
    settings["Spark Properties"] |= properties
    program = read(
        [*START[:2], settings, executor_added("1", cores=8), stage_submitted(0), task_end(0, 0, 5), app_end(9)]
    )

    assert (program.slots_per_node, program.slots[0].count) == (slots, slots)


def test_executors_that_the_log_does_not_name_are_taken_from_their_tasks(read: Any) -> None:
    tasks = [task_end(n, 100 * n, 100 * n + 250) for n in range(6)]
    program = read([stage_submitted(0), *tasks, task_end(9, 50, 90, executor_id="2", host="host-2")])

    # Three tasks at once on the first: each slot is there from its first task on.
    assert [(group.count, round(group.ready_s, 3)) for group in program.slots] == [
        (1, 0),
        (1, 0.1),
        (1, 0.2),
        (1, 0.05),
    ]
    assert (program.nodes, program.cores_per_node) == (2, 2)
    assert any("does not tell of executors" in note for note in program.notes)


def test_a_resubmitted_task_is_counted_once(read: Any) -> None:
    tasks = [task_end(0, 0, 100), task_end(0, 0, 100, reason="Resubmitted", metrics={})]

    assert read([*START, stage_submitted(0), *tasks, app_end(200)]).num_tasks == 1


def test_a_log_without_tasks_is_refused(read: Any) -> None:
    with pytest.raises(InputError, match="tells of no task"):
        read([*START, app_end(10)])


@pytest.mark.parametrize("slots", [1, 4, 32, 500])
def test_a_log_of_a_small_cluster_foretells_a_larger_one(slots: int, read: Any) -> None:
    """What is simulated on 4 slots is written as a log; the program that is read from it must be the same again."""
    generator = np.random.default_rng(slots)
    counts, parents = (40, 25, 60, 9, 33), ((), (), (0, 1), (2,), (2,))
    stages = [
        made_stage(generator.lognormal(0, 0.7, count).tolist(), waits_for, gap_s=0.2, closing_s=0.1, priority=number)
        for number, (count, waits_for) in enumerate(zip(counts, parents, strict=True))
    ]
    true = made_program(*stages, tail_s=1.0)
    ran = simulate(true, [made_slots(4)])
    inside = []
    for number, (stage, one) in enumerate(zip(stages, ran.stages, strict=True)):
        ends_s = one.starts_s + stage.tasks.slot_s
        events = a_stage(number, round(1000 * one.submitted_s), round(1000 * one.ended_s), *parents[number])
        tasks = [
            task_end(1000 * number + place, round(1000 * start_s), round(1000 * end_s), stage_id=number)
            for place, (start_s, end_s) in enumerate(zip(one.starts_s.tolist(), ends_s.tolist(), strict=True))
        ]
        inside.append([events[0], *tasks, events[-1]])
    end_ms = round(1000 * ran.end_s)
    program = read([*START, *a_job(0, 0, end_ms - 1000, inside), app_end(end_ms)])

    assert [stage.waits_for for stage in program.stages] == [(), (), (0, 1), (2,), (2,)]
    expected_s = simulate(true, [made_slots(slots)]).end_s
    assert simulate(program, [made_slots(slots)]).end_s == pytest.approx(expected_s, rel=0.01)


REAL = [
    "cluster_information/eventlog_3nodes_12cores_multiple_executors",
    "cluster_information/eventlog_4nodes_8cores_dynamic_alloc.zstd",
    "cluster_information/platform/databricks-azure",
    "cluster_information/platform/dataproc",
    "db_sim_eventlog",
    "db_sim_eventlog/eventlog",
    "db_sim_eventlog/eventlog-2021-06-15--15-00.gz",
    "eventlog_v2_local-1623876083964",
    "malformed_json_eventlog.zstd",
    "nds_q72_dataproc_2_2.zstd",
    "python_udf_eventlog",
    "rdd_only_eventlog",
    "spark2-eventlog.zstd",
    "tasks_executors_fail_compressed_eventlog.zstd",
    "truncated_eventlog",
    "xgboost_eventlog.zstd",
]


@pytest.mark.parametrize("name", REAL)
def test_a_replay_of_a_real_log_takes_the_time_that_was_measured(name: str, test_data: Path) -> None:
    log = test_data / "eventlogs" / name
    if not log.exists():
        pytest.skip(f"no event log at {log}")
    program = program_of_log(log)

    assert simulate(program, program.slots).end_s == pytest.approx(program.measured_s, rel=0.05)
