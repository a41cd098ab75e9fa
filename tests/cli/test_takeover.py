"""A run that was stopped for too long, and the one that takes its folder over."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

import nodewise
from nodewise.core.lease import LEASE_S
from nodewise.jobs.prepare_folder import JOURNAL_NAME
from nodewise.shards.manifest import MANIFEST_NAME

REPETITIONS = 50 if os.environ.get("NODEWISE_TEST_ALL") == "1" else 1


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def stop_all(process: psutil.Process) -> list[psutil.Process]:
    """Stop a process and its children, as a laptop that is closed does; returns them."""
    stopped = [process, *process.children(recursive=True)]
    for each in stopped:
        each.send_signal(signal.SIGSTOP)
    return stopped


@pytest.mark.timeout(1200)
def test_a_run_that_was_stopped_too_long_commits_nothing_more(digits_folder: Path, tmp_path: Path) -> None:
    nodewise.prepare(digits_folder, tmp_path / "undisturbed", size=32, quality=50, workspace=tmp_path / "workspace")
    expected = digests(tmp_path / "undisturbed")
    for repetition in range(REPETITIONS):
        dest = tmp_path / f"shards-{repetition}"
        command = [sys.executable, "-m", "nodewise", "prepare", str(digits_folder), str(dest), "--size", "224"]
        settings = ["--shard-records", "10", "--workspace", str(tmp_path / "workspace")]
        first = subprocess.Popen([*command, *settings], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not (dest / JOURNAL_NAME).exists() or len((dest / JOURNAL_NAME).read_text().splitlines()) < 3:
            assert first.poll() is None, first.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        stopped = stop_all(psutil.Process(first.pid))
        for path in dest.glob(".lease-*"):
            past = time.time() - LEASE_S - 1
            os.utime(path, (past, past))
        nodewise.prepare(
            digits_folder, dest, size=32, quality=50, overwrite=True, workspace=tmp_path / "workspace", cores_per_node=1
        )
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        error = first.communicate(timeout=60)[1]
        assert first.returncode == 1, error
        assert "another run took this folder over" in error
        assert (dest / MANIFEST_NAME).exists()
        assert digests(dest) == expected
