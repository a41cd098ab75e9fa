"""How each kind of program is started on a cluster, and what its stages and tasks were."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nodewise.core.errors import ClusterStateError
from nodewise.core.secrets import redact
from nodewise.isolation.places import command_in
from nodewise.jobs.command import Program, notebook_command, ray_command
from nodewise.runs.program import ProgramEnd
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import NODE_VARIABLE, NodePlace
from nodewise.specs.run import StageRecord, TaskRecord

__all__ = ["Launch", "NotebookLaunch", "Outcome", "ProgramLaunch", "RayLaunch", "Surroundings"]

FIRST_NODE = "node-0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a program runs.

    Attributes:
        access: None where no processes of the cluster are nodewise's.
        folder: For what is kept of the program.
    """

    cluster: ClusterSpec
    access: ClusterAccess | None
    folder: Path

    @property
    def places(self) -> tuple[NodePlace, ...]:
        return self.access.places if self.access is not None else ()

    @property
    def environment(self) -> dict[str, str]:
        """Variables for every program."""
        address = (self.access.address if self.access is not None else self.cluster.address) or ""
        return {
            # What is printed is to be seen at once, not when a buffer is full.
            "PYTHONUNBUFFERED": "1",
            **(self.access.environment if self.access is not None else {}),
            "NODEWISE_NODES": str(self.cluster.nodes),
            "NODEWISE_CLUSTER_ADDRESS": address,
            "NODEWISE_OUTPUT": str(self.folder),
        }

    def node_at(self, host: str) -> str:
        """The name of the node with this address, or else the address."""
        return next((place.name for place in self.places if place.host == host), host)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program's engine tells of it; no stages where it tells none.

    Attributes:
        tasks: Attempts that succeeded; ``failed_tasks`` did not.
        shares_cpu: Whether the tasks lack CPU time that the nodes have counted.
    """

    stages: Sequence[StageRecord] = ()
    tasks: Sequence[TaskRecord] = ()
    failed_tasks: int = 0
    notes: tuple[str, ...] = ()
    event_log_path: Path | None = None
    notebook_path: Path | None = None
    shares_cpu: bool = False


class Launch(Protocol):
    """One kind of program.

    Attributes:
        command: What is started.
        environment: Variables beside those of the surroundings.
    """

    command: list[str]
    environment: dict[str, str]

    def is_up(self) -> bool:
        """Whether its start is over, so that the nodes may be held to their share; asked while it runs."""

    def outcome(self, end: ProgramEnd | None, started_at: float) -> Outcome:
        """What happened, as far as it is known; ``end`` is None if the program was cut off."""


class ProgramLaunch:
    """Any program: one task, in the place of the first node."""

    def __init__(self, program: Program, around: Surroundings) -> None:
        place = next(iter(around.places), None)
        self._name = program.name
        self.command = list(program.command) if place is None else command_in(place, program.command)
        self.environment = {NODE_VARIABLE: FIRST_NODE}

    def is_up(self) -> bool:
        return True

    def outcome(self, end: ProgramEnd | None, started_at: float) -> Outcome:
        if end is None or end.exit_status:
            return Outcome(failed_tasks=1)
        task = TaskRecord(
            stage=self._name,
            task=0,
            node=FIRST_NODE,
            started_at=started_at,
            ended_at=started_at + end.wall_s,
            cpu_s=end.cpu_s,
            records=0,
            read_bytes=0,
            written_bytes=0,
            peak_memory_bytes=end.peak_memory_bytes,
            retries=0,
        )
        stage = StageRecord(name=self._name, wall_s=end.wall_s, records=0, num_tasks=1, started_at=started_at)
        return Outcome(stages=[stage], tasks=[task])


class NotebookLaunch:
    """A notebook: each of its cells is a task.

    It is executed in the place of the first node, or beside the cluster if that has an engine to connect to.
    """

    def __init__(self, program: Program, around: Surroundings) -> None:
        self._report = _new(around.folder / "cells.json")
        self._executed = _new(around.folder / "executed.ipynb")
        self._name = program.name
        command = notebook_command(program, self._executed, self._report)
        place = next(iter(around.places), None) if around.cluster.engine == "local" else None
        self._node = FIRST_NODE if around.cluster.engine == "local" else "driver"
        self.command = command if place is None else command_in(place, command)
        self.environment = {NODE_VARIABLE: self._node, **_connection(around)}

    def is_up(self) -> bool:
        return True

    def outcome(self, _end: ProgramEnd | None, started_at: float) -> Outcome:
        cells = _read_report(self._report)
        tasks = [_task(self._name, number, self._node, cell) for number, cell in enumerate(cells)]
        last = max((task.ended_at for task in tasks), default=started_at)
        stage = StageRecord(
            name=self._name, wall_s=max(0.0, last - started_at), records=0, num_tasks=len(tasks), started_at=started_at
        )
        return Outcome(
            stages=[stage] if tasks else [],
            tasks=[task for task, cell in zip(tasks, cells, strict=True) if not cell["failed"]],
            failed_tasks=sum(cell["failed"] for cell in cells),
            notebook_path=self._executed if self._executed.exists() else None,
        )


class RayLaunch:
    """A script for Ray's job server; tasks of one name are a stage."""

    def __init__(self, program: Program, around: Surroundings) -> None:
        server = around.access.job_server if around.access is not None else around.cluster.address
        if server is None:
            raise ClusterStateError("the cluster has no job server", hint="stop it and start it again")
        self._report = _new(around.folder / "ray-tasks.json")
        self._around = around
        self.command = ray_command(program, server, _told(around), self._report)
        self.environment: dict[str, str] = {}

    def is_up(self) -> bool:
        return True

    def outcome(self, _end: ProgramEnd | None, _started_at: float) -> Outcome:
        attempts = sorted(_read_report(self._report), key=lambda task: float(task["started_at"]))
        by_name: dict[str, list[dict[str, Any]]] = {}
        for attempt in attempts:
            by_name.setdefault(attempt["name"], []).append(attempt)
        stages, tasks = [], []
        for name, mine in by_name.items():
            label, began = redact(name), float(mine[0]["started_at"])
            wall_s = max(float(attempt["ended_at"]) for attempt in mine) - began
            good = [attempt for attempt in mine if not attempt["failed"]]
            stages.append(StageRecord(name=label, wall_s=wall_s, records=0, num_tasks=len(good), started_at=began))
            tasks += [
                _task(label, number, self._around.node_at(attempt["host"]), attempt)
                for number, attempt in enumerate(good)
            ]
        return Outcome(
            stages=stages,
            tasks=tasks,
            failed_tasks=sum(attempt["failed"] for attempt in attempts),
            shares_cpu=True,
        )


