"""The counters of a node, wherever they come from, and of the whole machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from nodewise.metering.cgroups import GroupCounters
from nodewise.metering.gpu import open_gpus
from nodewise.metering.processes import FamilyCounters, ProcessTable
from nodewise.specs.place import NodePlace

__all__ = ["Counters", "MachineCounters", "NodeCounters", "Totals"]

_LINKS = Path("/sys/class/net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What a node has used. Only differences mean something, but for memory and GPU, which are those of now.

    Attributes:
        gpu_fraction, gpu_memory_bytes: Of all GPUs together.
    """

    cpu_s: float
    throttled_s: float | None = None
    memory_bytes: int
    read_bytes: int
    written_bytes: int
    received_bytes: int | None = None
    sent_bytes: int | None = None
    memory_kills: int = 0
    gpu_fraction: float | None = None
    gpu_memory_bytes: int | None = None


class Counters(Protocol):
    """What the sampler reads; from ``read`` comes OSError when what it counts is gone."""

    def read(self) -> Totals: ...

    def close(self) -> None: ...


class NodeCounters:
    """The counters of a node: its control group's own, of its processes what no group counts, and of its link.

    Its processes are followed in any case, so that none counts for a place that its parent is in, too.

    Raises:
        OSError: Its link is not there.
    """

    def __init__(self, place: NodePlace, table: ProcessTable) -> None:
        self._group = GroupCounters(place.cgroup_dirs)
        self._link: _LinkCounters | None = None
        self._family = FamilyCounters(table, place.pids, more=self._group.pids)
        try:
            if place.link is not None:
                self._link = _LinkCounters(place.link)
        except OSError:
            self.close()
            raise

    def read(self) -> Totals:
        group, family = self._group.read(), self._family.read()
        received_bytes, sent_bytes = (None, None) if self._link is None else self._link.read()
        return Totals(
            cpu_s=family.cpu_s if group.cpu_s is None else group.cpu_s,
            throttled_s=group.throttled_s,
            memory_bytes=family.memory_bytes if group.memory_bytes is None else group.memory_bytes,
            read_bytes=family.read_bytes if group.read_bytes is None else group.read_bytes,
            written_bytes=family.written_bytes if group.written_bytes is None else group.written_bytes,
            received_bytes=received_bytes,
            sent_bytes=sent_bytes,
            memory_kills=group.memory_kills,
        )

    def close(self) -> None:
        self._group.close()
        if self._link is not None:
            self._link.close()


class MachineCounters:
    """The counters of the whole machine, of whatever runs on it; its GPUs are counted here, since no node owns one."""

    def __init__(self) -> None:
        self._gpus = open_gpus()

    def read(self) -> Totals:
        cpu = psutil.cpu_times()
        memory = psutil.virtual_memory()
        disks = psutil.disk_io_counters()
        links = [traffic for name, traffic in psutil.net_io_counters(pernic=True).items() if not _is_bridged(name)]
        gpu_fraction, gpu_memory_bytes = (None, None) if self._gpus is None else self._gpus.read()
        return Totals(
            cpu_s=cpu.user + cpu.system + sum(getattr(cpu, kind, 0.0) for kind in ("nice", "irq", "softirq")),
            memory_bytes=memory.total - memory.available,
            read_bytes=0 if disks is None else disks.read_bytes,
            written_bytes=0 if disks is None else disks.write_bytes,
            received_bytes=sum(link.bytes_recv for link in links),
            sent_bytes=sum(link.bytes_sent for link in links),
            gpu_fraction=gpu_fraction,
            gpu_memory_bytes=gpu_memory_bytes,
        )

    def close(self) -> None:
        if self._gpus is not None:
            self._gpus.close()


class _LinkCounters:
    """The bytes of a node's link, from the machine's end of it: what that end receives, the node has sent."""

    def __init__(self, link: str) -> None:
        self._files = [
            os.open(_LINKS / link / "statistics" / name, os.O_RDONLY | os.O_CLOEXEC)
            for name in ("tx_bytes", "rx_bytes")
        ]

    def read(self) -> tuple[int, int]:
        """Bytes that the node has received and sent."""
        received, sent = (int(os.pread(descriptor, 32, 0)) for descriptor in self._files)
        return received, sent

    def close(self) -> None:
        for descriptor in self._files:
            os.close(descriptor)


def _is_bridged(link: str) -> bool:
    # Traffic between nodes and to them passes bridges and their ports, and is counted with the nodes.
    folder = _LINKS / link
    return (folder / "bridge").exists() or (folder / "brport").exists()
