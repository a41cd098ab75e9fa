"""Meters one task inside its worker process."""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

from nodewise.specs.run import TaskRecord

__all__ = ["TaskMeter"]


class TaskMeter:
    """Wall time, CPU time and memory of the block, plus what the job counts by itself.

    One task runs in a process at a time, so the process's own CPU clock is the task's.

    Example:
        >>> with TaskMeter() as meter:
        ...     meter.count(records=2, read_bytes=10)
        >>> meter.record(stage="s", task=0, node="node-0", retries=0).records
        2
    """

    def __init__(self) -> None:
        self.records = 0
        self.read_bytes = 0
        self.written_bytes = 0
        self._started_at = self._started = self._cpu = self._wall_s = self._cpu_s = 0.0
        self._peak = 0

    def count(self, *, records: int = 0, read_bytes: int = 0, written_bytes: int = 0) -> None:
        """Add to what this task has handled."""
        self.records += records
        self.read_bytes += read_bytes
        self.written_bytes += written_bytes

    def __enter__(self) -> TaskMeter:
        _reset_peak_memory()
        self._started_at = time.time()
        self._started = time.perf_counter()
        self._cpu = time.process_time()
        return self

    def __exit__(self, *exc: object) -> None:
        self._cpu_s = time.process_time() - self._cpu
        self._wall_s = time.perf_counter() - self._started
        self._peak = _peak_memory_bytes()

    def record(self, *, stage: str, task: int, node: str, retries: int) -> TaskRecord:
        """The task's record, once the block is over."""
        return TaskRecord(
            stage=stage,
            task=task,
            node=node,
            started_at=self._started_at,
            ended_at=self._started_at + self._wall_s,
            cpu_s=self._cpu_s,
            records=self.records,
            read_bytes=self.read_bytes,
            written_bytes=self.written_bytes,
            peak_memory_bytes=self._peak,
            retries=retries,
        )


def _reset_peak_memory() -> None:
    # Linux: writing 5 sets the high-water mark to the present size (proc(5)); elsewhere it is the process's own peak.
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory_bytes() -> int:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
