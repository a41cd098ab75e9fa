"""The command speedtest, as a process: what it prints, writes, refuses and leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.readers.made_sources import make_images, shard_source

SMALL = ("--batch-sizes", "2,4", "--batch-counts", "1,3", "--repeat", "2", "--reader", "nodewise", "--size", "16")


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> None:
    make_images(tmp_path / "photos", 10)
    shard_source(tmp_path / "shards")


def test_a_speed_test_keeps_the_contract(cli: Any, read_json: Any, tmp_path: Path, mark: Any) -> None:
    done = cli("speedtest", "photos", "shards", *SMALL, "--output", "report.html", "--json", "s.json")
    assert done.returncode == 0, done.stderr
    content = read_json(tmp_path / "s.json")
    assert content["command"] == "speedtest"
    result = content["result"]
    assert len(result["cells"]) == 16
    cell = {"source", "reader", "batch_size", "batch_count", "repeat", "records", "short", "seconds", "records_per_s"}
    assert cell | {"from_cache"} <= set(result["cells"][0])
    assert {"source", "reader", "parameter", "value", "records_per_s", "n"} <= set(result["means"][0])
    fit = {"source", "reader", "formula", "coefficients", "standard_errors", "r2", "cv_error"}
    assert fit <= set(result["fits"][0])
    # Ten files are no three batches of four.
    assert sum(one["short"] for one in result["cells"]) == 2
    assert all((one["records_per_s"] is None) == one["short"] for one in result["cells"])
    assert " ".join(result["sentence"].split()) in " ".join(done.stdout.split())
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert mark.left() == []
    (run,) = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"]
    assert (run["command"], run["status"]) == ("speedtest", "FINISHED")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere*"], ["nowhere*", "no such"]),
        (["photos", "photos"], ["named twice"]),
        (["photos", "--reader", "tfdata"], ["tfdata", "tf.data"]),
        (["photos", "--batch-sizes", "2,x"], ["--batch-sizes", "2,4,6,8"]),
        (["photos", "--batch-counts", "0"], ["batch_counts", "at least 1"]),
        (["photos", "--batch-sizes", ""], ["--batch-sizes"]),
        (["photos", "--no-cache"], ["--engine spark"]),
        (["photos", "--cold", "--nodes", "2"], ["one node"]),
        ([], ["Missing argument"]),
    ],
)
def test_a_wrong_request_is_one_line_exit_2_and_no_run(
    cli: Any, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = cli("speedtest", *arguments)
    assert done.returncode == 2
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "ws" / "runs").exists()


def test_an_empty_folder_is_an_error_and_no_empty_result(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = cli("speedtest", "photos", "empty", *SMALL, "--json", "s.json")
    assert done.returncode == 2
    assert "no images found" in done.stderr
    assert json.loads((tmp_path / "s.json").read_text())["result"] is None


def test_cold_is_refused_where_files_are_in_memory(cli: Any) -> None:
    folder = Path("/dev/shm/nodewise-test-cold")
    if not folder.parent.is_dir():
        pytest.skip("no /dev/shm")
    try:
        make_images(folder, 4)
        done = cli("speedtest", str(folder), *SMALL, "--cold")
    finally:
        shutil.rmtree(folder)
    assert done.returncode == 2
    assert "error: cannot drop the page cache for" in done.stderr
    assert "without --cold" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_speed_test_leaves_no_process(
    cli: Any, environment: dict[str, str], mark: Any, tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "nodewise", "speedtest", "photos", "shards", *SMALL, "--repeat", "5000"]
    # A session of its own, and the signal to the whole group: what a terminal does on Ctrl-C.
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not any("nodewise.jobs.apart" in " ".join(child.cmdline()) for child in mark.processes()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert b"Traceback" not in errors
    assert mark.left() == []
    newest = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"][0]
    assert (newest["command"], newest["status"]) == ("speedtest", "KILLED")
