"""What the events of a log come to, one after another.

In memory are the stages, jobs and executors, and the wall times of the tasks of every stage that is open.
"""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace

from nodewise.eventlogs.application import (
    Application,
    Executor,
    Job,
    StageAttempt,
    TaskAttempt,
    TaskCounts,
    stage_label,
)
from nodewise.eventlogs.events import (
    Event,
    clean_text,
    count,
    counts,
    instant,
    part,
    read_executor,
    read_properties,
    read_task,
    text,
)
from nodewise.specs.results import UnreadableLine

__all__ = ["MAX_KEPT", "Tally"]

MAX_KEPT = 1_000_000
"""Stages, jobs and executors each; a log with more was made to fill the memory."""


class Tally:
    """Takes events in their order; :meth:`freeze` says what they come to.

    ``app_id`` and ``attempt_id`` are known once the application's start was taken.
    """

    def __init__(self) -> None:
        self.app_id: str | None = None
        self.attempt_id: str | None = None
        self._name: str | None = None
        self._spark_version: str | None = None
        self._started_at: float | None = None
        self._ended_at: float | None = None
        self._first_at: float | None = None
        self._last_at = 0.0
        self._exit_code: int | None = None
        self._properties: dict[str, str] = {}
        self._jobs: dict[int, Job] = {}
        self._stages: dict[tuple[int, int], _Stage] = {}
        self._executors: dict[str, Executor] = {}
        self._cores_up: dict[str, int] = {}
        self._num_cores_up = self._peak_executors = self._peak_cores = 0
        self._takers: dict[str, Callable[[Event], TaskAttempt | None]] = {
            "SparkListenerLogStart": self._log_start,
            "DBCEventLoggingListenerMetadata": self._log_start,
            "SparkListenerApplicationStart": self._application_start,
            "SparkListenerApplicationEnd": self._application_end,
            "SparkListenerEnvironmentUpdate": self._environment,
            "SparkListenerExecutorAdded": self._executor_added,
            "SparkListenerExecutorRemoved": self._executor_removed,
            "SparkListenerJobStart": self._job_start,
            "SparkListenerJobEnd": self._job_end,
            "SparkListenerStageSubmitted": self._stage_changed,
            "SparkListenerStageCompleted": self._stage_changed,
            "SparkListenerTaskEnd": self._task_end,
        }

    def take(self, event: Event) -> TaskAttempt | None:
        """Count an event, and return the task if it is the end of one. Other kinds are passed over.

        Raises:
            ValueError: It does not hold what an event of its kind must; nothing of it was counted.
        """
        taker = self._takers.get(event["Event"])
        return taker(event) if taker is not None else None

    def stage_label(self, task: TaskAttempt) -> str:
        """The label of the task's stage, as :attr:`StageAttempt.label`, before the stage has ended."""
        return self._stages[task.stage_id, task.stage_attempt].label

    def freeze(self, *, is_compacted: bool, unreadable_lines: int, unreadable: list[UnreadableLine]) -> Application:
        """The application as far as it was told, without its tasks."""
        stages = tuple(stage.freeze() for _, stage in sorted(self._stages.items()))
        counts = [stage.tasks for stage in stages]
        started_at = self._started_at if self._started_at is not None else self._first_at or 0.0
        return Application(
            app_id=self.app_id,
            attempt_id=self.attempt_id,
            name=self._name,
            spark_version=self._spark_version,
            started_at=started_at,
            ended_at=self._ended_at if self._ended_at is not None else max(started_at, self._last_at),
            is_complete=self._ended_at is not None,
            is_compacted=is_compacted,
            exit_code=self._exit_code,
            properties=self._properties,
            jobs=tuple(self._jobs.values()),
            stages=stages,
            executors=tuple(self._executors.values()),
            peak_executors=self._peak_executors,
            peak_cores=self._peak_cores,
            task_counts=TaskCounts(
                succeeded=sum(each.succeeded for each in counts),
                failed=sum(each.failed for each in counts),
                killed=sum(each.killed for each in counts),
                resubmitted=sum(each.resubmitted for each in counts),
            ),
            executor_run_s=sum(stage.run_s for stage in stages),
            executor_cpu_s=sum(stage.cpu_s for stage in stages),
            unreadable_lines=unreadable_lines,
            unreadable=tuple(unreadable),
        )

    # --- one kind of event each --------------------------------------------------------------------------------------

    def _log_start(self, event: Event) -> None:
        # The parts of a rolling log begin with one each.
        self._spark_version = self._spark_version or text(event, "Spark Version")

    def _application_start(self, event: Event) -> None:
        started_at, name = instant(event, "Timestamp"), clean_text(event, "App Name")
        app_id, attempt_id = clean_text(event, "App ID"), clean_text(event, "App Attempt ID")
        self.app_id, self.attempt_id = app_id, attempt_id
        self._name, self._started_at = name, started_at

    def _application_end(self, event: Event) -> None:
        self._ended_at = instant(event, "Timestamp")
        exit_code = event.get("ExitCode")
        self._exit_code = exit_code if type(exit_code) is int else None

    def _environment(self, event: Event) -> None:
        # Databricks tells it again when a setting changes.
        self._properties = read_properties(event)

    def _executor_added(self, event: Event) -> None:
        executor = read_executor(event)
        _check_room(self._executors, executor.executor_id)
        self._executors.setdefault(executor.executor_id, executor)
        self._num_cores_up += executor.cores - self._cores_up.get(executor.executor_id, 0)
        self._cores_up[executor.executor_id] = executor.cores
        self._peak_executors = max(self._peak_executors, len(self._cores_up))
        self._peak_cores = max(self._peak_cores, self._num_cores_up)

    def _executor_removed(self, event: Event) -> None:
        executor_id, removed_at = text(event, "Executor ID"), instant(event, "Timestamp")
        reason = clean_text(event, "Removed Reason")
        self._num_cores_up -= self._cores_up.pop(executor_id, 0)
        if executor_id in self._executors:
            known = self._executors[executor_id]
            self._executors[executor_id] = replace(known, removed_at=removed_at, removed_because=reason)

    def _job_start(self, event: Event) -> None:
        job_id, started_at = count(event, "Job ID"), instant(event, "Submission Time")
        stage_ids = counts(event, "Stage IDs")
        _check_room(self._jobs, job_id)
        self._jobs[job_id] = Job(job_id=job_id, started_at=started_at, ended_at=None, failure=None, stage_ids=stage_ids)
        self._see(started_at)

    def _job_end(self, event: Event) -> None:
        job_id, ended_at = count(event, "Job ID"), instant(event, "Completion Time")
        result = part(event, "Job Result")
        failure = None
        if text(result, "Result") != "JobSucceeded":
            failure = clean_text(part(result, "Exception"), "Message") or "no reason given"
        _check_room(self._jobs, job_id)
        job = self._jobs.get(job_id) or Job(job_id=job_id, started_at=None, ended_at=None, failure=None)
        self._jobs[job_id] = replace(job, ended_at=ended_at, failure=failure)
        self._see(ended_at)

    def _stage_changed(self, event: Event) -> None:
        info = part(event, "Stage Info")
        key = count(info, "Stage ID"), count(info, "Stage Attempt ID")
        started_at, ended_at = instant(info, "Submission Time"), instant(info, "Completion Time")
        name, failure = clean_text(info, "Stage Name") or "", clean_text(info, "Failure Reason")
        num_tasks, parent_ids = count(info, "Number of Tasks"), counts(info, "Parent IDs")
        # A name that comes after tasks would be another than theirs.
        stage = self._stages.get(key) or self._new_stage(key, name)
        stage.num_tasks, stage.parent_ids = num_tasks, parent_ids
        stage.started_at = started_at if started_at is not None else stage.started_at
        if event["Event"] == "SparkListenerStageCompleted":
            stage.ended_at, stage.failure = ended_at, failure
            stage.close()
        self._see(started_at)
        self._see(ended_at)

    def _task_end(self, event: Event) -> TaskAttempt:
        task = read_task(event)
        key = task.stage_id, task.stage_attempt
        stage = self._stages.get(key) or self._new_stage(key, "")
        stage.add(task)
        self._see(task.started_at)
        self._see(task.ended_at)
        return task

    def _new_stage(self, key: tuple[int, int], name: str) -> _Stage:
        _check_room(self._stages, key)
        stage = self._stages[key] = _Stage(stage_id=key[0], attempt=key[1], name=name)
        return stage

    def _see(self, at: float | None) -> None:
        if at is not None:
            self._first_at = at if self._first_at is None else min(self._first_at, at)
            self._last_at = max(self._last_at, at)


