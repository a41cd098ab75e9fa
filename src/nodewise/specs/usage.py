"""What the nodes of a run used over time."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DRIVER", "MACHINE", "UsageSample"]

DRIVER = "driver"
"""Stands for the process that started the run, and its children."""
MACHINE = "machine"
"""Stands for all of this machine, whoever uses it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSample:
    """One node during one interval. Kept as Parquet with the run.

    Attributes:
        node: As in the task records, or :data:`DRIVER`, or :data:`MACHINE`.
        at: End of the interval, seconds since the epoch (UTC).
        interval_s: Its length.
        cpu_cores: Cores in use on average over it.
        throttled_s: Seconds of it in which the node had used up its CPU share; None where the kernel does not tell.
        memory_bytes: In use at its end.
        read_bytes, written_bytes: From and to storage during it, page cache not included.
        received_bytes, sent_bytes: Over the node's link during it; None where it shares the machine's.
        gpu_fraction, gpu_memory_bytes: Of all GPUs together, for ``machine``; None where there is none.
        memory_kills: Processes that the kernel killed during it because the node was at its memory limit.
    """

    node: str
    at: float
    interval_s: float
    cpu_cores: float
    throttled_s: float | None
    memory_bytes: int
    read_bytes: int
    written_bytes: int
    received_bytes: int | None = None
    sent_bytes: int | None = None
    gpu_fraction: float | None = None
    gpu_memory_bytes: int | None = None
    memory_kills: int = 0
