from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from nodewise.core.errors import InputError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import NodeLimits
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.whatif.critical import critical_path
from nodewise.whatif.run import program_of_run
from nodewise.whatif.shape import Cluster, fit
from nodewise.whatif.simulate import simulate

AT = 1_700_000_000.0


def a_task(stage: str, number: int, node: str, began_s: float, ended_s: float, **facts: Any) -> TaskRecord:
    return TaskRecord(
        **{
            "stage": stage,
            "task": number,
            "node": node,
            "started_at": AT + began_s,
            "ended_at": AT + ended_s,
            "cpu_s": ended_s - began_s,
            "records": 1,
            "read_bytes": 0,
            "written_bytes": 0,
            "peak_memory_bytes": 0,
            "retries": 0,
            **facts,
        }
    )


def a_run(**facts: Any) -> RunRecord:
    """Started in 5 s; prepare from 5 to 10, train from 11 to 20; over at 21."""
    stages = (
        StageRecord(name="prepare", wall_s=5.0, records=1, num_tasks=3, started_at=AT + 5),
        StageRecord(name="train", wall_s=9.0, records=1, num_tasks=2, started_at=AT + 11),
    )
    return RunRecord(
        **{
            "run_id": "run-1",
            "command": "compare",
            "status": RunStatus.FINISHED,
            "created_at": datetime.fromtimestamp(AT - 100, UTC),
            "cluster": ClusterSpec(
                engine="spark", nodes=2, node_type="m5.large", limits=NodeLimits(network_bits_per_s=8)
            ),
            "cluster_s": 21.0,
            "start_up_s": 5.0,
            "stages": stages,
            **facts,
        }
    )


TASKS = [
    a_task("prepare", 0, "node-0", 5.5, 8.0, read_s=0.5, write_s=1.0, read_bytes=7, written_bytes=9),
    a_task("prepare", 1, "node-1", 5.5, 7.0),
    a_task("prepare", 2, "node-1", 7.25, 9.5),
    a_task("train", 0, "node-0", 12.0, 19.0, cpu_s=30.0, communicate_s=2.0),
    a_task("train", 1, "node-1", 12.0, 19.5),
]


def test_stages_follow_one_another_and_what_is_outside_their_tasks_is_the_drivers() -> None:
    program = program_of_run(a_run(), TASKS, gang_stages={"train"})

    prepare, train = program.stages
    assert (prepare.waits_for, train.waits_for) == ((), (0,))
    assert (prepare.gap_s, prepare.closing_s, train.gap_s, train.closing_s) == pytest.approx((5, 0.5, 1, 0.5))
    assert (prepare.is_gang, train.is_gang) == (False, True)
    assert prepare.tasks.wait_s == pytest.approx([0.5, 0.5, 0.25])
    assert train.tasks.wait_s == pytest.approx([1, 1])
    assert (program.tail_s, program.measured_s, program.ready_s) == pytest.approx((1, 21, 5))
    assert (program.nodes, program.cores_per_node, program.node_type) == (2, 1, "m5.large")
    assert program.network_bits_per_s == 8
    assert simulate(program, program.slots).end_s == pytest.approx(21)


def test_the_parts_of_a_task_are_those_of_its_record() -> None:
    prepare, train = program_of_run(a_run(), TASKS, gang_stages={"train"}).stages

    first = [
        getattr(prepare.tasks, name)[0]
        for name in ("cpu_s", "read_s", "write_s", "other_s", "read_bytes", "write_bytes")
    ]
    assert first == pytest.approx([1.0, 0.5, 1.0, 0, 7, 9])
    # Several threads computed: no longer than the task took.
    assert (train.tasks.cpu_s[0], train.tasks.fetch_s[0]) == pytest.approx((5.0, 2.0))


def test_nodes_without_tasks_count_too() -> None:
    program = program_of_run(a_run(cluster=ClusterSpec(engine="ray", nodes=4, cores_per_node=2)), TASKS)

    assert [group.count for group in program.slots] == [2, 2, 2, 2]


def test_an_imported_application_counts_from_its_own_start() -> None:
    stages = (
        StageRecord(name="0: collect", wall_s=0.0, records=1),
        StageRecord(name="1: save", wall_s=2.0, records=1, started_at=AT + 6),
    )
    run = a_run(
        command="import-eventlog",
        created_at=datetime.fromtimestamp(AT, UTC),
        start_up_s=None,
        cluster_s=10.0,
        stages=stages,
    )
    tasks = [a_task("0: collect", 0, "a", 1, 4), a_task("1: save", 0, "b", 6, 8)]
    program = program_of_run(run, tasks)

    assert [stage.waits_for for stage in program.stages] == [(), (0,)]
    assert [stage.gap_s for stage in program.stages] == pytest.approx([1, 2])
    assert simulate(program, program.slots).end_s == pytest.approx(10)


def test_a_stage_whose_time_was_not_kept_has_that_of_its_tasks() -> None:
    stages = (StageRecord(name="prepare", wall_s=5.0, records=1),)
    tasks = [a_task("prepare", 0, "node-0", 100, 103), a_task("prepare", 1, "node-1", 101, 104)]
    (stage,) = program_of_run(a_run(stages=stages, cluster_s=11.0), tasks).stages

    assert (stage.gap_s, stage.closing_s) == pytest.approx((5, 1))


def test_score_shares_its_work_among_the_slots() -> None:
    stages = (StageRecord(name="score", wall_s=5.0, records=1, started_at=AT),)
    run = a_run(stages=stages, cluster=ClusterSpec(engine="ray"), cluster_s=10.0)
    program = program_of_run(run, [a_task("score", 0, "node-0", 0, 5, cpu_s=4.0)], filling_stages={"score"})

    (stage,) = fit(program, Cluster(nodes=4, slots_per_node=1)).stages
    assert stage.tasks.cpu_s.tolist() == [1] * 4
    assert stage.tasks.other_s == pytest.approx([1] * 4)
    assert critical_path(program)[0] == pytest.approx(6)


def test_a_run_without_task_records_is_refused() -> None:
    with pytest.raises(InputError, match="run run-1 has no task records to replay"):
        program_of_run(a_run(), [])
