"""A run from its cluster's start to its stop, and what the workspace keeps of it."""

from __future__ import annotations

import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.engines import tasks
from tests.engines.processes import MARK, LeftOver, marked_processes

from nodewise.core.errors import JobFailedError, PortInUseError
from nodewise.core.progress import SILENT, SilentProgress
from nodewise.runs.session import open_session
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord, RunStatus
from nodewise.workspace import Workspace

CLUSTER = ClusterSpec(engine="local", nodes=2, cores_per_node=1, node_type="Standard_DS3_v2")


@pytest.fixture(autouse=True)
def _functions_reach_the_workers() -> None:
    tasks.carry_by_value()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def left_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LeftOver:
    """Tells which processes that the test began are still there."""
    monkeypatch.setenv(MARK, str(tmp_path))
    return lambda: marked_processes(str(tmp_path))


def stored(workspace: Workspace) -> RunRecord:
    (run,) = workspace.list_runs()
    return run


def test_a_finished_run_is_kept_with_stages_tasks_and_result(workspace: Workspace, left_over: LeftOver) -> None:
    with open_session(
        workspace, "prepare", CLUSTER, SILENT, scenario="two", experiment="first", tags={"team": "a"}
    ) as session:
        assert workspace.get_run(session.run.run_id).status is RunStatus.RUNNING
        with session.stage("squares") as stage:
            assert stage.map(tasks.square, range(5)) == [0, 1, 4, 9, 16]
        with session.stage("burn") as stage:
            stage.map(tasks.burn, [0.05, 0.05])
        session.result["answer"] = 42
        session.accuracy = 0.75
        assert left_over() != []
    assert left_over() == []
    run = stored(workspace)
    assert run.status is RunStatus.FINISHED
    assert run.error is None
    assert (run.command, run.scenario, run.experiment, run.tags) == ("prepare", "two", "first", {"team": "a"})
    assert (run.result, run.accuracy) == ({"answer": 42}, 0.75)
    assert [(stage.name, stage.records, stage.num_tasks) for stage in run.stages] == [("squares", 0, 5), ("burn", 6, 2)]
    assert run.ended_at is not None
    assert run.ended_at > run.created_at
    assert run.start_up_s is not None
    assert run.cluster_s is not None
    assert run.cluster_s >= run.start_up_s + sum(stage.wall_s for stage in run.stages)
    assert "python" in run.provenance
    kept = workspace.read_tasks(run.run_id)
    assert sorted((task.stage, task.task) for task in kept) == [
        *(("burn", number) for number in range(2)),
        *(("squares", number) for number in range(5)),
    ]


def test_the_cost_is_nodes_times_price_times_billed_time(workspace: Workspace) -> None:
    with open_session(workspace, "prepare", CLUSTER, SILENT):
        pass
    run = stored(workspace)
    assert run.cluster_s is not None
    # Two nodes at $0.293 an hour, to the millisecond.
    exact = Decimal(round(run.cluster_s * 1000)) * 2 * Decimal("0.293") / 3_600_000
    assert run.cost_usd == exact.quantize(Decimal("0.000001"))


def test_a_failed_task_fails_the_run_and_keeps_what_was_done(
    workspace: Workspace, tmp_path: Path, left_over: LeftOver
) -> None:
    attempts = tmp_path / "attempts"
    attempts.mkdir()

    def run_two_stages() -> None:
        with open_session(workspace, "prepare", CLUSTER, SILENT) as session:
            with session.stage("before") as stage:
                stage.map(tasks.square, range(3))
            with session.stage("fails") as stage:
                stage.map(tasks.fail_on_one, [(number, str(attempts)) for number in range(2)])

    with pytest.raises(JobFailedError, match="number 1 fails") as caught:
        run_two_stages()
    assert left_over() == []
    run = stored(workspace)
    assert run.status is RunStatus.FAILED
    assert run.error == caught.value.to_json()
    assert [stage.name for stage in run.stages] == ["before"]
    assert [task.stage for task in workspace.read_tasks(run.run_id)][:3] == ["before"] * 3
    assert run.cost_usd is not None
    assert run.cost_usd > 0


def test_a_bug_of_ours_fails_the_run_too(workspace: Workspace, left_over: LeftOver) -> None:
    with pytest.raises(KeyError), open_session(workspace, "prepare", CLUSTER, SILENT):
        raise KeyError("missing")
    assert left_over() == []
    run = stored(workspace)
    assert run.status is RunStatus.FAILED
    assert run.error == {"code": "internal", "message": "KeyError: 'missing'", "hint": None}


