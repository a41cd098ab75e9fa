"""Parts of a run from its records."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.analysis.made_runs import a_stage, a_task

from nodewise.analysis.scaling.physics import physics_of, union_s
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import NodeLimits
from nodewise.specs.run import RunRecord, RunStatus

MIB = 1 << 20


def a_run(*stages: Any, nodes: int = 2, cluster_s: float = 20.0, **changes: Any) -> RunRecord:
    facts: dict[str, Any] = {
        "run_id": "20261121-101500-a1b2",
        "command": "compare",
        "status": RunStatus.FINISHED,
        "created_at": datetime(2026, 11, 21, tzinfo=UTC),
        "cluster": ClusterSpec(engine="spark", nodes=nodes),
        "cluster_s": cluster_s,
        "start_up_s": 4.0,
        "stages": stages,
    }
    return RunRecord(**{**facts, **changes})


def seconds_of(run: RunRecord, *tasks: Any) -> dict[str, float]:
    return {line.what: line.seconds for line in physics_of(run, tasks)}


def test_the_union_of_tasks_counts_no_second_twice() -> None:
    # 0-2 and 1-4 overlap, 6-7 stands alone.
    tasks = [a_task("s", "node-0", 6, 7), a_task("s", "node-0", 0, 2), a_task("s", "node-1", 1, 4)]
    assert union_s(tasks) == pytest.approx(5.0)
    assert union_s([]) == 0


def test_start_up_driver_and_waves_are_told_apart() -> None:
    # Billed 20: 4 start-up, a stage of 10, so 6 without a stage. Tasks run 1-4, 1-4, 4-7: their union is 6 of the 10.
    # Three tasks in two slots make two waves of 3 s.
    tasks = [a_task("s", "node-0", 1, 4), a_task("s", "node-1", 1, 4), a_task("s", "node-0", 4, 7)]
    found = seconds_of(a_run(a_stage("s", 10.0)), *tasks)
    assert found == pytest.approx({"start-up": 4.0, "between the stages": 6.0, "s: driver": 4.0, "s: tasks": 6.0})


def test_bytes_are_divided_by_the_bandwidth_that_the_tasks_measured() -> None:
    # Two tasks read 3 MiB in 2 s each, at the same time: 1.5 MiB/s for each, so 2 s.
    tasks = [replace(a_task("s", f"node-{node}", 0, 10, read_s=2.0), read_bytes=3 * MIB) for node in range(2)]
    lines = {line.what: line for line in physics_of(a_run(a_stage("s", 10.0)), tasks)}
    assert lines["s: reading"].seconds == pytest.approx(2.0)
    assert "6.0 MiB at 1.5 MiB/s" in lines["s: reading"].source


def test_a_stage_without_task_records_is_told_by_its_own() -> None:
    assert seconds_of(a_run(a_stage("s", 10.0)))["s"] == 10.0


def test_gradients_go_over_the_link() -> None:
    # 25 MB sent over 100 Mbit/s take 2 s. The worker that sent most counts.
    epoch = {"sent_bytes": 12_500_000, "communicate_s": 3.0}
    workers = [{"rank": 0, **epoch}, {"rank": 1, **epoch}, {"rank": 0, **epoch}, {"rank": 1, **epoch, "sent_bytes": 1}]
    limits = NodeLimits(network_bits_per_s=100_000_000)
    run = a_run(
        a_stage("train", 10.0),
        cluster=ClusterSpec(engine="ray", nodes=2, limits=limits),
        result={"train": {"workers": workers}},
    )
    assert seconds_of(run)["train: gradients"] == pytest.approx(2.0)
    without_link = a_run(a_stage("train", 10.0), result={"train": {"workers": workers}})
    assert seconds_of(without_link)["train: gradients"] == pytest.approx(6.0)


def test_parts_too_short_to_matter_are_left_out() -> None:
    tasks = [a_task("s", "node-0", 0.01, 10), a_task("s", "node-1", 0, 10)]
    assert "s: driver" not in seconds_of(a_run(a_stage("s", 10.0)), *tasks)
