"""The sampler against what is known: a burn of so much CPU time, so many bytes over loopback, a sleep."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nodewise.metering.sampler import Sampler
from nodewise.specs.place import NodePlace
from nodewise.specs.usage import MACHINE, UsageSample

BURN = "import time\nend = time.process_time() + {}\nwhile time.process_time() < end: pass\n"
Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts Python processes that wait for a line before they run their code, and for another one to end."""
    started: list[subprocess.Popen[str]] = []

    def start_one(code: str) -> subprocess.Popen[str]:
        code = f"input()\n{code}\nprint('done', flush=True)\ninput()"
        process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()
        process.communicate()


def run(process: "subprocess.Popen[str]") -> None:
    """Let it run its code to the end; the process stays."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"


def finish(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    process.wait()


def a_place(name: str, *pids: int, link: str | None = None) -> NodePlace:
    return NodePlace(name=name, host="127.0.0.1", pids=pids, link=link)


def of(node: str, samples: list[UsageSample]) -> list[UsageSample]:
    return [sample for sample in samples if sample.node == node]


def cpu_s(node: str, samples: list[UsageSample]) -> float:
    return sum(sample.cpu_cores * sample.interval_s for sample in of(node, samples))


def test_a_known_burn_is_found_where_it_was_and_nowhere_else(start: Start) -> None:
    busy, still = start(BURN.format(0.6)), start("")
    sampler = Sampler([a_place("node-0", busy.pid), a_place("node-1", still.pid)], interval_s=0.1)
    sampler.start()
    run(busy)
    samples = sampler.stop()
    # Two ticks of the kernel's clock, and the interpreter around the burn.
    assert cpu_s("node-0", samples) == pytest.approx(0.6, abs=0.03)
    assert cpu_s("node-1", samples) == pytest.approx(0.0, abs=0.03)
    assert cpu_s(MACHINE, samples) >= 0.57


def test_what_was_used_before_is_not_counted_and_a_sleep_is_nothing(start: Start) -> None:
    process = start(BURN.format(0.3) + "print('burnt', flush=True)\ninput()\ntime.sleep(0.3)")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "burnt\n"
    sampler = Sampler([a_place("node-0", process.pid)], interval_s=0.1)
    sampler.start()
    run(process)
    samples = sampler.stop()
    assert cpu_s("node-0", samples) <= 0.03
    assert sum(sample.interval_s for sample in of("node-0", samples)) >= 0.3


def test_children_that_came_and_went_between_two_looks_are_counted(start: Start) -> None:
    child = f"subprocess.run([sys.executable, '-S', '-E', '-c', {BURN.format(0.1)!r}])\n"
    process = start(f"import subprocess, sys\n{child * 3}")
    sampler = Sampler([a_place("node-0", process.pid)], interval_s=30)
    sampler.start()
    run(process)
    samples = sampler.stop()
    assert len(of("node-0", samples)) == 1
    assert cpu_s("node-0", samples) >= 0.3


def test_children_seen_and_then_ended_are_counted_once(start: Start) -> None:
    child = f"subprocess.run([sys.executable, '-S', '-E', '-c', {BURN.format(0.2)!r}])\n"
    process = start(f"import subprocess, sys\n{child * 3}")
    sampler = Sampler([a_place("node-0", process.pid)], interval_s=0.02)
    sampler.start()
    run(process)
    samples = sampler.stop()
    # Each child takes 0.2 s and its interpreter's start, which is far from another 0.2 s.
    assert 0.6 <= cpu_s("node-0", samples) <= 0.9


def test_a_process_that_nobody_waits_for_counts_as_far_as_it_was_seen(start: Start) -> None:
    child = f"subprocess.Popen([sys.executable, '-S', '-E', '-c', {BURN.format(0.4)!r}])"
    process = start(f"import signal, subprocess, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{child}.wait()")
    sampler = Sampler([a_place("node-0", process.pid)], interval_s=0.02)
    sampler.start()
    run(process)
    assert cpu_s("node-0", sampler.stop()) == pytest.approx(0.4, abs=0.1)


def test_an_orphan_stays_with_its_node(start: Start) -> None:
    orphan = ["-S", "-E", "-c", BURN.format(0.5)]
    parent = f"import subprocess, sys, time\nsubprocess.Popen([sys.executable, *{orphan}])\ntime.sleep(0.3)"
    # The orphan holds the pipe, so that this waits for its end too.
    command = f"[sys.executable, '-S', '-E', '-c', {parent!r}]"
    process = start(f"import subprocess, sys\nsubprocess.run({command}, stdout=subprocess.PIPE)")
    sampler = Sampler([a_place("node-0", process.pid)], interval_s=0.02)
    sampler.start()
    run(process)
    assert cpu_s("node-0", sampler.stop()) >= 0.4


def test_a_node_among_the_driver_s_children_is_not_the_driver_s_too(start: Start) -> None:
    process = start(BURN.format(0.5))
    sampler = Sampler([a_place("driver", os.getpid()), a_place("node-0", process.pid)], interval_s=0.05)
    sampler.start()
    run(process)
    finish(process)
    samples = sampler.stop()
    assert cpu_s("node-0", samples) == pytest.approx(0.5, abs=0.05)
    # Not even when it has waited for the node's process.
    assert cpu_s("driver", samples) <= 0.2


def test_bytes_over_a_link_are_told_from_the_node_s_side(tmp_path: Path) -> None:
    if not Path("/sys/class/net/lo/statistics").is_dir():
        pytest.skip("the kernel does not tell what went over its links")
    count = 20 * 10**6
    sampler = Sampler([a_place("node-0", os.getpid(), link="lo"), a_place("driver", os.getpid())], interval_s=0.05)
    sampler.start()
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
        thread = threading.Thread(target=sender.sendall, args=(bytes(count),))
        thread.start()
        left = count
        while left:
            left -= len(receiver.recv(1 << 20))
        thread.join()
        sender.close()
        receiver.close()
    # Each place has its own moment to begin; what was counted for too short a time has no row.
    while not of("driver", sampler.samples):
        time.sleep(0.01)
    samples = sampler.stop()
    sent = sum(sample.sent_bytes or 0 for sample in of("node-0", samples))
    received = sum(sample.received_bytes or 0 for sample in of("node-0", samples))
    # Headers are 1 % at most, as packets over loopback have 64 kB; other programs use loopback too.
    assert count <= sent
    assert count <= received
    assert {sample.received_bytes for sample in of("driver", samples)} == {None}
    assert sum(sample.received_bytes or 0 for sample in of(MACHINE, samples)) >= count


def test_rows_are_in_order_of_time_one_per_node_and_interval(start: Start) -> None:
    process = start("import time\ntime.sleep(0.5)")
    sampler = Sampler([a_place("node-0", process.pid)], interval_s=0.1)
    began = time.time()
    sampler.start()
    run(process)
    so_far = sampler.samples
    samples = sampler.stop()
    assert samples[: len(so_far)] == so_far
    for node in ("node-0", MACHINE):
        rows = of(node, samples)
        assert len(rows) >= 3
        assert [row.at for row in rows] == sorted(row.at for row in rows)
        assert all(row.interval_s > 0 and row.memory_bytes > 0 for row in rows)
        assert sum(row.interval_s for row in rows) == pytest.approx(rows[-1].at - began, abs=0.1)


def test_nodes_come_and_go(start: Start) -> None:
    first, second = start(BURN.format(0.3)), start(BURN.format(0.3))
    sampler = Sampler([a_place("node-0", first.pid)], interval_s=30)
    sampler.start()
    run(first)
    sampler.remove("node-0")
    sampler.remove("node-7")
    sampler.add(a_place("node-1", second.pid))
    run(second)
    samples = sampler.stop()
    assert [sample.node for sample in samples] == ["node-0", MACHINE, "node-1"]
    assert cpu_s("node-0", samples) == pytest.approx(0.3, abs=0.05)
    assert cpu_s("node-1", samples) == pytest.approx(0.3, abs=0.05)


def test_places_that_tell_nothing_or_are_gone_have_no_rows() -> None:
    nowhere = NodePlace(name="node-0", host="127.0.0.1")
    no_link = a_place("node-1", os.getpid(), link="no-such-link")
    sampler = Sampler([nowhere, no_link], interval_s=0.02)
    sampler.start()
    time.sleep(0.1)
    assert {sample.node for sample in sampler.stop()} == {MACHINE}


def test_stop_can_come_twice_or_before_the_start_and_leaves_nothing_open() -> None:
    never = Sampler([a_place("driver", os.getpid())])
    assert never.stop() == []
    before = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    sampler = Sampler([a_place("driver", os.getpid(), link="lo")], interval_s=0.02)
    sampler.start()
    time.sleep(0.05)
    assert sampler.stop() == sampler.stop()
    sampler.add(a_place("node-0", os.getpid()))
    assert "node-0" not in {sample.node for sample in sampler.stop()}
    assert "usage-sampler" not in {thread.name for thread in threading.enumerate()}
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
