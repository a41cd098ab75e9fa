"""``nodewise models``, from a training run to predictions of the model by its name."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import nodewise
from nodewise.workspace import Workspace

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_id(tmp_path: Path, small_shards: Path) -> str:
    """A run that trained, before anything was mirrored to MLflow."""
    return nodewise.train(small_shards, epochs=1, cores_per_node=1, workspace=tmp_path / "ws").run_id


def result_of(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert content["ok"]
    return content["result"]


def test_a_trained_model_gets_a_name_and_is_used_by_it(
    cli: Cli, run_id: str, small_shards: Path, tmp_path: Path, read_json: Callable[[Path], dict[str, Any]]
) -> None:
    done = cli("models", "register", run_id, "--name", "digits", "--alias", "champion")
    told = f"run {run_id} is version 1 of digits; use it as models:/digits@champion\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "", told)

    words = ("models", "describe", "digits", "Ten digits", "--version", "champion", "--json", "model.json")
    done = cli(*words, env={"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines())) <= 80
    row = done.stdout.splitlines()[3]
    assert row.split()[:2] == ["1", run_id]
    assert row.rstrip().endswith("champion Ten digits")

    model = read_json(tmp_path / "model.json")["result"]
    assert (model["name"], model["aliases"]) == ("digits", {"champion": 1})
    (version,) = model["versions"]
    assert (version["run_id"], version["description"]) == (run_id, "Ten digits")
    assert len(version["data_fingerprint"]) == 16

    scored = cli("score", str(small_shards), "--model", "models:/digits@champion", "--no-preflight", "--json", "-")
    assert result_of(scored)["records"] == 40


def test_without_a_named_model_a_workspace_stays_without_mlflow(cli: Cli, tmp_path: Path) -> None:
    done = cli("models", "list")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("no models; give one a name with `nodewise models register")
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "../../x"), "error: '../../x' is no name for a model"),
        (("show", "digits"), "error: unknown model 'digits'"),
        (("register", "2026", "--name", "digits"), "error: unknown run '2026'"),
        (("register", "2026", "--name", "a/b"), "error: 'a/b' is no name for a model"),
        (("alias", "digits", "champion"), "error: an alias needs either a VERSION or --remove"),
        (("alias", "digits", "v3", "1"), "error: 'v3' is no alias for a version"),
        (("delete", "digits"), "error: unknown model 'digits'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_asked_is_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli("models", *arguments)

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_a_command_mirrors_its_run_and_its_output_stays_clean(cli: Cli, tmp_path: Path, digits_folder: Path) -> None:
    done = cli(
        "prepare",
        str(digits_folder),
        "shards",
        "--sample",
        "0.05",
        "--size",
        "32",
        "--json",
        "-",
        env={"NODEWISE_TRACKING": "on"},
    )
    run_id = result_of(done)["run_id"]
    assert "mlflow" not in done.stderr.lower()
    assert (tmp_path / "ws" / "mlflow" / "artifacts").is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"ws", "shards"}
    assert nodewise.list_models(workspace=tmp_path / "ws") == []
    assert Workspace(tmp_path / "ws").get_run(run_id).provenance["jobs"]["prepare"]["sample"] == 0.05
