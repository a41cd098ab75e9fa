from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.core.errors import CorruptFileError, InputError, NodewiseError, UnknownNameError, UnsafeFileError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.workspace import Workspace, find_workspace
from nodewise.workspace.database import SCHEMA_VERSION

CLUSTER = ClusterSpec(engine="spark", nodes=5, cores_per_node=2, node_type="Standard_DS3_v2")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def finished(workspace: Workspace) -> RunRecord:
    run = replace(workspace.create_run("prepare", CLUSTER), status=RunStatus.FINISHED)
    workspace.finish_run(run)
    return run


def in_another_process(code: str, root: Path) -> subprocess.Popen[str]:
    head = (
        "import sys, time\nfrom pathlib import Path\nfrom dataclasses import replace\n"
        "from nodewise.workspace import Workspace\nfrom nodewise.specs.cluster import ClusterSpec\n"
        "from nodewise.specs.run import RunStatus\nws = Workspace(Path(sys.argv[1]))\n"
    )
    return subprocess.Popen([sys.executable, "-c", head + code, root], stdout=subprocess.PIPE, text=True)


def held_run(root: Path) -> tuple[subprocess.Popen[str], str]:
    code = "print(ws.create_run('train', ClusterSpec(engine='local')).run_id, flush=True)\ntime.sleep(600)"
    process = in_another_process(code, root)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_a_new_run_is_running_and_has_a_folder(workspace: Workspace) -> None:
    run = workspace.create_run(
        "train", CLUSTER, scenario="five", experiment="e1", tags={"who": "me"}, provenance={"python": "3.11"}
    )

    assert run.status is RunStatus.RUNNING
    assert run.run_id[:15] == f"{run.created_at:%Y%m%d-%H%M%S}"
    assert workspace.run_dir(run.run_id).is_dir()
    assert workspace.get_run(run.run_id) == run
    assert (run.scenario, run.experiment, run.tags) == ("five", "e1", {"who": "me"})


def test_what_a_run_ended_with_comes_back_exactly(workspace: Workspace) -> None:
    run = replace(
        workspace.create_run("compare", CLUSTER),
        status=RunStatus.FAILED,
        ended_at=datetime(2026, 11, 21, 12, tzinfo=UTC),
        cluster_s=12.5,
        start_up_s=3.25,
        cost_usd=Decimal("0.100001"),
        accuracy=0.75,
        stages=(StageRecord(name="prepare", wall_s=1.5, records=10, num_tasks=5),),
        error={"code": "job_failed", "message": "no", "hint": None},
        result={"records": 10},
    )

    workspace.finish_run(run)

    assert Workspace(workspace.root).get_run(run.run_id) == run


def test_the_end_of_a_run_is_dated(workspace: Workspace) -> None:
    run = finished(workspace)

    ended_at = workspace.get_run(run.run_id).ended_at
    assert ended_at is not None
    assert run.created_at <= ended_at <= datetime.now(UTC)


def test_what_ended_is_never_written_over(workspace: Workspace) -> None:
    run = finished(workspace)

    with pytest.raises(InputError, match="has ended already as FINISHED"):
        workspace.finish_run(replace(run, status=RunStatus.FAILED))
    with pytest.raises(ValueError, match="its status is RUNNING"):
        workspace.finish_run(replace(run, status=RunStatus.RUNNING))

    assert workspace.get_run(run.run_id).status is RunStatus.FINISHED


def test_runs_are_listed_newest_first(workspace: Workspace) -> None:
    ids = [workspace.create_run("prepare", CLUSTER).run_id for _ in range(3)]

    assert [run.run_id for run in workspace.list_runs()] == ids[::-1]
    assert [run.run_id for run in workspace.list_runs(limit=1)] == ids[-1:]


def test_reading_makes_nothing_on_the_disk(workspace: Workspace) -> None:
    assert workspace.list_runs() == []
    with pytest.raises(UnknownNameError, match="unknown run 'x' in workspace"):
        workspace.get_run("x")

    assert not workspace.root.exists()


def test_version_control_passes_over_a_workspace_but_not_over_the_project_around_it(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "code.py").touch()

    Workspace(tmp_path / "project").create()
    Workspace(tmp_path / "project" / ".nodewise").create()

    assert (tmp_path / "project" / ".nodewise" / ".gitignore").read_text() == "*\n"
    assert not (tmp_path / "project" / ".gitignore").exists()


