"""Brings a Spark application that ran elsewhere into the workspace, from its event log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from nodewise.core.progress import Progress
from nodewise.core.secrets import redact
from nodewise.eventlogs.application import Application
from nodewise.eventlogs.layout import EventLog, find_log
from nodewise.eventlogs.reader import LogReader
from nodewise.eventlogs.records import cluster_of, facts_of, result_of, stage_records, status_of, task_record
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import to_json
from nodewise.specs.results import EventLogResult
from nodewise.specs.run import RunRecord, RunStatus, TaskRecord
from nodewise.workspace.store import Workspace

__all__ = ["import_log"]

_COMMAND = "import-eventlog"


def import_log(path: Path, workspace: Workspace, progress: Progress, *, again: bool) -> EventLogResult:
    """Keep the application whose event log lies at ``path`` as a run, with a record for each task that succeeded.

    A log of any size is read, in bounded memory. An import that is broken off leaves nothing.

    Args:
        again: Import it also if the application is in the workspace already; else nothing is read, and the result is
            the one of then.

    Raises:
        InputError: There is no event log there, or it cannot be read.
        NodewiseError: The workspace cannot be written.
    """
    log = find_log(path)
    app_id = _look_ahead(log)
    if not again and (known := _imported_before(workspace, app_id)) is not None:
        return known
    run = workspace.create_run(_COMMAND, ClusterSpec(engine="spark"))
    reader = LogReader(log, progress)
    try:
        workspace.write_tasks(run.run_id, _succeeded(reader))
        application = reader.application()
        result = result_of(application, run.run_id)
        finished = _finished(run, log, application, result)
    except BaseException:
        # A run stands for an application: of a part of one nothing is kept.
        workspace.finish_run(replace(run, status=RunStatus.FAILED))
        workspace.delete_run(run.run_id)
        raise
    workspace.finish_run(finished)
    return result


def _look_ahead(log: EventLog) -> tuple[str, str | None] | None:
    """Id and attempt of the application, and the certainty that this is an event log."""
    reader = LogReader(log)
    with closing(reader.tasks()) as tasks:
        next(tasks, None)
    return reader.app_id


def _imported_before(workspace: Workspace, app_id: tuple[str, str | None] | None) -> EventLogResult | None:
    from pydantic import TypeAdapter

    for run in workspace.list_runs():
        facts = run.provenance
        if run.command == _COMMAND and run.result and app_id == (facts.get("app_id"), facts.get("app_attempt_id")):
            result = TypeAdapter(EventLogResult).validate_python(run.result)
            return replace(result, imported_before=True)
    return None


def _succeeded(reader: LogReader) -> Iterator[TaskRecord]:
    for task in reader.tasks():
        if task.outcome == "succeeded":
            yield task_record(task, reader.stage_label(task))


def _finished(run: RunRecord, log: EventLog, application: Application, result: EventLogResult) -> RunRecord:
    """The run as the application's own: its times, its cluster, its end."""
    error = None
    if result.failure is not None:
        error = {"code": "application_failed", "message": result.failure, "hint": None}
    return replace(
        run,
        status=status_of(application),
        scenario=application.name,
        created_at=datetime.fromtimestamp(application.started_at, UTC),
        ended_at=datetime.fromtimestamp(application.ended_at, UTC),
        cluster=cluster_of(application),
        cluster_s=application.wall_s,
        stages=stage_records(application),
        error=error,
        result=to_json(result),
        provenance={"event_log": redact(log.path.absolute().name), **facts_of(application)},
    )
