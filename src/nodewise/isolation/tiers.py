"""Finds out how far this machine lets nodes be kept apart, by trying each thing."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psutil

from nodewise.core.errors import NodewiseError, UnknownNameError
from nodewise.isolation import entry, groups, hierarchies, network
from nodewise.isolation.leftovers import leftovers, remove_leftovers
from nodewise.isolation.scope import why_not_delegated
from nodewise.specs.place import EmulationTier, NodeLimits

__all__ = ["CAP_VARIABLE", "Finding", "TierReport", "detect_tier"]

CAP_VARIABLE = "NODEWISE_EMULATION_TIER"
CPU, MEMORY = "control groups: cpu", "control groups: memory"
NAMESPACES, BRIDGE, RATE, LATENCY = "network namespaces", "network bridge", "rate limit (tbf)", "latency (netem)"
NEEDS = {
    EmulationTier.NAMESPACES: {CPU, MEMORY, NAMESPACES, BRIDGE, RATE},
    EmulationTier.CGROUPS: {CPU, MEMORY},
    EmulationTier.PROCESSES: set[str](),
}
PROBE_ID = re.compile(r"probe-(?P<pid>\d+)-[0-9a-f]{6}")
REACH_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing looked at.

    Attributes:
        name: Such as ``control groups: cpu``.
        detail: How it is done here, or why it cannot be.
        remedy: What to do about it; None where nothing is to be done or can be.
    """

    name: str
    ok: bool
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TierReport:
    """The best tier that this machine allows, and what was found on the way to it."""

    tier: EmulationTier
    findings: tuple[Finding, ...]


def detect_tier(wanted: EmulationTier | None = None) -> TierReport:
    """The best tier that works here, no better than ``wanted`` and than ``NODEWISE_EMULATION_TIER`` says.

    Makes and removes control groups, namespaces and links, once per process.

    Raises:
        UnknownNameError: The variable has another value than the name of a tier.
    """
    findings = _findings()
    working = {finding.name for finding in findings if finding.ok}
    possible = [tier for tier, needs in NEEDS.items() if needs <= working]
    caps = [tier for tier in (wanted, _cap()) if tier is not None]
    order = list(NEEDS)
    tier = max([possible[0], *caps], key=order.index)
    return TierReport(tier=tier, findings=findings)


def _cap() -> EmulationTier | None:
    text = os.environ.get(CAP_VARIABLE)
    if not text:
        return None
    try:
        return EmulationTier(text)
    except ValueError:
        raise UnknownNameError("emulation tier", text, EmulationTier, where=CAP_VARIABLE) from None


@functools.cache
def _findings() -> tuple[Finding, ...]:
    if sys.platform != "linux":
        detail = f"only Linux has them, and this is {sys.platform}"
        return tuple(Finding(name=name, ok=False, detail=detail) for name in (CPU, MEMORY, NAMESPACES))
    _remove_dead_probes()
    probe_id = f"probe-{os.getpid()}-{secrets.token_hex(3)}"
    return (*_try_groups(probe_id), *_try_network(probe_id))


def _remove_dead_probes() -> None:
    """Remove what processes left that were killed while they found out."""
    for cluster_id in {found.cluster_id for found in leftovers()}:
        probe = PROBE_ID.fullmatch(cluster_id)
        if probe and not psutil.pid_exists(int(probe["pid"])):
            with contextlib.suppress(NodewiseError):
                remove_leftovers(cluster_id)


