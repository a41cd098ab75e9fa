"""Makes the places of a cluster's nodes on this machine, holds them to their limits, and removes them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import psutil

from nodewise.core.errors import InputError, NodewiseError
from nodewise.core.machine import machine_cores
from nodewise.core.units import format_bytes, format_rate
from nodewise.isolation import entry, groups, hierarchies, network
from nodewise.isolation.scope import delegated
from nodewise.specs.place import EmulationTier, NodeLimits, NodePlace

__all__ = ["Isolation", "command_in", "enter", "memory_kills", "processes_in"]

LEAST_MEMORY_BYTES = 64 * 2**20
LEAST_CPUS = 0.001
LEAST_BITS_PER_S = 8_000
CLUSTER_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
NODE = re.compile(r"driver|[a-z]+-\d+")


class Isolation:
    """The places of one cluster's nodes. Made by the process that owns the cluster, and used from one of its threads.

    Limits that the tier cannot hold are None in the places that it makes: the tier ``cgroups`` shares the machine's
    network, with the tier ``processes`` nothing holds. Nodes without a network of their own each have a loopback
    address of their own, since Spark takes what is at one address for one host (it reads shuffle files of its own host
    from the disk).

    Nodes with a network of their own reach each other and the driver, but no other machine and no name server.

    An ordinary user's process is moved into a scope of its systemd (:mod:`nodewise.isolation.scope`).

    Raises:
        InputError: The cluster has places already, or its id is not of letters, digits, ``_``, ``.`` and ``-``.
        NodewiseError: The machine does not allow this tier; nothing is left behind.
    """

    def __init__(self, cluster_id: str, tier: EmulationTier) -> None:
        if not CLUSTER_ID.fullmatch(cluster_id):
            raise InputError(
                f"bad cluster id {cluster_id!r}", hint="letters, digits, '_', '.' and '-', at most 100 characters"
            )
        self.tier = tier
        self._cluster_id = cluster_id
        self._hierarchies: tuple[hierarchies.Hierarchy, ...] = ()
        self._network: network.Network | None = None
        self._indices: dict[str, int] = {}
        try:
            with _one_line(f"cluster {cluster_id!r}"):
                if tier is not EmulationTier.PROCESSES:
                    writable = delegated(hierarchies.find_hierarchies(), cluster_id)
                    hierarchies.claim(writable, cluster_id)
                    self._hierarchies = writable
                if tier is EmulationTier.NAMESPACES:
                    self._network = network.claim(cluster_id)
        except BaseException:
            self.close()
            raise
        self.driver_host = self._network.driver_host if self._network else _loopback(0)

    def add_node(self, name: str, limits: NodeLimits) -> NodePlace:
        """Make a node's place. Its memory and network limits hold at once, its CPU share from :meth:`limit` on.

        Raises:
            InputError: The limits are not possible on this machine, or the name is taken or not of the form ``node-0``.
            NodewiseError: The place cannot be made; nothing is left of it.
        """
        _check(name, limits)
        if name in self._indices:
            raise InputError(f"the cluster has a node {name!r} already")
        index = min(set(range(len(self._indices) + 1)).difference(self._indices.values()))
        if index >= network.MOST_NODES:
            raise InputError(f"an emulated cluster has at most {network.MOST_NODES} nodes")
        with _one_line(f"node {name!r}"):
            place = self._make(name, index, limits)
        self._indices[name] = index
        return place

    def _make(self, name: str, index: int, limits: NodeLimits) -> NodePlace:
        if self._network is None:
            limits = replace(limits, network_bits_per_s=None, network_latency_s=None)
        if not self._hierarchies:
            return NodePlace(name=name, host=_loopback(index + 1))
        dirs = hierarchies.make_node(self._hierarchies, self._cluster_id, name)
        try:
            if limits.memory_bytes is not None:
                groups.set_memory(dirs, limits.memory_bytes)
            place = NodePlace(name=name, host=_loopback(index + 1), limits=limits, cgroup_dirs=dirs)
            if self._network is None:
                return place
            netns, link = network.add_link(self._network, index, name, limits)
            return replace(place, host=self._network.host(index), netns=netns, link=link)
        except BaseException:
            groups.destroy(dirs)
            raise

    def limit(self, place: NodePlace) -> None:
        """Hold a node to its CPU share from now on."""
        with _one_line(f"node {place.name!r}"):
            groups.set_cpus(place.cgroup_dirs, place.limits.cpus)

    def unlimit(self, place: NodePlace) -> None:
        """Let a node use all CPU time that there is, until :meth:`limit`."""
        with _one_line(f"node {place.name!r}"):
            groups.set_cpus(place.cgroup_dirs, None)

    def remove_node(self, place: NodePlace) -> None:
        """Kill every process in a place, until none is left, and remove it; it need not be there any more.

        Raises:
            NodewiseError: Something cannot be removed, or a process does not end even when killed.
        """
        if place.cgroup_dirs:
            groups.destroy(place.cgroup_dirs)
        else:
            _kill_all(place)
        if place.netns and place.link:
            network.remove(self._cluster_id, [place.link], [place.netns])
        self._indices.pop(place.name, None)

    def close(self) -> None:
        """Remove all nodes and what joins them; may be called again.

        With the tier ``processes`` there is nothing to remove: only :meth:`remove_node` is told the nodes' processes.

        Raises:
            NodewiseError: Something cannot be removed.
        """
        # The groups are what claims the id: without them, what has it is another's.
        if self._hierarchies:
            hierarchies.release(self._hierarchies, self._cluster_id)
            if self.tier is EmulationTier.NAMESPACES:
                network.remove_cluster(self._cluster_id)
            self._hierarchies = ()
        self._indices = {}


def command_in(place: NodePlace, command: Sequence[str]) -> list[str]:
    """The arguments that start a command in a place: a small program enters it and then becomes the command."""
    if not place.cgroup_dirs and place.netns is None:
        return list(command)
    return [sys.executable, "-S", "-E", entry.__file__, place.netns or "", *place.cgroup_dirs, "--", *command]


def enter(place: NodePlace) -> None:
    """Put the calling process into a place; of its threads, only the calling one is in the place's network.

    For processes that were forked. What they start later is in the place as well.

    Raises:
        NodewiseError: The place is not there any more, or this user may not enter it.
    """
    with _one_line(f"cannot enter node {place.name!r}"):
        entry.join(place.netns or "", list(place.cgroup_dirs))


def memory_kills(place: NodePlace) -> int:
    """How many processes the kernel has killed because the node was at its memory limit; 0 where nothing limits it."""
    return groups.memory_kills(place.cgroup_dirs)


def processes_in(place: NodePlace) -> list[int]:
    """The process ids in a place, in ascending order.

    Without control groups: ``place.pids``, what descends from them, and what is in their sessions.
    """
    if place.cgroup_dirs:
        return groups.processes(place.cgroup_dirs)
    parents: dict[int, int] = {}
    family: set[int] = set()
    for process in psutil.process_iter() if place.pids else ():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            parents[process.pid] = process.ppid()
            # A process whose parent has ended is a descendant no more, but stays in the session.
            if process.pid in place.pids or os.getsid(process.pid) in place.pids:
                family.add(process.pid)
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sorted(family)


def _kill_all(place: NodePlace) -> None:
    deadline = time.monotonic() + groups.END_S
    while pids := processes_in(place):
        if time.monotonic() > deadline:
            raise NodewiseError(f"node {place.name!r} cannot be removed: processes {pids} do not end when killed")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _check(name: str, limits: NodeLimits) -> None:
    if not NODE.fullmatch(name):
        raise InputError(f"bad name of a node: {name!r}", hint="such as 'node-0'")
    cores, memory_bytes = machine_cores(), psutil.virtual_memory().total
    if limits.cpus is not None and not LEAST_CPUS <= limits.cpus <= cores:
        raise InputError(
            f"{limits.cpus:g} CPUs for {name}: this machine has {cores}",
            hint=f"ask for {LEAST_CPUS:g} to {cores} CPUs per node",
        )
    if limits.memory_bytes is not None and not LEAST_MEMORY_BYTES <= limits.memory_bytes <= memory_bytes:
        raise InputError(
            f"{format_bytes(limits.memory_bytes)} of memory for {name}: this machine has {format_bytes(memory_bytes)}",
            hint=f"ask for {format_bytes(LEAST_MEMORY_BYTES)} to {format_bytes(memory_bytes)} per node",
        )
    if limits.network_bits_per_s is not None and limits.network_bits_per_s < LEAST_BITS_PER_S:
        raise InputError(
            f"a network rate of {format_rate(limits.network_bits_per_s)} for {name}",
            hint=f"at least {format_rate(LEAST_BITS_PER_S)}; leave it out for no limit",
        )
    if limits.network_latency_s is not None and limits.network_latency_s < 0:
        raise InputError(f"a network latency of {limits.network_latency_s:g} s for {name}", hint="leave it out")


def _loopback(number: int) -> str:
    """The address of the driver (0) or of a node on the machine itself; other systems have no more than one."""
    return f"127.0.0.{2 + number}" if sys.platform == "linux" else "127.0.0.1"


@contextlib.contextmanager
def _one_line(subject: str) -> Iterator[None]:
    """Turn what the system says into an error of nodewise."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise NodewiseError(
            f"{subject}: {error.strerror}{where}", hint="`nodewise doctor` says what this machine allows"
        ) from None
