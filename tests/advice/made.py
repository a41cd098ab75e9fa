"""Workloads whose run times follow a formula."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from nodewise.advice.traces import Measured, Workload
from nodewise.specs.advice import Configuration

TYPES = {
    "a1.large": (2, 4.0, 0.10),
    "a1.xlarge": (4, 8.0, 0.20),
    "m1.large": (2, 16.0, 0.14),
    "m1.xlarge": (4, 32.0, 0.28),
}
"""vCPUs, GiB and US dollars per hour of a node."""
COUNTS = (2, 4, 8, 12, 16)


def configurations(types: Iterable[str] = TYPES, counts: Iterable[int] = COUNTS) -> list[Configuration]:
    return [
        Configuration(
            instance_type=name,
            nodes=nodes,
            vcpus=TYPES[name][0],
            memory_gib=TYPES[name][1],
            usd_per_node_hour=TYPES[name][2],
        )
        for name in types
        for nodes in counts
    ]


def workload(runtime_s: Callable[[Configuration], float | None], name: str = "made") -> Workload:
    """None: the run fails after 60 s."""
    measured = []
    for one in configurations():
        seconds = runtime_s(one)
        measured.append(Measured(configuration=one, runtime_s=seconds or 60.0, is_ok=seconds is not None))
    return Workload(workload=name, framework="spark", dataset="d", measured=tuple(measured))


def scaling(one: Configuration) -> float:
    """30 s that nothing helps, and 40 minutes of one core, shared perfectly."""
    return 30 + 2400 / (one.nodes * (one.vcpus or 1))


def needs_memory(one: Configuration) -> float:
    """As :func:`scaling`, but nine times as long with less than 100 GiB in all."""
    return scaling(one) * (1 if one.nodes * (one.memory_gib or 0) >= 100 else 9)


def write_csv(path: Path, workloads: Iterable[Workload]) -> Path:
    lines = [
        "workload,framework,dataset,instance_type,nodes,runtime_s,price_per_node_hour_usd,vcpus_per_node,mem_gib_per_node,status"
    ]
    for each in workloads:
        for one in each.measured:
            of = one.configuration
            fields = [each.workload, each.framework, each.dataset, of.instance_type, of.nodes, one.runtime_s]
            fields += [of.usd_per_node_hour, of.vcpus, of.memory_gib, "ok" if one.is_ok else "failed"]
            lines.append(",".join("" if field is None else str(field) for field in fields))
    path.write_text("\n".join(lines) + "\n")
    return path
