from __future__ import annotations

from pathlib import Path

import pytest

from nodewise.eventlogs.reader import read_application
from nodewise.eventlogs.records import cluster_of, facts_of, result_of, stage_records, task_record
from nodewise.specs.results import EventLogStage
from nodewise.specs.run import StageRecord, TaskRecord

from .small_logs import (
    START_MS,
    Event,
    app_start,
    as_lines,
    environment,
    executor_added,
    small_application,
    stage_submitted,
    task_end,
)
from .test_events import METRICS

SECOND = START_MS / 1000


def write(folder: Path, events: list[Event]) -> Path:
    (folder / "log").write_bytes(as_lines(events))
    return folder / "log"


def test_a_task_becomes_a_record(tmp_path: Path) -> None:
    events = [app_start(), stage_submitted(3), task_end(5, 1000, 2000, stage_id=3, attempt=2, metrics=METRICS)]
    (task,) = read_application(write(tmp_path, events)).tasks

    assert task_record(task, "3: count") == TaskRecord(
        stage="3: count",
        task=5,
        node="host-1",
        started_at=SECOND + 1,
        ended_at=SECOND + 2,
        cpu_s=0.53,
        records=29,
        read_bytes=1000,
        written_bytes=300,
        peak_memory_bytes=4096,
        retries=2,
        write_s=0.005,
        communicate_s=0.025,
    )


def test_a_clock_that_went_back_makes_no_negative_time(tmp_path: Path) -> None:
    (task,) = read_application(write(tmp_path, [app_start(), task_end(0, 2000, 1000)])).tasks

    assert task_record(task, "0").wall_s == 0


def test_stages_and_cluster_are_those_of_the_application(tmp_path: Path) -> None:
    app = read_application(write(tmp_path, small_application()))

    assert stage_records(app) == (
        StageRecord(name="0: count at etl.py:7", wall_s=3.5, records=0, num_tasks=2, started_at=SECOND + 1),
    )
    cluster = cluster_of(app)
    assert (cluster.engine, cluster.nodes, cluster.cores_per_node, cluster.address) == ("spark", 2, 4, "yarn")
    assert not cluster.emulated


@pytest.mark.parametrize("master", ["local[12]", "local-cluster[2,1,1024]"])
def test_a_local_application_did_not_run_on_this_machine(master: str, tmp_path: Path) -> None:
    events = [app_start(), environment(**{"spark.master": master}), executor_added("driver", cores=12)]

    cluster = cluster_of(read_application(write(tmp_path, events)))

    assert cluster.address == f"its own machine ({master})"
    assert not cluster.emulated


def test_only_settings_of_interest_are_kept(tmp_path: Path) -> None:
    settings = {"spark.executor.memory": "4g", "spark.app.startTime": "1", "java.io.tmpdir": "/tmp"}
    app = read_application(write(tmp_path, [app_start(**{"App Attempt ID": "2"}), environment(**settings)]))

    assert facts_of(app) == {
        "app_id": "app-1",
        "app_attempt_id": "2",
        "app_name": "etl",
        "spark_version": None,
        "spark_properties": {"spark.master": "yarn", "spark.executor.memory": "4g"},
    }


def test_the_result_sums_up(tmp_path: Path) -> None:
    result = result_of(read_application(write(tmp_path, small_application())), "run-1")

    assert (result.run_id, result.app_id, result.stages, result.tasks, result.failed_tasks) == (
        "run-1",
        "app-1",
        1,
        2,
        0,
    )
    assert (result.executors, result.cores, result.seconds) == (2, 8, 10)
    assert (result.executor_run_seconds, result.executor_cpu_seconds) == (4, 2)
    assert result.busy_fraction == 4 / (8 * 10)
    assert (result.status, result.failure, result.complete, result.notes) == ("FINISHED", None, True, ())
    assert result.longest_stages == (
        EventLogStage(name="0: count at etl.py:7", seconds=3.5, tasks=2, median_task_seconds=2, max_task_seconds=3),
    )


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    result = result_of(read_application(write(tmp_path, small_application()[7:9])), "run-1")

    assert (result.app_id, result.cores, result.busy_fraction) == (None, 0, None)
    assert [note.split(",")[0] for note in result.notes] == [
        "the log lacks its beginning",
        "the log lacks the application's end; times go to the last job",
        "the log does not tell of executors",
    ]
