"""Whether this machine can carry the nodes that it shall stand in for."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import psutil

from nodewise.core.findings import Finding
from nodewise.core.machine import machine_cores
from nodewise.core.units import format_bytes
from nodewise.isolation.tiers import LATENCY, detect_tier
from nodewise.preflight.plan import Plan
from nodewise.specs.cluster import EngineName
from nodewise.specs.place import EmulationTier, NodeLimits

__all__ = ["NODE_BYTES", "check_machine", "check_tasks"]

NODE_BYTES: dict[EngineName, int] = {"local": 64 << 20, "spark": 520 << 20, "ray": 300 << 20}
"""Resident memory of a node that has joined and run one small task, as measured with Spark 4.3 and Ray 2.60: a worker
process; a Spark worker, its executor and their Python; a raylet, its agents and a Python worker."""


def check_machine(plan: Plan) -> Iterator[Finding]:
    """The nodes' CPUs and memory are there, a node is large enough for its engine, and the port is free."""
    cluster = plan.cluster
    if not cluster.emulated or plan.is_up:
        return
    yield from _check_cpus(plan)
    yield from _check_memory(plan)
    yield from _check_isolation(plan)
    if cluster.port is not None and not _is_free(cluster.port):
        yield Finding(
            level="error",
            what=f"port {cluster.port} is in use by another program",
            remedy="choose another --port, or leave it out to take any free one",
        )


def check_tasks(plan: Plan) -> Iterator[Finding]:
    """The work is cut into as many tasks as there are slots, or some of them have nothing to do."""
    slots, num_tasks = plan.cluster.slots, plan.num_tasks
    if num_tasks is not None and num_tasks < slots:
        yield Finding(
            level="warning",
            what=f"{_count(num_tasks, 'task')} for {_count(slots, 'slot')}",
            detail=f"{_count(slots - num_tasks, 'slot')} will have nothing to do",
            remedy=f"cut the work into at least {slots} parts, better {3 * slots}; or take fewer nodes",
        )


def _check_cpus(plan: Plan) -> Iterator[Finding]:
    cpus, nodes, cores = plan.cluster.limits.cpus, plan.cluster.nodes, machine_cores()
    if cpus is not None and cpus * nodes > cores + 1e-6:
        yield Finding(
            level="error",
            what=f"{_count(nodes, 'node')} of {cpus:g} CPUs need {cpus * nodes:g}, and this machine has {cores}",
            detail="the nodes would not get what their limit says, so results would not tell how a cluster scales",
            # Rounded down, or the sum would be too large again.
            remedy=f"give each at most {int(100 * cores / nodes) / 100:g} (cpus_per_node), or take fewer nodes",
        )


def _check_isolation(plan: Plan) -> Iterator[Finding]:
    """What is asked for can be held on this machine."""
    limits = plan.cluster.limits
    if limits == NodeLimits():
        return
    report = detect_tier()
    works = {finding.name: finding for finding in report.findings}
    if report.tier is EmulationTier.PROCESSES:
        yield Finding(
            level="warning",
            what="nodes will not be isolated on this machine",
            detail="nothing holds them to their share of CPU and memory, so results do not tell how a cluster scales",
            remedy="`nodewise doctor` says what is missing",
        )
    if limits.network_bits_per_s is not None and report.tier is not EmulationTier.NAMESPACES:
        yield Finding(
            level="warning",
            what="the network limit of the nodes will not be held on this machine",
            detail="nodes share its network",
            remedy="`nodewise doctor` says what is missing",
        )
    latency = works.get(LATENCY)
    if limits.network_latency_s and latency is not None and not latency.ok:
        yield Finding(
            level="error",
            what="no network latency can be added on this machine",
            detail=latency.detail,
            remedy=f"leave latency_per_node out; or {latency.remedy}",
        )


def _check_memory(plan: Plan) -> Iterator[Finding]:
    engine, nodes, limit = plan.cluster.engine, plan.cluster.nodes, plan.cluster.limits.memory_bytes
    least, memory = NODE_BYTES[engine], psutil.virtual_memory()
    if limit is not None and limit < least:
        yield Finding(
            level="error",
            what=f"a node of {format_bytes(limit)} is too small for the engine {engine}",
            detail=f"idle it takes about {format_bytes(least)}",
            remedy=f"raise memory_per_node to {format_bytes(2 * least).replace(' ', '')}, or take another engine",
        )
    if limit is not None and limit > memory.total:
        yield Finding(
            level="error",
            what=f"a node of {format_bytes(limit)} is larger than this machine",
            detail=f"it has {format_bytes(memory.total)} of memory",
            remedy=f"set memory_per_node to at most {memory.total // nodes >> 20}MiB",
        )
    elif nodes * least > memory.available:
        yield Finding(
            level="error",
            what=f"{_count(nodes, 'node')} of {engine} take about {format_bytes(nodes * least)} when idle",
            detail=f"this machine has {format_bytes(memory.available)} of memory free",
            remedy=f"take at most {max(1, memory.available // least)} nodes, or end other programs",
        )
    elif limit is not None and nodes * limit > memory.total:
        yield Finding(
            level="warning",
            what=f"{_count(nodes, 'node')} may use {format_bytes(nodes * limit)} of memory",
            detail=f"this machine has {format_bytes(memory.total)}; it may run out before a node reaches its limit",
            remedy=f"set memory_per_node to at most {memory.total // nodes >> 20}MiB, or take fewer nodes",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