def _try_groups(probe_id: str) -> Iterator[Finding]:
    found = hierarchies.find_hierarchies()
    present = {name for hierarchy in found for name in hierarchy.controllers}
    needed = {CPU: "cpu", MEMORY: "memory"}
    absent = {label: name for label, name in needed.items() if name not in present}
    for label, name in absent.items():
        yield Finding(
            name=label,
            ok=False,
            detail=f"the controller {name!r} is not mounted",
            remedy="mount the control groups: `mount -t cgroup2 none /sys/fs/cgroup`",
        )
    if absent:
        return
    versions = {name: str(hierarchy.version) for hierarchy in found for name in hierarchy.controllers}
    how = "made, limited and removed a group"
    if not all(os.access(hierarchy.root, os.W_OK) for hierarchy in found):
        whole = len(found) == 1 and found[0].version == 2
        reason = why_not_delegated(found[0]) if whole else "this user may not make groups of version 1"
        how = "the user's systemd hands over a scope"
    else:
        reason = _attempt(lambda: _make_group(found, probe_id))
    for label, name in needed.items():
        yield Finding(
            name=label,
            ok=reason is None,
            detail=reason or f"version {versions[name]}: {how}",
            remedy=None
            if reason is None
            else "run as root, or in a user session of systemd with control groups version 2",
        )


def _make_group(found: tuple[hierarchies.Hierarchy, ...], probe_id: str) -> None:
    try:
        hierarchies.claim(found, probe_id)
        dirs = hierarchies.make_node(found, probe_id, "node-0")
        groups.set_cpus(dirs, 0.5)
        groups.set_memory(dirs, 2**30)
    finally:
        hierarchies.release(found, probe_id)


def _try_network(probe_id: str) -> Iterator[Finding]:
    bridge: list[network.Network] = []
    ends: list[tuple[str, str]] = []

    def make() -> None:
        bridge.append(network.claim(probe_id))
        ends.extend(network.add_link(bridge[0], index, f"node-{index}", NodeLimits()) for index in range(2))

    tries: list[tuple[str, Callable[[], None], str, str]] = [
        (NAMESPACES, make, "made two, joined by a bridge", "run as root, with the package iproute2 installed"),
        (
            BRIDGE,
            lambda: _connect(bridge[0], [netns for netns, _ in ends]),
            "nodes and driver reach one another",
            "let the firewall pass it: `iptables -I FORWARD -i nw+ -j ACCEPT; iptables -I INPUT -i nw+ -j ACCEPT`",
        ),
        (
            RATE,
            lambda: network.shape(*ends[0], NodeLimits(network_bits_per_s=10**8)),
            "limited a link in both directions",
            "load the kernel's token bucket: `modprobe sch_tbf`",
        ),
        (
            LATENCY,
            lambda: network.shape(*ends[1], NodeLimits(network_latency_s=0.001)),
            "delayed a link",
            "load the kernel's netem: `modprobe sch_netem`; without it everything but a latency works",
        ),
    ]
    try:
        for name, attempt, success, remedy in tries:
            reason = _attempt(attempt)
            yield Finding(name=name, ok=reason is None, detail=reason or success, remedy=remedy if reason else None)
            if len(ends) < 2:
                return
    finally:
        with contextlib.suppress(NodewiseError):
            network.remove_cluster(probe_id)


def _connect(bridge: network.Network, namespaces: list[str]) -> None:
    """Connect from the first node to the second and to the driver, and from the driver to the first."""
    failures: list[OSError] = []

    def run() -> None:
        try:
            with contextlib.ExitStack() as stack:
                # A socket stays in the namespace that its thread was in when it was made.
                driver = stack.enter_context(socket.create_server((bridge.driver_host, 0)))
                client = stack.enter_context(socket.socket())
                entry.join(namespaces[1], [])
                second = stack.enter_context(socket.create_server((bridge.host(1), 0)))
                entry.join(namespaces[0], [])
                first = stack.enter_context(socket.create_server((bridge.host(0), 0)))
                client.settimeout(REACH_S)
                client.connect(first.getsockname())
                for server in (driver, second):
                    socket.create_connection(server.getsockname(), REACH_S).close()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=run)  # it ends in another namespace than the process
    thread.start()
    thread.join()
    if failures:
        raise NodewiseError(f"nodes and driver do not reach one another: {failures[0]}")


def _attempt(attempt: Callable[[], None]) -> str | None:
    """Why it does not work, in one line; None: it does."""
    try:
        attempt()
    except NodewiseError as error:
        return error.message
    except OSError as error:
        return f"{error.strerror}: {error.filename}"
    return None