def test_an_interrupted_run_is_killed(workspace: Workspace, left_over: LeftOver) -> None:
    with pytest.raises(KeyboardInterrupt), open_session(workspace, "prepare", CLUSTER, SILENT):
        raise KeyboardInterrupt
    assert left_over() == []
    run = stored(workspace)
    assert run.status is RunStatus.KILLED
    assert run.error is not None
    assert run.error["code"] == "interrupted"


def test_a_cluster_that_does_not_start_is_a_failed_run(
    workspace: Workspace, left_over: LeftOver, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a network of its own nobody could take its port.
    monkeypatch.setenv("NODEWISE_EMULATION_TIER", "processes")
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        cluster = ClusterSpec(engine="ray", nodes=2, port=port)
        with pytest.raises(PortInUseError), open_session(workspace, "prepare", cluster, SILENT):
            raise AssertionError("the block is not entered")
    assert left_over() == []
    run = stored(workspace)
    assert run.status is RunStatus.FAILED
    assert run.error is not None
    assert (run.error["code"], run.stages) == ("port_in_use", ())


class Recorder(SilentProgress):
    """Keeps what it is told, and makes a file when it first hears of a step's detail."""

    def __init__(self, noticed: Path | None = None) -> None:
        self.told: list[Any] = []
        self._noticed = noticed

    def stage(self, name: str, total: int | None = None) -> None:
        self.told.append((name, total))

    def advance(self, steps: int = 1, detail: str = "") -> None:
        self.told.append(detail or steps)
        if self._noticed is not None:
            self._noticed.touch()


def test_the_progress_of_tasks_is_told_one_by_one(workspace: Workspace) -> None:
    progress = Recorder()
    with open_session(workspace, "prepare", CLUSTER, progress) as session, session.stage("squares") as stage:
        stage.map(tasks.square, range(3))
    assert progress.told == [("start local, 2 nodes", None), ("squares", 3), 1, 1, 1]


def test_epochs_are_told_while_the_gang_still_runs(workspace: Workspace, tmp_path: Path) -> None:
    log, noticed = tmp_path / "epochs.jsonl", tmp_path / "noticed"
    progress = Recorder(noticed)
    with open_session(workspace, "train", CLUSTER, progress) as session, session.stage("train") as stage:
        assert stage.gang(tasks.tell_epochs, (str(log), str(noticed)), steps=3, log=log, max_restarts=3) == [0, 1]
    assert progress.told[1:] == [
        ("train", 3),
        "loss 1.000, accuracy 25.0%",
        "loss 0.500, accuracy 50.0%",
        "loss 0.333, accuracy 75.0%",
    ]
    assert [task.node for task in workspace.read_tasks(session.run.run_id)] == ["node-0", "node-1"]


def test_a_crew_is_followed_as_a_gang_is_and_its_records_tell_who_was_lost(
    workspace: Workspace, tmp_path: Path
) -> None:
    log, noticed = tmp_path / "epochs.jsonl", tmp_path / "noticed"
    progress = Recorder(noticed)
    with open_session(workspace, "train", CLUSTER, progress) as session, session.stage("train") as stage:
        payload = (str(log), str(noticed), str(tmp_path / "died"))
        assert stage.crew(tasks.crew_tells_epochs, payload, steps=3, log=log) == [0, 1]
    assert progress.told[1:] == [
        ("train", 3),
        "loss 1.000, accuracy 25.0%",
        "loss 0.500, accuracy 50.0%",
        "loss 0.333, accuracy 75.0%",
    ]
    records = sorted((task.task, task.node, task.retries) for task in workspace.read_tasks(session.run.run_id))
    assert records == [(0, "node-0", 0), (1, "node-1", 1)]
    assert session.last_stage.num_tasks == 2


def test_a_crew_has_as_many_members_per_node_as_are_asked_for(workspace: Workspace, tmp_path: Path) -> None:
    (folder := tmp_path / "together").mkdir()
    with open_session(workspace, "train", CLUSTER, SILENT) as session, session.stage("train") as stage:
        log = tmp_path / "epochs.jsonl"
        values = stage.crew(tasks.crew_meets, str(folder), members_per_node=2, steps=1, log=log)
    assert [(member.rank, member.world_size) for member, _ in values] == [(rank, 4) for rank in range(4)]