def test_a_run_is_found_by_the_beginning_of_its_id(workspace: Workspace) -> None:
    first, second = finished(workspace), finished(workspace)

    assert workspace.get_run(first.run_id[:-1]).run_id == first.run_id
    with pytest.raises(InputError, match="2 runs begin with '2'") as caught:
        workspace.get_run("2")
    assert second.run_id in (caught.value.hint or "")
    for wrong in ("", "%", "_" * 20):
        with pytest.raises(UnknownNameError):
            workspace.get_run(wrong)


def test_an_unknown_id_gives_the_nearest(workspace: Workspace) -> None:
    run = finished(workspace)

    with pytest.raises(UnknownNameError) as caught:
        workspace.get_run(run.run_id[1:])

    assert caught.value.hint == f"did you mean '{run.run_id}'?"


def test_a_deleted_run_is_gone_with_its_folder(workspace: Workspace) -> None:
    run, other = finished(workspace), finished(workspace)
    folder = workspace.run_dir(run.run_id)
    (folder / "part").mkdir()
    (folder / "part" / "model.bin").write_bytes(b"x" * 1000)

    assert workspace.delete_run(run.run_id) == 1000

    assert not folder.exists()
    assert [left.run_id for left in workspace.list_runs()] == [other.run_id]
    assert workspace.run_dir(other.run_id).is_dir()


def test_a_run_that_is_going_on_is_not_deleted(workspace: Workspace) -> None:
    run = workspace.create_run("train", CLUSTER)

    with pytest.raises(InputError, match="is going on"):
        workspace.delete_run(run.run_id)

    assert workspace.run_dir(run.run_id).is_dir()


def test_deleting_never_follows_a_link_out_of_the_workspace(workspace: Workspace, tmp_path: Path) -> None:
    run = finished(workspace)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    workspace.run_dir(run.run_id).rmdir()
    (workspace.root / "runs" / run.run_id).symlink_to(tmp_path / "precious")

    with pytest.raises(UnsafeFileError, match="leads elsewhere"):
        workspace.delete_run(run.run_id)

    assert (tmp_path / "precious" / "file").exists()


@pytest.mark.parametrize("run_id", ["..", ".", "", "../x", "/etc", "a/../../.."])
def test_an_id_is_never_a_way_out(workspace: Workspace, run_id: str) -> None:
    with pytest.raises(UnsafeFileError):
        workspace.run_dir(run_id)


def test_a_run_whose_process_was_killed_is_shown_as_killed(workspace: Workspace) -> None:
    process, run_id = held_run(workspace.root)
    assert [run.status for run in workspace.list_runs()] == [RunStatus.RUNNING]

    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert [run.status for run in workspace.list_runs()] == [RunStatus.KILLED]
    run = workspace.get_run(run_id)
    assert run.error is not None
    assert run.error["code"] == "process_gone"
    workspace.delete_run(run_id)
    assert workspace.list_runs() == []


def test_a_process_that_died_and_was_not_yet_waited_for_holds_nothing(workspace: Workspace) -> None:
    process, run_id = held_run(workspace.root)

    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert workspace.get_run(run_id).status is RunStatus.KILLED
    process.communicate()


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [("process_started_at", 1.0, RunStatus.KILLED), ("host", "elsewhere", RunStatus.RUNNING)],
    ids=["number given to a later process", "another host"],
)
def test_a_process_is_known_by_more_than_its_number(
    workspace: Workspace, column: str, value: float | str, status: RunStatus
) -> None:
    run = workspace.create_run("train", CLUSTER)
    with sqlite3.connect(workspace.root / "nodewise.db") as connection:
        connection.execute(f"UPDATE runs SET {column} = ?", (value,))
    connection.close()

    assert workspace.get_run(run.run_id).status is status


