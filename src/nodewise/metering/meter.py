"""Meters one task inside its worker process."""

from __future__ import annotations

import resource
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

from nodewise.specs.run import TaskRecord

__all__ = ["TaskMeter"]


class TaskMeter:
    """Wall time, CPU time and memory of the block, plus what the job counts and times by itself.

    One task runs in a process at a time, so the process's own CPU clock is the task's. ``reading``, ``writing`` and
    ``communicating`` are timers: ``with meter.reading(): ...`` adds to the seconds of that kind, whatever ends the
    block. They cost half a microsecond each and must not be nested.

    Example:
        >>> with TaskMeter() as meter:
        ...     with meter.reading():
        ...         data = path.read_bytes()
        ...     meter.count(records=2, read_bytes=len(data))
        >>> meter.record(stage="s", task=0, node="node-0", retries=0).records
        2
    """

    def __init__(self) -> None:
        self.records = 0
        self.read_bytes = 0
        self.written_bytes = 0
        self._started_at = self._started = self._cpu = self._wall_s = self._cpu_s = 0.0
        self._peak = 0
        self._reading, self._writing, self._communicating = _Timer(), _Timer(), _Timer()

    def count(self, *, records: int = 0, read_bytes: int = 0, written_bytes: int = 0) -> None:
        """Add to what this task has handled."""
        self.records += records
        self.read_bytes += read_bytes
        self.written_bytes += written_bytes

    def reading(self) -> AbstractContextManager[object]:
        """Time a block that waits for data to be read."""
        return self._reading

    def writing(self) -> AbstractContextManager[object]:
        """Time a block that waits for data to be written."""
        return self._writing

    def communicating(self) -> AbstractContextManager[object]:
        """Time a block that exchanges data with other tasks, or waits for theirs."""
        return self._communicating

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
            read_s=self._reading.seconds,
            write_s=self._writing.seconds,
            communicate_s=self._communicating.seconds,
        )


class _Timer:
    # A class with slots: a generator made into a context manager takes three times as long.
    __slots__ = ("_started", "seconds")

    def __init__(self) -> None:
        self.seconds = self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exc: object) -> None:
        self.seconds += time.perf_counter() - self._started


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
