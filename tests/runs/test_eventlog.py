from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.eventlogs.small_logs import (
    START_MS,
    Event,
    app_end,
    app_start,
    as_lines,
    environment,
    job_end,
    job_start,
    small_application,
    stage_submitted,
    task_end,
)

import nodewise
from nodewise.core.errors import InputError
from nodewise.specs.run import RunStatus
from nodewise.workspace import Workspace

STARTED_AT = datetime.fromtimestamp(START_MS / 1000, UTC)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def write(path: Path, events: list[Event]) -> Path:
    path.write_bytes(as_lines(events))
    return path


def test_an_application_becomes_a_run_of_its_own_time_and_place(tmp_path: Path, workspace: Workspace) -> None:
    result = nodewise.import_eventlog(write(tmp_path / "app-1", small_application()), workspace=workspace.root)

    (run,) = workspace.list_runs()
    assert (run.run_id, run.command, run.scenario) == (result.run_id, "import-eventlog", "etl")
    assert (run.status, run.error) == (RunStatus.FINISHED, None)
    assert (run.created_at, run.ended_at) == (STARTED_AT, STARTED_AT + timedelta(seconds=10))
    assert (run.cluster.engine, run.cluster.nodes, run.cluster.cores_per_node) == ("spark", 2, 4)
    assert (run.cluster_s, run.cost_usd) == (10, None)
    assert [(stage.name, stage.wall_s, stage.num_tasks) for stage in run.stages] == [("0: count at etl.py:7", 3.5, 2)]
    assert (run.provenance["event_log"], run.provenance["spark_version"]) == ("app-1", "3.5.3")
    assert run.provenance["spark_properties"] == {"spark.master": "yarn"}
    assert run.result is not None
    assert run.result["executor_run_seconds"] == 4
    tasks = workspace.read_tasks(run.run_id)
    assert [(task.stage, task.task, task.node, task.wall_s) for task in tasks] == [
        ("0: count at etl.py:7", 0, "host-1", 1),
        ("0: count at etl.py:7", 1, "host-2", 3),
    ]


def test_only_tasks_that_succeeded_have_records(tmp_path: Path, workspace: Workspace) -> None:
    events = [
        app_start(),
        stage_submitted(0),
        task_end(0, 0, 100, reason="ExceptionFailure"),
        task_end(1, 0, 100, reason="TaskKilled"),
        task_end(0, 200, 300, attempt=1),
        app_end(400),
    ]

    result = nodewise.import_eventlog(write(tmp_path / "log", events), workspace=workspace.root)

    assert (result.tasks, result.failed_tasks, result.killed_tasks) == (3, 1, 1)
    assert [(task.task, task.retries) for task in workspace.read_tasks(result.run_id)] == [(0, 1)]


def test_an_application_that_failed_is_a_run_that_failed(tmp_path: Path, workspace: Workspace) -> None:
    events = [app_start(), job_start(0, 1), job_end(0, 2, "no space left"), app_end(3)]

    result = nodewise.import_eventlog(write(tmp_path / "log", events), workspace=workspace.root)

    run = workspace.get_run(result.run_id)
    assert (result.status, run.status) == ("FAILED", RunStatus.FAILED)
    assert run.error == {
        "code": "application_failed",
        "message": "its last job, number 0, failed: no space left",
        "hint": None,
    }


def test_an_application_is_imported_once_whatever_the_file_is_called(tmp_path: Path, workspace: Workspace) -> None:
    first = nodewise.import_eventlog(write(tmp_path / "a", small_application()), workspace=workspace.root)
    second = nodewise.import_eventlog(write(tmp_path / "b", small_application()), workspace=workspace.root)

    assert (first.imported_before, second.imported_before) == (False, True)
    assert (second.run_id, second.longest_stages, second.notes) == (first.run_id, first.longest_stages, first.notes)
    assert len(workspace.list_runs()) == 1


