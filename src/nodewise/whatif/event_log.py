"""The program of a Spark application, from its event log."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from math import floor, inf
from pathlib import Path

import numpy as np

from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT, Progress
from nodewise.eventlogs.application import Application, Executor, TaskAttempt, stage_label
from nodewise.eventlogs.layout import find_log
from nodewise.eventlogs.reader import LogReader
from nodewise.whatif.build import make_program
from nodewise.whatif.program import Program
from nodewise.whatif.recording import (
    RecordedJob,
    RecordedPlace,
    RecordedStage,
    RecordedTasks,
    Recording,
)

__all__ = ["NodeShape", "program_of_log"]

_NODE_TYPE = "spark.databricks.clusterUsageTags.clusterNodeType"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """What is known of a cluster beside its event log."""

    nodes: int
    cores_per_node: int
    node_type: str | None = None
    network_bits_per_s: float | None = None


def program_of_log(path: Path, cluster: NodeShape | None = None, progress: Progress = SILENT) -> Program:
    """The program whose event log lies at ``path``.

    Args:
        path: A file or a folder, as :func:`~nodewise.eventlogs.layout.find_log` takes it.
        cluster: The cluster that it ran on; None: as the executors tell, whose hosts are taken for nodes.

    Raises:
        InputError: There is no event log there, or it tells of no task.
    """
    log = find_log(path)
    reader = LogReader(log, progress)
    table = _TaskTable()
    for task in reader.tasks():
        table.add(task)
    application = reader.application()
    if not len(table):
        raise InputError(f"{log.path} tells of no task", hint="a replay needs the log of an application that ran some")
    return make_program(_recording(application, table, cluster))


class _TaskTable:
    """The attempts at tasks as columns, which take far less memory than objects."""

    _COLUMNS = ("started_s", "ended_s", "cpu_s", "fetch_s", "write_s", "read_bytes", "fetch_bytes", "write_bytes")

    def __init__(self) -> None:
        self.stages: dict[tuple[int, int], int] = {}
        self.places: dict[str, int] = {}
        self.nodes: dict[str, str] = {}
        self._stage, self._place, self._failed = array("q"), array("q"), array("b")
        self._columns = {name: array("d") for name in self._COLUMNS}

    def __len__(self) -> int:
        return len(self._stage)

    def add(self, task: TaskAttempt) -> None:
        if task.reason == "Resubmitted":
            return  # said of an attempt that has ended, and was counted, before
        self.nodes.setdefault(task.executor_id, task.node)
        self._stage.append(self.stages.setdefault((task.stage_id, task.stage_attempt), len(self.stages)))
        self._place.append(self.places.setdefault(task.executor_id, len(self.places)))
        self._failed.append(task.outcome != "succeeded")
        values = (
            task.started_at,
            task.ended_at,
            task.cpu_s + task.deserialize_cpu_s,
            task.fetch_wait_s,
            task.shuffle_write_s,
            task.input_bytes,
            task.shuffle_read_bytes,
            task.shuffle_written_bytes + task.output_bytes,
        )
        for column, value in zip(self._columns.values(), values, strict=True):
            column.append(value)

    def freeze(self, origin_s: float, stage_places: Mapping[tuple[int, int], int]) -> RecordedTasks:
        """The attempts with seconds since the origin; places of stages are those given."""
        columns = {name: np.array(column, np.float64) for name, column in self._columns.items()}
        for name in ("started_s", "ended_s"):
            columns[name] -= origin_s
        numbers = np.array([stage_places[key] for key in self.stages], np.int64)
        return RecordedTasks(
            stage=numbers[np.array(self._stage, np.int64)],
            place=np.array(self._place, np.int64),
            read_s=np.zeros(len(self)),
            has_failed=np.array(self._failed, np.bool_),
            **columns,
        )


def _recording(application: Application, table: _TaskTable, cluster: NodeShape | None) -> Recording:
    origin_s = application.started_at
    keys = [(stage.stage_id, stage.attempt) for stage in application.stages]
    tasks = table.freeze(origin_s, {key: place for place, key in enumerate(keys)})
    jobs = _Jobs(application)
    stages = []
    for place, stage in enumerate(application.stages):
        submitted_s = 0.0 if stage.started_at is None else stage.started_at - origin_s
        if stage.started_at is None and len(begun := tasks.started_s[tasks.stage == place]):
            submitted_s = float(begun.min())
        ended_s = None if stage.ended_at is None else stage.ended_at - origin_s
        stages.append(
            RecordedStage(
                name=stage_label(stage.stage_id, stage.attempt, stage.name),
                number=stage.stage_id,
                attempt=stage.attempt,
                parents=stage.parent_ids,
                job=jobs.of(stage.stage_id, submitted_s, ended_s),
                submitted_s=submitted_s,
                ended_s=ended_s,
            )
        )
    return Recording(
        name=application.name or application.app_id or "an application",
        stages=stages,
        jobs=jobs.recorded,
        places=_places(application, table),
        tasks=tasks,
        measured_s=application.wall_s,
        nodes=cluster.nodes if cluster else None,
        cores_per_node=cluster.cores_per_node if cluster else None,
        node_type=cluster.node_type if cluster else application.properties.get(_NODE_TYPE),
        network_bits_per_s=cluster.network_bits_per_s if cluster else None,
        notes=tuple(_notes(application)),
    )


class _Jobs:
    """Jobs with their stages; a stage that no job names is one of its own."""

    def __init__(self, application: Application) -> None:
        self.recorded: list[RecordedJob] = []
        self._naming: dict[int, list[int]] = {}
        for job in application.jobs:
            if job.started_at is None:
                continue
            for stage_id in job.stage_ids:
                self._naming.setdefault(stage_id, []).append(len(self.recorded))
            ended_s = inf if job.ended_at is None else job.ended_at - application.started_at
            self.recorded.append(RecordedJob(started_s=job.started_at - application.started_at, ended_s=ended_s))

    def of(self, stage_id: int, submitted_s: float, ended_s: float | None) -> int:
        """The place of the job that the stage ran for: the first that names it and was under way."""
        for place in self._naming.get(stage_id, []):
            job = self.recorded[place]
            if job.started_s <= submitted_s <= job.ended_s:
                return place
        self.recorded.append(RecordedJob(started_s=submitted_s, ended_s=inf if ended_s is None else ended_s))
        return len(self.recorded) - 1


def _places(application: Application, table: _TaskTable) -> list[RecordedPlace]:
    """A place for each executor: those that ran tasks first, in the order of the task table."""
    known = {executor.executor_id: _place_of(executor, application) for executor in application.executors}
    untold = {name: RecordedPlace(name=name, node=table.nodes[name]) for name in table.places if name not in known}
    places = known | untold
    return [places[name] for name in dict.fromkeys([*table.places, *known])]


def _place_of(executor: Executor, application: Application) -> RecordedPlace:
    removed_at = executor.removed_at
    return RecordedPlace(
        name=executor.executor_id,
        node=executor.node,
        cores=max(1, executor.cores),
        slots=_slots(executor.cores, application.properties),
        from_s=max(0.0, executor.added_at - application.started_at),
        until_s=inf if removed_at is None else removed_at - application.started_at,
    )


def _slots(cores: int, properties: Mapping[str, str]) -> int:
    """Tasks that an executor runs at once: by its cores, and by resources such as GPUs."""
    slots = float(max(1, cores)) / _number(properties, "spark.task.cpus", 1.0)
    for name in properties:
        if name.startswith("spark.task.resource.") and name.endswith(".amount"):
            has = _number(properties, name.replace("spark.task.", "spark.executor.", 1), inf)
            slots = min(slots, has / _number(properties, name, 1.0))
    return max(1, floor(slots + 1e-9))


def _number(properties: Mapping[str, str], name: str, default: float) -> float:
    try:
        value = float(properties.get(name, default))
    except ValueError:
        return default
    return value if value > 0 else default


def _notes(application: Application) -> list[str]:
    notes = []
    if not application.is_complete:
        notes.append("the log lacks the application's end; times go to the last job, stage or task")
    if application.is_compacted:
        notes.append("Spark has compacted the log: jobs that had ended by then are not replayed")
    if not application.executors:
        notes.append("the log does not tell of executors: they are taken to have been there for their tasks alone")
    if application.unreadable_lines:
        notes.append(f"{application.unreadable_lines:,} lines of the log could not be read")
    return notes
