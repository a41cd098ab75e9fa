"""Counters of a control group, version 1 or 2, read through files that stay open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GroupCounters", "GroupTotals"]

_READ_BYTES = 16 * 1024
"""More than any of the files has."""
_BLKIO = "blkio.throttle.io_service_bytes_recursive"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupTotals:
    """What a control group has used since it was made, but for the memory, which is that of now; None: not counted.

    Attributes:
        throttled_s: Summed over the cores on which it was held back.
        memory_bytes: Without the file cache that the kernel would give up first.
        read_bytes, written_bytes: With version 1 the kernel counts what processes have written to storage themselves
            (``fsync``, direct), not what it writes later out of its cache.
        memory_kills: Processes killed at the memory limit.
    """

    cpu_s: float | None
    throttled_s: float | None
    memory_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None
    memory_kills: int


class GroupCounters:
    """The counters of the group in these folders: one of version 2, or one per controller of version 1.

    What counts is which file exists in which folder, so that any mixture works. Groups within the group are included.
    ``close`` lets go of the files.
    """

    def __init__(self, folders: Sequence[str]) -> None:
        self._folders = tuple(folders)
        self._files: dict[str, int] = {}
        for name in (
            "cpuacct.usage",
            "cpu.stat",
            "memory.usage_in_bytes",
            "memory.current",
            "memory.stat",
            "memory.oom_control",
            "memory.events",
            _BLKIO,
            "io.stat",
        ):
            path = next((path for folder in folders if (path := Path(folder) / name).exists()), None)
            if path is not None:
                self._files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def read(self) -> GroupTotals:
        """All counters.

        Raises:
            OSError: The group is gone.
        """
        cpu = _pairs(self._text("cpu.stat"))
        memory = _pairs(self._text("memory.stat"))
        events = _pairs(self._text("memory.events") or self._text("memory.oom_control"))
        read_bytes, written_bytes = self._storage()
        return GroupTotals(
            cpu_s=self._cpu_s(cpu),
            throttled_s=_throttled_s(cpu),
            memory_bytes=self._memory_bytes(memory),
            read_bytes=read_bytes,
            written_bytes=written_bytes,
            memory_kills=events.get("oom_kill", 0),
        )

    def pids(self) -> list[int]:
        """The processes in the group itself.

        Raises:
            OSError: The group is gone.
        """
        # Opened each time: of one that stays open, version 1 shows a list that is up to a second old, and reading it
        # makes it last.
        text = Path(self._folders[0], "cgroup.procs").read_text() if self._folders else ""
        return [int(pid) for pid in text.split()]

    def close(self) -> None:
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _cpu_s(self, cpu: dict[str, int]) -> float | None:
        if "cpuacct.usage" in self._files:
            return int(self._text("cpuacct.usage")) / 1e9
        return cpu["usage_usec"] / 1e6 if "usage_usec" in cpu else None

    def _memory_bytes(self, memory: dict[str, int]) -> int | None:
        used = self._text("memory.current") or self._text("memory.usage_in_bytes")
        if not used:
            return None
        cache = memory.get("total_inactive_file", memory.get("inactive_file", 0))
        return max(0, int(used) - cache)

    def _storage(self) -> tuple[int | None, int | None]:
        if "io.stat" in self._files:
            fields = [field.partition("=") for field in self._text("io.stat").split()]
            moved = [(key, value) for key, sign, value in fields if sign]
            read, written = "rbytes", "wbytes"
        elif _BLKIO in self._files:
            rows = [line.split() for line in self._text(_BLKIO).splitlines()]
            moved = [(row[1], row[2]) for row in rows if len(row) == 3]
            read, written = "Read", "Write"
        else:
            return None, None
        return sum(int(value) for key, value in moved if key == read), sum(
            int(value) for key, value in moved if key == written
        )

    def _text(self, name: str) -> str:
        """The content of the file, empty if there is none."""
        descriptor = self._files.get(name)
        return "" if descriptor is None else os.pread(descriptor, _READ_BYTES, 0).decode()


def _pairs(text: str) -> dict[str, int]:
    return {key: int(value) for key, value in (line.split() for line in text.splitlines())}


def _throttled_s(cpu: dict[str, int]) -> float | None:
    if "throttled_usec" in cpu:
        return cpu["throttled_usec"] / 1e6
    return cpu["throttled_time"] / 1e9 if "throttled_time" in cpu else None
