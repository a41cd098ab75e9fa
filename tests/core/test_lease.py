"""One writer per folder."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nodewise.core import lease as leases
from nodewise.core.errors import FolderInUseError, LeaseLostError
from nodewise.core.lease import LEASE_S, hold_folder

HOLDER = """
import sys, time
from pathlib import Path
from nodewise.core.lease import hold_folder
with hold_folder(Path(sys.argv[1])) as lease:
    print("held", flush=True)
    sys.stdin.readline()
    lease.check()
    print("still held", flush=True)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def expire(folder: Path) -> None:
    """Let the leases in a folder look as if nobody had renewed them."""
    for path in folder.glob(".lease-*"):
        past = time.time() - LEASE_S - 1
        os.utime(path, (past, past))


def test_a_folder_is_held_once_and_free_again_afterwards(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shards"
    with hold_folder(folder) as lease:
        lease.check()
        pickle.loads(pickle.dumps(lease)).check()
        with pytest.raises(FolderInUseError, match=rf"is being written by process {os.getpid()} on ") as caught:
            hold_folder(folder).__enter__()
        assert caught.value.exit_code == 2
    assert list(folder.iterdir()) == []
    with hold_folder(folder) as lease:
        lease.check()


def test_another_process_is_named(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(FolderInUseError, match=f"process {holder.pid} "):
            hold_folder(tmp_path).__enter__()
    finally:
        assert holder.communicate("go on\n")[0] == "still held\n"
    assert list(tmp_path.iterdir()) == []


def test_the_lease_of_a_killed_process_is_taken_over_at_once(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    holder.kill()
    holder.communicate()
    with hold_folder(tmp_path) as lease:
        assert lease.number == 2
        assert [path.name for path in tmp_path.iterdir()] == [".lease-2"]


def test_a_stopped_process_that_wakes_up_too_late_is_refused(tmp_path: Path, repetitions: int) -> None:
    for repetition in range(repetitions):
        folder = tmp_path / str(repetition)
        holder = start_holder(folder)
        holder.send_signal(signal.SIGSTOP)
        expire(folder)
        with hold_folder(folder) as lease:
            holder.send_signal(signal.SIGCONT)
            _, error = holder.communicate("go on\n")
            assert holder.returncode == 1
            assert "LeaseLostError" in error
            assert "another run took this folder over" in error
            lease.check()
        assert list(folder.iterdir()) == []


def test_one_that_wakes_up_after_its_successor_has_ended_is_refused_too(tmp_path: Path) -> None:
    with hold_folder(tmp_path) as lease:
        expire(tmp_path)
        with hold_folder(tmp_path), pytest.raises(LeaseLostError):
            lease.check()
        with pytest.raises(LeaseLostError):
            lease.check()
    # And a third, whose lease has the number that the first one had.
    with hold_folder(tmp_path) as third:
        assert third.number == lease.number
        with pytest.raises(LeaseLostError):
            lease.check()


def test_of_many_contenders_one_gets_the_folder(tmp_path: Path) -> None:
    holders = [
        subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    # All have tried once the losers have ended; only then may the winner let go.
    while sum(holder.poll() is None for holder in holders) > 1:
        time.sleep(0.02)
    ends = [holder.communicate("go on\n" if holder.poll() is None else None) for holder in holders]
    assert sorted(output for output, _ in ends) == [*[""] * 5, "held\nstill held\n"]
    assert sum("FolderInUseError" in error for _, error in ends) == 5


def test_the_holder_renews_its_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.3)
    with hold_folder(tmp_path) as lease:
        before = lease.path.stat().st_mtime_ns
        deadline = time.monotonic() + 10
        while lease.path.stat().st_mtime_ns == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)
