"""What is left of a cluster whose owner was killed, and its removal."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time

import psutil
import pytest

from nodewise.isolation.leftovers import leftovers, remove_leftovers
from nodewise.isolation.places import Isolation
from nodewise.isolation.tiers import NEEDS
from nodewise.specs.place import EmulationTier

from .conftest import require_tier

OWNER = """
import subprocess, sys
from nodewise.isolation.places import Isolation, command_in
from nodewise.specs.place import EmulationTier, NodeLimits
isolation = Isolation(sys.argv[1], EmulationTier(sys.argv[2]))
print("begun", flush=True)
for number in range(4):
    place = isolation.add_node(f"node-{number}", NodeLimits(cpus=0.1, memory_bytes=2**27, network_bits_per_s=10**7))
    isolation.limit(place)
    print(subprocess.Popen(command_in(place, ["sleep", "600"]), stdout=subprocess.DEVNULL).pid, flush=True)
print("up", flush=True)
sys.stdin.read()
"""


def of(cluster_id: str) -> list[tuple[str, str]]:
    return [(found.kind, found.name) for found in leftovers() if found.cluster_id == cluster_id]


def start_owner(cluster_id: str, tier: EmulationTier) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", OWNER, cluster_id, tier]
    owner = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "begun\n"
    return owner


def running(pids: list[str]) -> list[str]:
    """Those processes that run; one that has ended may wait for its parent to notice."""
    found = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(int(pid)).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def assert_end(pids: list[str]) -> None:
    """A process leaves its groups a moment before the end of its exit."""
    deadline = time.monotonic() + 10
    while running(pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("tier", [tier for tier in NEEDS if tier is not EmulationTier.PROCESSES])
def test_what_a_killed_owner_leaves_is_found_and_removed(cluster_id: str, tier: EmulationTier) -> None:
    require_tier(tier)
    owner = start_owner(cluster_id, tier)
    assert owner.stdout is not None
    *pids, up = [owner.stdout.readline().strip() for _ in range(5)]
    assert up == "up"
    owner.kill()
    owner.communicate()
    try:
        found = of(cluster_id)
        assert running(pids) == pids
        assert {kind for kind, _ in found} >= {"control group"}
        if tier is EmulationTier.NAMESPACES:
            assert sum(kind == "network link" for kind, _ in found) == 5  # with the bridge
            assert sum(kind == "network namespace" for kind, _ in found) == 4
    finally:
        remove_leftovers(cluster_id)
    assert of(cluster_id) == []
    assert_end(pids)
    remove_leftovers(cluster_id)


def test_an_owner_killed_at_any_moment_leaves_nothing_that_is_not_found(cluster_id: str, repetitions: int) -> None:
    require_tier(EmulationTier.NAMESPACES)
    moment = random.Random(4)
    for number in range(repetitions):
        owner = start_owner(f"{cluster_id}-{number}", EmulationTier.NAMESPACES)
        time.sleep(moment.uniform(0, 0.1))
        owner.kill()
        owner.communicate()
        time.sleep(0.1)  # for what it had started, such as `ip`, to end
        remove_leftovers(f"{cluster_id}-{number}")
        assert of(f"{cluster_id}-{number}") == []


def test_clusters_whose_ids_begin_alike_are_told_apart(cluster_id: str) -> None:
    require_tier(EmulationTier.NAMESPACES)
    owners = [start_owner(f"{cluster_id}{suffix}", EmulationTier.NAMESPACES) for suffix in ("", "-node-0")]
    try:
        for owner in owners:
            assert owner.stdout is not None
            assert [owner.stdout.readline() for _ in range(5)][-1] == "up\n"
        remove_leftovers(cluster_id)
        assert of(cluster_id) == []
        assert len(of(f"{cluster_id}-node-0")) >= 9
    finally:
        for owner, suffix in zip(owners, ("", "-node-0"), strict=True):
            owner.kill()
            owner.communicate()
            remove_leftovers(f"{cluster_id}{suffix}")
    assert of(f"{cluster_id}-node-0") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_what_is_another_users_is_left_alone_and_said(cluster_id: str) -> None:
    require_tier(EmulationTier.CGROUPS)
    isolation = Isolation(cluster_id, EmulationTier.CGROUPS)
    try:
        code = "import os, sys; from nodewise.isolation.leftovers import remove_leftovers\n"
        code += "os.setgroups([]); os.setgid(65534); os.setuid(65534)\nremove_leftovers(sys.argv[1])"
        command = [sys.executable, "-c", code, cluster_id]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert f"nodewise/{cluster_id} is another user's" in done.stderr
        assert of(cluster_id)
    finally:
        isolation.close()


def test_nothing_is_left_of_a_cluster_that_never_was() -> None:
    remove_leftovers(f"never-{os.getpid()}")
