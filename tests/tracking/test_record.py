"""A run of the workspace becomes a run of MLflow: with the real MLflow and its real SQLite store."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nodewise.core.errors import MissingDependencyError
from nodewise.specs.run import RunRecord, RunStatus
from nodewise.tracking import record, store
from nodewise.tracking.record import find_run, record_run
from nodewise.tracking.store import Store, open_store
from nodewise.training.model_file import load_model
from nodewise.training.records import to_input
from nodewise.workspace import Workspace

from .conftest import INFO, MakeRun, Notes


@pytest.fixture
def opened(workspace: Workspace) -> Iterator[Store]:
    with open_store(workspace) as found:
        yield found


def mirrored(opened: Store, run: RunRecord) -> Any:
    """The one run of MLflow that stands for a run."""
    mlflow_run_id = find_run(opened, run)
    assert mlflow_run_id is not None
    return opened.client.get_run(mlflow_run_id)


def test_a_run_has_its_times_status_parameters_metrics_and_tags(
    workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes
) -> None:
    run = make_run()
    record_run(workspace, run, notes)

    assert notes.notes == []
    found = mirrored(opened, run)
    assert found.info.status == "FINISHED"
    assert found.info.start_time == round(run.created_at.timestamp() * 1000)
    assert run.ended_at is not None
    assert found.info.end_time == round(run.ended_at.timestamp() * 1000)
    assert opened.client.get_experiment(found.info.experiment_id).name == "train"
    assert found.data.params["nodes"] == "2"
    # What was left open in the settings was found out by the job.
    assert found.data.params["train/strategy"] == "all-reduce"
    assert found.data.metrics["accuracy"] == 0.75
    assert found.data.metrics["cost/usd"] == 0.002035
    assert found.data.metrics["records_per_s/train"] == 50.0
    history = opened.client.get_metric_history(found.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.0), (2, 1.0)]
    assert found.data.tags["team"] == "vision"
    assert found.data.tags["nodewise.run_id"] == run.run_id
    assert [file.path for file in opened.client.list_artifacts(found.info.run_id)] == ["tasks.parquet"]


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.KILLED])
def test_a_run_that_did_not_finish_is_told_with_its_reason(
    workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes, status: RunStatus
) -> None:
    error = {"code": "worker_lost", "message": "worker 1 died", "hint": None}
    run = make_run(status, error=error, result={}, accuracy=None)
    record_run(workspace, run, notes)

    found = mirrored(opened, run)
    assert found.info.status == status
    assert found.data.tags["nodewise.error.message"] == "worker 1 died"
    assert "accuracy" not in found.data.metrics
    assert notes.notes == []


def test_nothing_is_printed_and_nothing_left_where_the_user_stands(
    workspace: Workspace, make_run: MakeRun, notes: Notes, capfd: pytest.CaptureFixture[str]
) -> None:
    before = dict(os.environ)
    record_run(workspace, make_run(), notes)
    assert capfd.readouterr() == ("", "")
    assert list(Path.cwd().iterdir()) == []
    assert dict(os.environ) == before
    import mlflow

    assert mlflow.active_run() is None


def test_a_long_table_stays_in_the_workspace(
    workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes
) -> None:
    run = make_run(result={})
    (workspace.run_dir(run.run_id) / "tasks.parquet").write_bytes(b"x" * (record.MAX_TABLE_BYTES + 1))
    record_run(workspace, run, notes)
    assert opened.client.list_artifacts(mirrored(opened, run).info.run_id) == []


def test_the_model_answers_through_mlflow_as_it_does_without(
    workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes, model_path: Path
) -> None:
    run = make_run()
    record_run(workspace, run, notes)
    outputs = mirrored(opened, run).outputs
    (logged,) = (opened.client.get_logged_model(output.model_id) for output in outputs.model_outputs)
    assert logged.tags["nodewise.run_id"] == run.run_id
    assert logged.tags["nodewise.data_fingerprint"] == "0123abcd"
    assert logged.tags["nodewise.accuracy"] == "0.75"
    files = sorted(path.name for path in Path(logged.artifact_location.removeprefix("file://")).rglob("*"))
    assert files == ["MLmodel", "data", "model.safetensors", "python_env.yaml", "requirements.txt"]

    images = np.random.default_rng(0).integers(0, 256, (300, 18, 20, 3), dtype=np.uint8)
    model = load_pyfunc(logged.artifact_location)
    answers = model.predict(images)
    network, _ = load_model(model_path)
    with torch.inference_mode():
        best = torch.softmax(network(to_input(torch.from_numpy(images))), dim=1).max(dim=1)
    assert list(answers["predicted"]) == [INFO.classes[number] for number in best.indices]
    assert answers["probability"].to_numpy() == pytest.approx(best.values.numpy())
    assert model.metadata.signature.inputs.inputs[0].shape == (-1, 18, 20, 3)
    assert model.metadata.signature.outputs.input_names() == ["predicted", "probability"]
    assert len(model.predict(images[:0])) == 0


def test_the_model_can_be_served(workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes) -> None:
    run = make_run()
    record_run(workspace, run, notes)
    (output,) = mirrored(opened, run).outputs.model_outputs
    model = load_pyfunc(opened.client.get_logged_model(output.model_id).artifact_location)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.pyfunc import scoring_server
        from starlette.testclient import TestClient

        server = TestClient(scoring_server.init(model))
        answered = server.post("/invocations", json={"inputs": np.zeros((2, 18, 20, 3), dtype=int).tolist()})
        refused = server.post("/invocations", json={"inputs": np.zeros((2, 9, 9, 3), dtype=int).tolist()})
    assert answered.status_code == 200
    (first, second) = answered.json()["predictions"]
    assert first == second
    assert first["predicted"] in INFO.classes
    assert refused.status_code == 400


def test_a_damaged_model_is_told_in_a_note_and_the_run_is_there(
    workspace: Workspace, make_run: MakeRun, opened: Store, notes: Notes, model_path: Path
) -> None:
    model_path.write_bytes(b"no model")
    run = make_run()
    record_run(workspace, run, notes)
    (note,) = notes.notes
    assert note.startswith(f"run {run.run_id} is in the workspace, but not or not wholly in MLflow: {model_path}")
    assert mirrored(opened, run).info.status == "FINISHED"


def test_switched_off_nothing_is_mirrored(
    make_run: MakeRun, notes: Notes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(store.SWITCH, "off")
    run = make_run()
    record_run(Workspace(tmp_path / "other"), run, notes)
    assert notes.notes == []
    assert not (tmp_path / "other").exists()


def test_without_mlflow_a_run_ends_as_ever(
    make_run: MakeRun, notes: Notes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = make_run()
    monkeypatch.setattr(store, "find_spec", lambda _name: None)
    workspace = Workspace(tmp_path / "other")
    record_run(workspace, run, notes)
    assert notes.notes == []
    with pytest.raises(MissingDependencyError) as caught, open_store(workspace):
        pass
    assert caught.value.hint == "pip install 'nodewise[mlflow]'"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    record_run(workspace, run, notes)
    (note,) = notes.notes
    assert "pip install" in note
    assert not workspace.root.exists()


def test_a_server_that_is_away_costs_a_note_and_no_run(
    workspace: Workspace, make_run: MakeRun, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:hunter2-long@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = make_run()
    record_run(workspace, run, notes)
    (note,) = notes.notes
    assert "in the workspace, but not or not wholly in MLflow" in note
    assert "hunter2" not in note
    assert workspace.get_run(run.run_id).status is RunStatus.FINISHED


def test_another_store_can_be_named(
    workspace: Workspace,
    make_run: MakeRun,
    notes: Notes,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    empty_store: Path,
) -> None:
    elsewhere = tmp_path / "mlflow.db"
    elsewhere.write_bytes((empty_store / "mlflow.db").read_bytes())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{elsewhere}")
    run = make_run(result={})
    (workspace.run_dir(run.run_id) / "tasks.parquet").unlink()
    record_run(workspace, run, notes)
    assert notes.notes == []
    with open_store(workspace) as named:
        assert mirrored(named, run).info.status == "FINISHED"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with open_store(workspace) as own:
        assert find_run(own, run) is None


def test_four_processes_begin_to_track_into_a_new_workspace_at_once(tmp_path: Path) -> None:
    code = """
import sys
from dataclasses import replace
from pathlib import Path
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunStatus
from nodewise.tracking.record import log_run
from nodewise.tracking.store import open_store
from nodewise.workspace import Workspace
workspace = Workspace(Path(sys.argv[1]))
sys.stdin.readline()
for _ in range(3):
    run = workspace.create_run("train", ClusterSpec(engine="local"))
    with open_store(workspace) as store:
        log_run(store, workspace, replace(run, status=RunStatus.FINISHED, accuracy=0.5))
"""
    workspace = Workspace(tmp_path / "new")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(workspace.root)], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    ends = [process.communicate(timeout=200) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, ends, strict=True)] == [
        (0, b"")
    ] * 4
    with open_store(workspace) as found:
        (experiment,) = (one for one in found.client.search_experiments() if one.name == "train")
        runs = found.client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len({run.data.tags["nodewise.run_id"] for run in runs}) == 12


def load_pyfunc(uri: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow.pyfunc

        return mlflow.pyfunc.load_model(uri)
