"""The commands prepare, train, score and compare, as processes: what they print, write, return and leave behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from nodewise.workspace import Workspace


def test_the_three_jobs_alone_keep_the_contract(cli: Any, read_json: Any, tmp_path: Path) -> None:
    done = cli("prepare", "digits", "shards", "--size", "32", "--sample", "0.2", "--nodes", "2", "--json", "p.json")
    assert done.returncode == 0, done.stderr
    result = read_json(tmp_path / "p.json")["result"]
    assert result["records"] == 359 == sum(shard["records"] for shard in result["shards"])
    assert result["skipped"] == []
    assert result["classes"] == list("0123456789")
    assert {"seconds", "start_up_seconds", "records_per_s"} <= set(result)
    for shard in result["shards"]:
        path = tmp_path / "shards" / shard["path"]
        assert path.stat().st_size == shard["bytes"]
        assert path.stem.split("-")[2] == str(shard["records"])

    done = cli("train", "shards", "--epochs", "2", "-o", "model.safetensors", "--json", "t.json")
    assert done.returncode == 0, done.stderr
    result = read_json(tmp_path / "t.json")["result"]
    assert result["model_path"] == str(tmp_path / "model.safetensors")
    assert [epoch["epoch"] for epoch in result["epochs"]] == [1, 2]
    assert set(result["epochs"][0]) == {"epoch", "loss", "train_accuracy", "test_accuracy", "seconds"}
    assert (result["world_size"], result["strategy"]) == (1, "single")
    assert result["accuracy"] == result["epochs"][-1]["test_accuracy"]

    done = cli("score", "shards", "--model", "model.safetensors", "--json", "-")
    assert done.returncode == 0, done.stderr
    scored = json.loads(done.stdout)["result"]
    assert scored["accuracy"] == pytest.approx(result["accuracy"])
    rows = pq.read_table(scored["predictions_path"]).to_pylist()
    assert scored["records"] == len(rows) == len({row["record"] for row in rows})

    listed = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"]
    assert [(run["command"], run["status"]) for run in listed] == [
        ("score", "FINISHED"),
        ("train", "FINISHED"),
        ("prepare", "FINISHED"),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["prepare", "nowhere", "shards"], ["nowhere does not exist"]),
        (["prepare", "digits", "shards", "--sample", "0"], ["sample", "above 0"]),
        (["prepare", "digits", "shards", "--sample", "0.0001"], ["sample"]),
        (["prepare", "digits", "shards", "--engine", "sprak"], ["sprak", "local", "spark", "ray"]),
        (["prepare", "digits", "shards", "--node-type", "Standard_DS3v2"], ["Standard_DS3v2", "Standard_DS3_v2"]),
        (["prepare", "digits", "shards", "--nodes", "0"], ["nodes", "at least 1"]),
        (["prepare", "digits", "shards", "--tag", "novalue"], ["novalue", "NAME=VALUE"]),
        (["train", "nowhere"], ["nowhere", "nodewise prepare"]),
        (["score", "nowhere", "--model", "m"], ["nowhere", "nodewise prepare"]),
        (["compare", "nowhere.yaml"], ["nowhere.yaml"]),
        (["prepare", "digits"], ["dest"]),
    ],
)
def test_a_wrong_request_is_one_line_exit_2_and_no_run(
    cli: Any, read_json: Any, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = cli(*arguments, "--json", "out.json")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    for word in words:
        assert word.casefold() in done.stderr.casefold()
    content = read_json(tmp_path / "out.json")
    assert content["ok"] is False
    assert content["result"] is None
    assert set(content["error"]) == {"code", "message", "hint"}
    assert Workspace(tmp_path / "ws").list_runs() == []


def test_a_class_without_images_is_named(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "photos" / "empty").mkdir(parents=True)
    (tmp_path / "photos" / "full").mkdir()
    (tmp_path / "photos" / "full" / "a.png").write_bytes(b"x")
    done = cli("prepare", "photos", "shards")
    assert done.returncode == 2
    assert "empty" in done.stderr


def test_without_java_spark_fails_with_what_to_install_and_the_run_is_kept(cli: Any, tmp_path: Path) -> None:
    empty = tmp_path / "no-java"
    empty.mkdir()
    done = cli(
        *("prepare", "digits", "shards", "--size", "32", "--engine", "spark", "--no-preflight"),
        env={"JAVA_HOME": str(empty)},
        timeout=60,
    )
    assert done.returncode == 1
    assert "Java 17" in done.stderr
    assert "openjdk" in done.stderr
    (run,) = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"]
    assert run["status"] == "FAILED"
    assert run["error"]["code"] == "missing_dependency"


def test_a_job_that_fails_is_kept_with_its_reason_and_leaves_no_data_set(
    cli: Any, read_json: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "photos" / "only"
    folder.mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"no image")
    done = cli("prepare", "photos", "shards", "--json", "out.json")
    assert done.returncode == 1
    assert read_json(tmp_path / "out.json")["error"]["code"] == "job_failed"
    assert not (tmp_path / "shards" / "manifest.json").exists()
    (run,) = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"]
    assert run["status"] == "FAILED"
    assert "a.jpg" in run["error"]["message"]


@pytest.mark.parametrize(
    ("engine", "number"),
    [
        ("local", signal.SIGINT),
        pytest.param("local", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("spark", signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("ray", signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_command_leaves_no_process_and_a_killed_run(
    cli: Any, environment: dict[str, str], mark: Any, tmp_path: Path, engine: str, number: signal.Signals
) -> None:
    if engine == "spark" and shutil.which("java") is None:
        pytest.skip("Spark needs Java 17")
    assert cli("prepare", "digits", "shards", "--size", "32").returncode == 0
    command = [sys.executable, "-m", "nodewise", "train", "shards", "--epochs", "500", "--nodes", "2"]
    # A session of its own, and the signal to the whole group: what a terminal does on Ctrl-C.
    quiet = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    process = subprocess.Popen(
        [*command, "--engine", engine], cwd=tmp_path, env=environment, start_new_session=True, **quiet
    )
    log = tmp_path / "ws" / "runs"
    deadline = time.monotonic() + 120
    while not list(log.glob("*/epochs.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(log.glob("*/epochs.jsonl")), "training did not begin"
    os.killpg(process.pid, number)
    # Impatience does not cut the cleaning up off.
    time.sleep(0.1)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert b"Traceback" not in errors
    assert mark.left() == []
    newest = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"][0]
    assert newest["status"] == "KILLED"
    assert list((tmp_path / "ws" / "runs" / newest["run_id"]).glob("*.safetensors")) == []


@pytest.mark.slow
def test_a_worker_killed_from_outside_changes_no_shard(
    cli: Any, environment: dict[str, str], mark: Any, tmp_path: Path
) -> None:
    assert cli("prepare", "digits", "undisturbed", "--size", "200", "--shard-records", "20").returncode == 0
    command = [sys.executable, "-m", "nodewise", "prepare", "digits", "shards", "--size", "200", "--nodes", "2"]
    process = subprocess.Popen(
        [*command, "--shard-records", "20"], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
    )
    killed = 0
    while process.poll() is None and killed < 2:
        done = len(list((tmp_path / "shards").glob("*.tfrec")))
        workers = [child for child in mark.processes() if "loky" in " ".join(child.cmdline())]
        workers = [child for child in workers if "resource_tracker" not in " ".join(child.cmdline())]
        if workers and done > killed * 20:
            workers[-1].kill()
            killed += 1
        time.sleep(0.02)
    assert process.wait(120) == 0
    assert killed == 2, "the job was over before its workers could be killed"
    for name in ("manifest.json", *(path.name for path in (tmp_path / "undisturbed").glob("*.tfrec"))):
        assert (tmp_path / "shards" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes(), name
    assert {path.name for path in (tmp_path / "shards").iterdir()} == {
        path.name for path in (tmp_path / "undisturbed").iterdir()
    }
    assert mark.left() == []
    run = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"][0]
    tasks = json.loads(cli("runs", "show", run["run_id"], "--json", "-").stdout)["result"]["tasks"]
    assert sum(task["retries"] for task in tasks) >= 2
