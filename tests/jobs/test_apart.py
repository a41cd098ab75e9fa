"""An object in another process: its answers, its errors, its end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.jobs.apart_objects import Counter

from nodewise.core.errors import CorruptFileError
from nodewise.jobs.apart import Apart, ProcessEndedError


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Apart]:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("NODEWISE_TEST_APART", "here")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    made = Apart(Counter, 40, timeout_s=60)
    yield made
    made.close()


def gone(pid: int, seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_an_object_keeps_its_state_between_calls(counter: Apart) -> None:
    assert counter.call("add", 1) == 41
    assert counter.call("add", 1) == 42
    assert counter.call("pid") != os.getpid()


def test_an_error_arrives_as_it_was_raised_and_the_object_lives_on(counter: Apart) -> None:
    with pytest.raises(CorruptFileError) as caught:
        counter.call("fail")
    assert (caught.value.path, caught.value.record) == ("file", 3)
    with pytest.raises(AttributeError):
        counter.call("no_such_method")
    assert counter.call("add", 2) == 42


def test_an_object_that_cannot_be_made_says_so_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    made = Apart(Counter, -1, timeout_s=60)
    for _ in range(2):
        with pytest.raises(ValueError, match="below zero"):
            made.call("add", 1)
    made.close()


def test_it_has_our_environment_but_not_the_threads_of_a_slot(counter: Apart) -> None:
    assert counter.call("environment", "NODEWISE_TEST_APART") == "here"
    assert counter.call("environment", "OMP_NUM_THREADS") is None


def test_what_it_prints_is_not_seen(counter: Apart, capfd: pytest.CaptureFixture[str]) -> None:
    counter.call("print", "noise")
    assert capfd.readouterr() == ("", "")


def test_its_death_is_an_error_that_tells_the_status(counter: Apart) -> None:
    with pytest.raises(ProcessEndedError, match="ended with status -9"):
        counter.call("die")
    with pytest.raises(ProcessEndedError):
        counter.call("add", 1)


def test_what_cannot_be_unpickled_there_ends_it_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where it finds no tests to import.
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.chdir(tmp_path)
    made = Apart(Counter, 0, timeout_s=60)
    with pytest.raises(ProcessEndedError, match="ended with status 0"):
        made.call("add", 1)


def test_one_that_does_not_answer_is_ended_with_its_children(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    made = Apart(Counter, 0, timeout_s=2)
    pids = [made.call("pid"), made.call("start_child")]
    with pytest.raises(ProcessEndedError, match="no answer within 2 s"):
        made.call("sleep", 600)
    assert [pid for pid in pids if not gone(pid)] == []


def test_closing_ends_it_and_its_children(counter: Apart) -> None:
    pids = [counter.call("pid"), counter.call("start_child")]
    counter.close()
    counter.close()
    assert [pid for pid in pids if not gone(pid)] == []


@pytest.mark.parametrize("busy", [False, True])
def test_it_ends_with_the_process_that_started_it_however_that_ends(busy: bool) -> None:
    code = f"""
from tests.jobs.apart_objects import Counter
from nodewise.jobs.apart import Apart
made = Apart(Counter, 0, timeout_s=60)
print(made.call("pid"), made.call("start_child"), flush=True)
{"made.call('sleep', 600)" if busy else "import time; time.sleep(600)"}
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.kill()
    assert [pid for pid in pids if not gone(pid)] == []


def test_ctrl_c_does_not_reach_it(counter: Apart) -> None:
    pid = counter.call("pid")
    assert os.getsid(pid) == pid
    assert os.getpgid(pid) != os.getpgid(0)
