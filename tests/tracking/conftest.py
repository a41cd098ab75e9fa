"""A workspace with MLflow's store in it, and runs as the workspace has them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from nodewise.core.progress import SilentProgress
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import to_json
from nodewise.specs.job import TrainSpec
from nodewise.specs.results import EpochResult, TrainResult
from nodewise.specs.run import RunRecord, RunStatus, StageRecord
from nodewise.tracking.store import open_store
from nodewise.training.model_file import ModelInfo, save_model
from nodewise.training.models import build_model
from nodewise.workspace import Workspace

MakeRun = Callable[..., RunRecord]

INFO = ModelInfo(model="cnn", classes=("daisy", "rose"), image_shape=(3, 18, 20), transform={"size": None})


class Notes(SilentProgress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture(autouse=True)
def _tracking_is_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And MLflow finds no setting of the developer's; what it would leave where the user stands would be found."""
    for name in ("NODEWISE_TRACKING", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow with its tables, which take a second to make."""
    workspace = Workspace(tmp_path_factory.mktemp("store") / "ws")
    with open_store(workspace):
        pass
    return workspace.root / "mlflow"


@pytest.fixture
def workspace(tmp_path: Path, empty_store: Path) -> Workspace:
    shutil.copytree(empty_store, tmp_path / "ws" / "mlflow")
    return Workspace(tmp_path / "ws")


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "model.safetensors"
    save_model(path, build_model("cnn", num_classes=2, image_shape=INFO.image_shape), INFO)
    return path


@pytest.fixture
def make_run(workspace: Workspace, model_path: Path) -> MakeRun:
    """A run of ``train`` that has ended, as the workspace keeps it; any field can be given."""

    def make(status: RunStatus = RunStatus.FINISHED, **changes: Any) -> RunRecord:
        run = workspace.create_run(
            changes.pop("command", "train"),
            ClusterSpec(engine="local", nodes=2, node_type="Standard_DS3_v2"),
            experiment=changes.pop("experiment", None),
            tags=changes.pop("tags", {"team": "vision"}),
        )
        (workspace.run_dir(run.run_id) / "tasks.parquet").write_bytes(b"tasks")
        fields: dict[str, Any] = {
            "cluster_s": 12.5,
            "start_up_s": 2.5,
            "cost_usd": Decimal("0.002035"),
            "accuracy": 0.75,
            "stages": (StageRecord(name="train", wall_s=8.0, records=400, started_at=run.created_at.timestamp()),),
            "result": {"train": to_json(trained(model_path))},
            "provenance": {
                "machine": "a machine",
                "versions": {"nodewise": "0.1.0"},
                "command": ["nodewise", "train", "shards"],
                "jobs": {"train": {**to_json(TrainSpec(epochs=2)), "data": "/shards", "data_fingerprint": "0123abcd"}},
            },
        }
        finished = replace(run, status=status, **{**fields, **changes})
        workspace.finish_run(finished)
        return workspace.get_run(finished.run_id)

    return make


def trained(model_path: Path) -> TrainResult:
    return TrainResult(
        model_path=str(model_path),
        accuracy=0.75,
        epochs=(
            EpochResult(epoch=1, loss=2.0, train_accuracy=0.25, test_accuracy=0.5, seconds=3.0),
            EpochResult(epoch=2, loss=1.0, train_accuracy=0.5, test_accuracy=0.75, seconds=4.0),
        ),
        seconds=8.0,
        start_up_seconds=2.5,
        world_size=2,
        strategy="all-reduce",
        records=200,
    )
