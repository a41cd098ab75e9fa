"""Clusters of places that are gone when a test ends, whatever it did."""

from __future__ import annotations

import fcntl
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from nodewise.isolation import groups
from nodewise.isolation.hierarchies import Hierarchy
from nodewise.isolation.places import Isolation, command_in
from nodewise.isolation.tiers import NEEDS, detect_tier
from nodewise.specs.place import EmulationTier, NodePlace

NUMBERS = itertools.count()

MakeCluster = Callable[[EmulationTier], Isolation]
StartIn = Callable[..., subprocess.Popen[str]]


def require_tier(tier: EmulationTier) -> None:
    """Skip what this machine does not allow, and say why."""
    missing = [found for found in detect_tier().findings if found.name in NEEDS[tier] and not found.ok]
    if missing:
        pytest.skip(f"tier {tier}: " + "; ".join(f"{found.name}: {found.detail}" for found in missing))


@pytest.fixture(autouse=True)
def best_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine allows is tested, not what whoever runs the tests asked for."""
    monkeypatch.delenv("NODEWISE_EMULATION_TIER", raising=False)


@pytest.fixture
def cluster_id() -> str:
    return f"test-{os.getpid()}-{next(NUMBERS)}"


@pytest.fixture
def make_cluster() -> Iterator[MakeCluster]:
    made = []

    def make(tier: EmulationTier) -> Isolation:
        require_tier(tier)
        isolation = Isolation(f"test-{os.getpid()}-{next(NUMBERS)}", tier)
        made.append(isolation)
        return isolation

    yield make
    for isolation in made:
        isolation.close()


@pytest.fixture
def start_in() -> Iterator[StartIn]:
    """Start Python code in a place; it is killed at the end of the test."""
    started = []

    def start(place: NodePlace, code: str, *arguments: str) -> subprocess.Popen[str]:
        command = command_in(place, [sys.executable, "-S", "-E", "-u", "-c", code, *arguments])
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()  # not read to its end, which comes when the last child of the process ends


@pytest.fixture
def kernel_v2() -> Iterator[Hierarchy]:
    """A group of the real version 2, with a controller that is free there; it and all below is gone afterwards."""
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    roots = [Path(line[4]) for line in lines if "cgroup2" in line]
    if not roots or not os.access(roots[0], os.W_OK):
        pytest.skip("control groups version 2 are not mounted, or not for this user")
    top = roots[0]
    free = (top / "cgroup.controllers").read_text().split()
    if not free:
        pytest.skip("no controller is free in version 2")
    with Path(tempfile.gettempdir(), "nodewise-test-v2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tree is one for all tests that run at the same time
        on_before = free[0] in (top / "cgroup.subtree_control").read_text().split()
        (top / "cgroup.subtree_control").write_text(f"+{free[0]}")
        root = top / f"nodewise-test-{os.getpid()}"
        root.mkdir()
        try:
            yield Hierarchy(version=2, root=root, controllers=frozenset(free[:1]))
        finally:
            groups.destroy([str(root)])
            if not on_before:
                (top / "cgroup.subtree_control").write_text(f"-{free[0]}")


def cpu_s(place: NodePlace) -> float:
    """CPU time that a place has used."""
    for folder in map(Path, place.cgroup_dirs):
        if (folder / "cpuacct.usage").exists():
            return int((folder / "cpuacct.usage").read_text()) / 1e9
        if (folder / "cpu.max").exists():
            return int((folder / "cpu.stat").read_text().split()[1]) / 1e6
    raise AssertionError(f"no counter of CPU time in {place}")


def cores_used(place: NodePlace) -> float:
    """Cores in use in a place on average over the next 2 s."""
    return per_second(lambda: cpu_s(place))


def bits_per_s(place: NodePlace, counter: str) -> float:
    """What a link carries over the next 2 s; ``rx_bytes``: what its node sends, ``tx_bytes``: what it receives."""
    return 8 * per_second(lambda: int(Path(f"/sys/class/net/{place.link}/statistics/{counter}").read_text()))


def per_second(count: Callable[[], float]) -> float:
    before, before_at = count(), time.monotonic()
    time.sleep(2)
    return (count() - before) / (time.monotonic() - before_at)


def assert_held_to(measure: Callable[[], float], least: float, most: float) -> None:
    """Never more than the limit, and as much as the limit when the machine is not busy with other things."""
    for _ in range(3):
        before_s = psutil.cpu_times().idle
        value = measure()
        assert value < most
        if value > least:
            return
        idle_cores = (psutil.cpu_times().idle - before_s) / 2
    if idle_cores < 1:
        pytest.skip(f"the machine is too busy to tell: {value:g} of at least {least:g}, {idle_cores:.1f} cores idle")
    raise AssertionError(f"{value}, not more than {least}, on a machine with {idle_cores:.1f} cores idle")