def test_it_is_imported_again_on_request_or_once_the_run_was_deleted(tmp_path: Path, workspace: Workspace) -> None:
    log = write(tmp_path / "a", small_application())
    first = nodewise.import_eventlog(log, workspace=workspace.root)

    again = nodewise.import_eventlog(log, again=True, workspace=workspace.root)

    assert again.run_id != first.run_id
    workspace.delete_run(first.run_id)
    workspace.delete_run(again.run_id)
    assert not nodewise.import_eventlog(log, workspace=workspace.root).imported_before


def test_attempts_of_an_application_and_logs_without_an_id_are_runs_each(tmp_path: Path, workspace: Workspace) -> None:
    nameless = small_application()[2:]
    second = [app_start(**{"App Attempt ID": "2"}), *nameless]

    for events in (small_application(), second, nameless, nameless):
        assert not nodewise.import_eventlog(write(tmp_path / "log", events), workspace=workspace.root).imported_before

    assert len(workspace.list_runs()) == 4


def test_what_is_no_log_leaves_no_run(tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "notes.txt").write_text("no log\n")

    with pytest.raises(InputError, match="is no Spark event log"):
        nodewise.import_eventlog(tmp_path / "notes.txt", workspace=workspace.root)

    assert not workspace.root.exists()


def test_an_import_that_is_broken_off_leaves_no_run(tmp_path: Path, workspace: Workspace) -> None:
    folder = tmp_path / "eventlog_v2_app-1"
    folder.mkdir()
    write(folder / "events_1_app-1", small_application()[:9])
    (folder / "events_2_app-1").write_bytes(b"ZV\x01\x00\x10" + bytes(16))

    with pytest.raises(InputError, match="packed with LZF"):
        nodewise.import_eventlog(folder, workspace=workspace.root)

    assert workspace.list_runs() == []
    assert list((workspace.root / "runs").iterdir()) == []


def test_no_secret_of_the_log_reaches_the_workspace(tmp_path: Path, workspace: Workspace) -> None:
    secret = "hunter2hunter2"
    events = small_application()
    events[1] = app_start(name=f"etl --password {secret}")
    events[2] = environment(**{"spark.master": f"spark://me:{secret}@host:7077", "spark.x.password": secret})
    events[10] = job_end(0, 4600, f"cannot open jdbc:postgresql://me:{secret}@db/sales")
    log = write(tmp_path / f"log-password={secret}", events)

    result = nodewise.import_eventlog(log, workspace=workspace.root)

    assert secret not in repr(result)
    kept = [path for path in workspace.root.rglob("*") if path.is_file()]
    assert len(kept) >= 2
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []


def test_a_real_log_has_a_record_for_each_task(test_data: Path, workspace: Workspace) -> None:
    log = test_data / "eventlogs" / "nds_q72_dataproc_2_2.zstd"
    if not log.exists():
        pytest.skip(f"no event log at {log}")

    result = nodewise.import_eventlog(log, workspace=workspace.root)

    tasks = workspace.read_tasks(result.run_id)
    run = workspace.get_run(result.run_id)
    assert len(tasks) == 13504
    assert (run.cluster.nodes, run.cluster.cores_per_node) == (8, 16)
    assert {task.stage for task in tasks} == {stage.name for stage in run.stages}
    # The four workers of the cluster, and sums, by grep and jq: records of input and shuffle, bytes of the input ...
    assert len({task.node for task in tasks}) == 4
    assert sum(task.records for task in tasks) == 3_829_385_402
    assert sum(task.read_bytes for task in tasks) == 18_367_893_385
    # ... CPU time of running and of deserializing, waits for the shuffle, writing for it.
    assert sum(task.cpu_s for task in tasks) == pytest.approx(5836.670357887 + 186.637412103)
    assert sum(task.communicate_s for task in tasks) == pytest.approx(0.064)
    assert sum(task.write_s for task in tasks) == pytest.approx(178.358100197)
