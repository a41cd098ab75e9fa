"""What happened: runs, their stages and the tasks that engines ran."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import EmulationTier

__all__ = ["RunRecord", "RunStatus", "StageRecord", "TaskRecord"]


class RunStatus(StrEnum):
    """MLflow's words for where a run stands."""

    RUNNING = "RUNNING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    KILLED = "KILLED"

    @property
    def is_finished(self) -> bool:
        return self is not RunStatus.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task that an engine ran, the same whatever the engine. Kept as Parquet with the run.

    Attributes:
        stage: Name of the stage that it belongs to.
        task: Index of its partition, or its rank in a gang.
        node: ``node-0`` ... on an emulated cluster, else the name that the engine gives.
        started_at, ended_at: Seconds since the epoch (UTC); the length is measured with a monotonic clock.
        cpu_s: CPU time (user and system) of the worker process, all its threads.
        records: Records that it handled.
        read_bytes, written_bytes: Bytes of data files that it read and wrote.
        peak_memory_bytes: Highest resident memory of the worker process during the task.
        retries: Attempts before this one that were lost.
        read_s, write_s: Seconds in which it waited for storage, as far as the job tells.
        communicate_s: Seconds in which it exchanged data with other tasks (shuffle, all-reduce), as far as known.
    """

    stage: str
    task: int
    node: str
    started_at: float
    ended_at: float
    cpu_s: float
    records: int
    read_bytes: int
    written_bytes: int
    peak_memory_bytes: int
    retries: int
    read_s: float = 0.0
    write_s: float = 0.0
    communicate_s: float = 0.0

    @property
    def wall_s(self) -> float:
        return self.ended_at - self.started_at


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRecord:
    """A metered part of a run: one job, measured from the driver.

    Attributes:
        wall_s: From handing the stage to the engine until its last result was combined; without the cluster's start.
        records: Records that went through it.
        num_tasks: Tasks that it was cut into.
        started_at: Seconds since the epoch (UTC).
        memory_kills: Processes that were ended meanwhile because their node was at its memory limit.
    """

    name: str
    wall_s: float
    records: int
    num_tasks: int = 0
    started_at: float = 0.0
    memory_kills: int = 0

    @property
    def records_per_s(self) -> float:
        return self.records / self.wall_s if self.wall_s > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One execution of one job, or of all jobs of a scenario, on one cluster. Kept in the workspace.

    Attributes:
        command: ``prepare``, ``train``, ``score`` or ``compare``.
        experiment: Id of the comparison that this run is part of.
        cluster_name: The all-purpose cluster that it ran on; None: one of its own.
        emulation_tier: How far emulated nodes were kept apart; None: not emulated, or one node that is the machine.
        cluster_s: Billed time: from the start of the cluster to its stop, or while the run had an all-purpose cluster.
        start_up_s: The part of it before the first job could begin.
        cost_usd: Nodes x price x billed time; None where no price is known. ``emulated`` runs were not billed: the
            figure is what the node type would cost at this speed.
        error: ``{"code", "message", "hint"}`` of a run that failed.
        result: What the command reports, as JSON.
        provenance: Versions, machine, price source, command line.
    """

    run_id: str
    command: str
    status: RunStatus
    created_at: datetime
    cluster: ClusterSpec
    scenario: str | None = None
    experiment: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    cluster_name: str | None = None
    emulation_tier: EmulationTier | None = None
    ended_at: datetime | None = None
    cluster_s: float | None = None
    start_up_s: float | None = None
    cost_usd: Decimal | None = None
    accuracy: float | None = None
    stages: tuple[StageRecord, ...] = ()
    error: dict[str, str | None] | None = None
    result: dict[str, Any] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
