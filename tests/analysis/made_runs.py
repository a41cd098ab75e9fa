"""Stages, tasks and samples put together by hand."""

from __future__ import annotations

from nodewise.specs.run import StageRecord, TaskRecord
from nodewise.specs.usage import UsageSample

BEGAN = 1_000_000.0
"""When the first stage began, seconds since the epoch."""


def a_stage(name: str, wall_s: float, *, at: float = 0.0, tasks: int = 0) -> StageRecord:
    return StageRecord(name=name, wall_s=wall_s, records=1, num_tasks=tasks, started_at=BEGAN + at)


def a_task(
    stage: str,
    node: str,
    start: float,
    end: float,
    *,
    cpu_s: float = 0.0,
    read_s: float = 0.0,
    write_s: float = 0.0,
    communicate_s: float = 0.0,
    task: int = 0,
) -> TaskRecord:
    """A task from ``start`` to ``end``, seconds after the first stage began."""
    return TaskRecord(
        stage=stage,
        task=task,
        node=node,
        started_at=BEGAN + start,
        ended_at=BEGAN + end,
        cpu_s=cpu_s,
        records=1,
        read_bytes=0,
        written_bytes=0,
        peak_memory_bytes=0,
        retries=0,
        read_s=read_s,
        write_s=write_s,
        communicate_s=communicate_s,
    )


def a_sample(
    node: str,
    at: float,
    *,
    interval_s: float = 1.0,
    cpu_cores: float = 0.0,
    received_bytes: int | None = None,
    sent_bytes: int | None = None,
    memory_bytes: int = 0,
    memory_kills: int = 0,
    gpu_fraction: float | None = None,
) -> UsageSample:
    """A sample that ends ``at`` seconds after the first stage began."""
    return UsageSample(
        node=node,
        at=BEGAN + at,
        interval_s=interval_s,
        cpu_cores=cpu_cores,
        throttled_s=None,
        memory_bytes=memory_bytes,
        read_bytes=0,
        written_bytes=0,
        received_bytes=received_bytes,
        sent_bytes=sent_bytes,
        memory_kills=memory_kills,
        gpu_fraction=gpu_fraction,
    )
