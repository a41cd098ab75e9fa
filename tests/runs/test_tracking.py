"""However a run ends, it is in MLflow when its cluster is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT
from nodewise.runs.session import open_session
from nodewise.specs.cluster import ClusterSpec
from nodewise.tracking.facts import experiment_of
from nodewise.tracking.record import find_run
from nodewise.tracking.store import SWITCH, open_store
from nodewise.workspace import Workspace

CLUSTER = ClusterSpec(engine="local")


def test_every_run_is_mirrored_with_its_end_and_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SWITCH, "on")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    workspace = Workspace(tmp_path / "ws")
    with open_session(workspace, "train", CLUSTER, SILENT) as session:
        session.jobs["train"] = {"epochs": 3}
        session.accuracy = 0.5
    with pytest.raises(InputError), open_session(workspace, "score", CLUSTER, SILENT):
        raise InputError("no such thing")
    with (
        pytest.raises(KeyboardInterrupt),
        open_session(workspace, "compare", CLUSTER, SILENT, scenario="two nodes", experiment="mine-20261121-100000"),
    ):
        raise KeyboardInterrupt

    runs = list(reversed(workspace.list_runs()))
    with open_store(workspace) as store:
        found = [store.client.get_run(find_run(store, run) or "") for run in runs]
    assert [(experiment_of(run), one.info.status) for run, one in zip(runs, found, strict=True)] == [
        ("train", "FINISHED"),
        ("score", "FAILED"),
        ("mine", "KILLED"),
    ]
    assert (found[0].data.params["train/epochs"], found[0].data.metrics["accuracy"]) == ("3", 0.5)
    assert found[1].data.tags["nodewise.error.message"] == "no such thing"
    assert found[2].info.run_name == "two nodes"
    assert runs[0].provenance["jobs"] == {"train": {"epochs": 3}}