def _check_room(kept: Collection[object], key: object) -> None:
    if len(kept) >= MAX_KEPT and key not in kept:
        raise ValueError(f"more than {MAX_KEPT:,} of this kind")


@dataclass(slots=True)
class _Stage:
    """A stage attempt as far as it is known."""

    stage_id: int
    attempt: int
    name: str
    num_tasks: int = 0
    parent_ids: tuple[int, ...] = ()
    started_at: float | None = None
    ended_at: float | None = None
    failure: str | None = None
    succeeded: int = 0
    failed: int = 0
    killed: int = 0
    resubmitted: int = 0
    records: int = 0
    run_s: float = 0.0
    cpu_s: float = 0.0
    median_task_s: float = 0.0
    max_task_s: float = 0.0
    is_open: bool = True
    walls_s: array[float] = field(default_factory=lambda: array("d"))

    @property
    def label(self) -> str:
        return stage_label(self.stage_id, self.attempt, self.name)

    def add(self, task: TaskAttempt) -> None:
        self.run_s += task.run_s
        self.cpu_s += task.cpu_s
        outcome = task.outcome
        if outcome == "succeeded":
            self.succeeded += 1
            self.records += task.input_records + task.shuffle_read_records
            if self.is_open:
                self.walls_s.append(task.wall_s)
        elif outcome == "killed":
            self.killed += 1
        else:
            self.failed += 1
            self.resubmitted += task.reason == "Resubmitted"

    def close(self) -> None:
        """Sum up the wall times, which are not kept."""
        if self.is_open and self.walls_s:
            self.median_task_s = statistics.median(self.walls_s)
            self.max_task_s = max(self.walls_s)
            self.walls_s = array("d")
        self.is_open = False

    def freeze(self) -> StageAttempt:
        self.close()
        return StageAttempt(
            stage_id=self.stage_id,
            attempt=self.attempt,
            name=self.name,
            num_tasks=self.num_tasks,
            started_at=self.started_at,
            ended_at=self.ended_at,
            failure=self.failure,
            tasks=TaskCounts(
                succeeded=self.succeeded, failed=self.failed, killed=self.killed, resubmitted=self.resubmitted
            ),
            records=self.records,
            run_s=self.run_s,
            cpu_s=self.cpu_s,
            median_task_s=self.median_task_s,
            max_task_s=self.max_task_s,
            parent_ids=self.parent_ids,
        )