def _told(around: Surroundings) -> dict[str, str]:
    """What a script gets that the cluster starts: the environment of this process is not its."""
    return {name: value for name, value in around.environment.items() if name.startswith(("NODEWISE_", "PYTHON"))}


def _connection(around: Surroundings) -> dict[str, str]:
    """Variables with which ``ray.init()`` and ``SparkSession.builder`` find the cluster."""
    address = around.environment["NODEWISE_CLUSTER_ADDRESS"]
    if around.cluster.engine == "ray" and address:
        return {"RAY_ADDRESS": address}
    if around.cluster.engine == "spark":
        master = address or f"local[{around.cluster.cores_per_node}]"
        return {"PYSPARK_SUBMIT_ARGS": f"--master {master} pyspark-shell", "PYSPARK_DRIVER_PYTHON": sys.executable}
    return {}


def _new(path: Path) -> Path:
    """The path, with what an earlier program may have left there removed."""
    path.unlink(missing_ok=True)
    return path


def _read_report(path: Path) -> list[dict[str, Any]]:
    """What a program of ours has told; nothing if it did not come to that."""
    if not path.exists():
        return []
    tasks: list[dict[str, Any]] = json.loads(path.read_text())["tasks"]
    return tasks


def _task(stage: str, number: int, node: str, told: dict[str, Any]) -> TaskRecord:
    return TaskRecord(
        stage=stage,
        task=number,
        node=node,
        started_at=told["started_at"],
        ended_at=max(told["started_at"], told["ended_at"]),
        cpu_s=told.get("cpu_s", 0.0),
        records=0,
        read_bytes=0,
        written_bytes=0,
        peak_memory_bytes=told.get("peak_memory_bytes", 0),
        retries=told.get("attempt", 0),
    )