def test_two_processes_write_at_once(workspace: Workspace) -> None:
    code = (
        "for _ in range(100):\n"
        "    run = ws.create_run('train', ClusterSpec(engine='local'))\n"
        "    ws.finish_run(replace(run, status=RunStatus.FINISHED))\n"
    )

    processes = [in_another_process(code, workspace.root) for _ in range(2)]
    for process in processes:
        process.communicate()

    assert [process.returncode for process in processes] == [0, 0]
    runs = workspace.list_runs()
    assert len({run.run_id for run in runs}) == 200
    assert {run.status for run in runs} == {RunStatus.FINISHED}
    connection = sqlite3.connect(workspace.root / "nodewise.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_the_database_is_set_up_for_several_writers(workspace: Workspace) -> None:
    workspace.create_run("train", CLUSTER)

    connection = sqlite3.connect(workspace.root / "nodewise.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
    connection.close()


def test_a_database_of_a_newer_version_is_left_alone(workspace: Workspace) -> None:
    workspace.create_run("train", CLUSTER)
    with sqlite3.connect(workspace.root / "nodewise.db") as connection:
        connection.execute("UPDATE schema_version SET version = 99")
    connection.close()

    with pytest.raises(InputError, match=rf"newer version of nodewise \(schema 99, here {SCHEMA_VERSION}\)"):
        Workspace(workspace.root).list_runs()


def _as_version_1(path: Path) -> None:
    """Take from a database what later versions added."""
    with sqlite3.connect(path) as connection:
        connection.execute("DROP INDEX ix_runs_cluster_name")
        for column in ("cluster_name", "emulation_tier"):
            connection.execute(f"ALTER TABLE runs DROP COLUMN {column}")
        for table in ("clusters", "cluster_events", "ledger", "budgets", "bills"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("UPDATE schema_version SET version = 1")
    connection.close()


def test_a_database_of_version_1_is_brought_up_to_date(workspace: Workspace) -> None:
    run = workspace.create_run("train", CLUSTER)
    path = workspace.root / "nodewise.db"
    _as_version_1(path)

    assert Workspace(workspace.root).list_runs() == [run]
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(SCHEMA_VERSION,)]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert {"clusters", "cluster_events", "ledger", "budgets", "bills", "ix_runs_cluster_name"} <= tables
    connection.close()


def test_an_upgrade_that_fails_changes_nothing(workspace: Workspace) -> None:
    workspace.create_run("train", CLUSTER)
    path = workspace.root / "nodewise.db"
    _as_version_1(path)
    with sqlite3.connect(path) as connection:
        # One of the two columns is there already: the other must not stay behind.
        connection.execute("ALTER TABLE runs ADD COLUMN emulation_tier TEXT")
    connection.close()

    with pytest.raises(NodewiseError, match="duplicate column"):
        Workspace(workspace.root).list_runs()
    connection = sqlite3.connect(path)
    columns = {row[1] for row in connection.execute("PRAGMA table_info(runs)")}
    assert "cluster_name" not in columns
    assert connection.execute("SELECT version FROM schema_version").fetchall() == [(1,)]
    connection.close()


def test_a_file_that_is_no_database_is_named(workspace: Workspace) -> None:
    workspace.create()
    (workspace.root / "nodewise.db").write_text("hello, this is not a database at all")

    with pytest.raises(CorruptFileError, match=r"nodewise\.db: file is not a database"):
        workspace.list_runs()


def test_a_workspace_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        Workspace(tmp_path / "file" / "ws").create_run("train", CLUSTER)


@pytest.mark.parametrize("name", ["a b", "50%", "what?", "#1", "müsli"])
def test_the_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    workspace = Workspace(tmp_path / name)
    run = workspace.create_run("train", CLUSTER)

    assert (tmp_path / name / "nodewise.db").is_file()
    assert workspace.list_runs() == [run]


TASK = TaskRecord(
    stage="prepare",
    task=1,
    node="node-0",
    started_at=1.5,
    ended_at=2.75,
    cpu_s=1.25,
    records=230,
    read_bytes=5_000_000_000,
    written_bytes=7,
    peak_memory_bytes=9,
    retries=2,
)


def test_task_records_come_back_in_order(workspace: Workspace) -> None:
    run = workspace.create_run("train", CLUSTER)
    tasks = [TASK, replace(TASK, task=0, node="node-1")]

    workspace.write_tasks(run.run_id, iter(tasks))

    assert workspace.read_tasks(run.run_id) == tasks
    assert [path.name for path in workspace.run_dir(run.run_id).iterdir()] == ["tasks.parquet"]


def test_a_run_without_tasks_has_none(workspace: Workspace) -> None:
    run = workspace.create_run("train", CLUSTER)
    assert workspace.read_tasks(run.run_id) == []

    workspace.write_tasks(run.run_id, [])
    assert workspace.read_tasks(run.run_id) == []


def test_a_damaged_file_of_tasks_is_named(workspace: Workspace) -> None:
    run = workspace.create_run("train", CLUSTER)
    (workspace.run_dir(run.run_id) / "tasks.parquet").write_bytes(b"PAR1 no PAR1")

    with pytest.raises(CorruptFileError, match=r"tasks\.parquet: not a file of task records"):
        workspace.read_tasks(run.run_id)


def test_the_workspace_is_the_option_then_the_environment_then_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NODEWISE_WORKSPACE", raising=False)
    assert find_workspace() == tmp_path / ".nodewise"

    monkeypatch.setenv("NODEWISE_WORKSPACE", str(tmp_path / "env"))
    assert find_workspace() == tmp_path / "env"
    assert find_workspace("option") == tmp_path / "option"

    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        find_workspace("file")
