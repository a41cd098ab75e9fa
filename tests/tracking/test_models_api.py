"""The Python functions for named models, and that they touch nothing that is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

import nodewise
from nodewise.core.errors import InputError, MissingDependencyError, UnknownNameError
from nodewise.tracking import store
from nodewise.workspace import Workspace

from .conftest import MakeRun


def test_a_model_from_its_name_to_its_end(workspace: Workspace, make_run: MakeRun) -> None:
    home = workspace.root
    run = make_run()
    first = nodewise.register_model(run.run_id[:-1], "flowers", description="First", workspace=home)
    assert (first.version, first.description, first.run_id) == (1, "First", run.run_id)
    assert nodewise.register_model(run.run_id, "flowers", alias="best", workspace=home).aliases == ("best",)
    assert nodewise.alias_model("flowers", "champion", 1, workspace=home).aliases == {"best": 2, "champion": 1}
    assert nodewise.alias_model("flowers", "champion", "best", workspace=home).aliases == {"best": 2, "champion": 2}
    assert nodewise.alias_model("flowers", "best", None, workspace=home).aliases == {"champion": 2}
    assert nodewise.describe_model("flowers", "Five kinds", workspace=home).description == "Five kinds"
    nodewise.delete_model("flowers", version=1, workspace=home)
    assert [version.version for version in nodewise.get_model("flowers", workspace=home).versions] == [2]
    nodewise.delete_model("flowers", workspace=home)
    assert nodewise.list_models(workspace=home) == []


def test_a_users_own_mlflow_stays_as_it_is(workspace: Workspace, make_run: MakeRun) -> None:
    import mlflow

    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    nodewise.register_model(make_run().run_id, "flowers", workspace=workspace.root)
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri()) == before


def test_looking_makes_nothing(tmp_path: Path) -> None:
    home = tmp_path / "none"
    assert nodewise.list_models(workspace=home) == []
    for look in (nodewise.get_model, nodewise.delete_model):
        with pytest.raises(UnknownNameError, match="unknown model 'flowers'"):
            look("flowers", workspace=home)
    with pytest.raises(InputError, match="is no name for a model"):
        nodewise.get_model("../x", workspace=home)
    assert not home.exists()


def test_without_mlflow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError) as caught:
        nodewise.list_models(workspace=tmp_path)
    assert caught.value.hint == "pip install 'nodewise[mlflow]'"
