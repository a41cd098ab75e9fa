"""What an event log tells about a Spark application, as frozen dataclasses.

Texts that people wrote (names, reasons, settings) are without secrets and cut to some hundred characters.
Times of day are seconds since the epoch (UTC) and end in ``_at``; lengths are seconds and end in ``_s``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nodewise.specs.results import UnreadableLine

__all__ = ["Application", "Executor", "Job", "Outcome", "StageAttempt", "TaskAttempt", "TaskCounts", "stage_label"]

Outcome = Literal["succeeded", "failed", "killed"]

# As in Spark's own UI: a task that may not commit, because another attempt did, is no failure.
_KILLED = ("TaskKilled", "TaskCommitDenied")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskAttempt:
    """One end of a task. Numbers that the log does not give (Spark 2 has fewer, lost tasks have none) are 0.

    Attributes:
        task_id: Unique in the application.
        partition: Index of the partition that it computed.
        attempt: Attempts at this task in this stage attempt before this one.
        node: Host of the executor.
        reason: Why it ended, in Spark's words: ``Success``, ``ExceptionFailure``, ``FetchFailed``, ``TaskKilled`` ...
            ``Resubmitted`` is said of a task that had ended well, when its output was lost with its executor.
        deserialize_s, run_s, result_serialize_s: The three parts of the executor's work on it, in order.
        getting_result_s: Fetching a large result to the driver.
        cpu_s, deserialize_cpu_s: CPU time of ``run_s`` and of ``deserialize_s``: of the task's thread in the JVM, not
            of Python workers beside it.
        gc_s: Garbage collection in the executor's JVM during it, whichever task caused it.
        fetch_wait_s: Blocked on shuffle blocks from elsewhere; part of ``run_s``, as is ``shuffle_write_s``.
        shuffle_read_bytes: Local and remote; ``shuffle_remote_bytes`` is the latter part.
        peak_memory_bytes: The largest figure that the log has: resident memory of the executor's processes, its JVM's
            memory, or the task's peak of execution memory.
    """

    task_id: int
    stage_id: int
    stage_attempt: int
    partition: int
    attempt: int
    executor_id: str
    node: str
    started_at: float
    ended_at: float
    reason: str
    speculative: bool = False
    deserialize_s: float = 0.0
    run_s: float = 0.0
    result_serialize_s: float = 0.0
    getting_result_s: float = 0.0
    cpu_s: float = 0.0
    deserialize_cpu_s: float = 0.0
    gc_s: float = 0.0
    fetch_wait_s: float = 0.0
    shuffle_write_s: float = 0.0
    shuffle_read_bytes: int = 0
    shuffle_remote_bytes: int = 0
    shuffle_read_records: int = 0
    shuffle_written_bytes: int = 0
    shuffle_written_records: int = 0
    memory_spilled_bytes: int = 0
    disk_spilled_bytes: int = 0
    input_bytes: int = 0
    input_records: int = 0
    output_bytes: int = 0
    output_records: int = 0
    result_bytes: int = 0
    peak_memory_bytes: int = 0

    @property
    def outcome(self) -> Outcome:
        """As Spark's UI counts it: what is neither a success nor killed has failed."""
        if self.reason == "Success":
            return "succeeded"
        return "killed" if self.reason in _KILLED else "failed"

    @property
    def wall_s(self) -> float:
        return max(0.0, self.ended_at - self.started_at)

    @property
    def scheduler_delay_s(self) -> float:
        """What is left of the wall time after all parts that Spark measures, as in Spark's UI."""
        known = self.deserialize_s + self.run_s + self.result_serialize_s + self.getting_result_s
        return max(0.0, self.wall_s - known)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounts:
    """Ends of tasks by what became of them; ``resubmitted`` are part of ``failed``."""

    succeeded: int = 0
    failed: int = 0
    killed: int = 0
    resubmitted: int = 0

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.killed


def stage_label(stage_id: int, attempt: int, name: str) -> str:
    """What :attr:`StageAttempt.label` says."""
    again = f" (attempt {attempt})" if attempt else ""
    return f"{stage_id}: {name or 'unnamed'}{again}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageAttempt:
    """One attempt at a stage.

    Attributes:
        name: First line of Spark's name for it; empty where the log tells of its tasks before it tells its name.
        num_tasks: Tasks that it was cut into.
        parent_ids: Ids of the stages whose output it reads.
        started_at, ended_at: None where the log does not tell.
        failure: Why it failed; None if it did not.
        records: Read from input or shuffle by the tasks that succeeded.
        run_s, cpu_s: Of all its tasks, also those that failed.
        median_task_s, max_task_s: Wall time of the tasks that succeeded before its end; 0 if none did.
    """

    stage_id: int
    attempt: int
    name: str
    num_tasks: int
    started_at: float | None
    ended_at: float | None
    failure: str | None
    tasks: TaskCounts
    records: int
    run_s: float
    cpu_s: float
    median_task_s: float
    max_task_s: float
    parent_ids: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """``12: collect at etl.py:40``, unique in the application."""
        return stage_label(self.stage_id, self.attempt, self.name)

    @property
    def wall_s(self) -> float:
        """From submission to completion; 0 if either is unknown."""
        if self.started_at is None or self.ended_at is None:
            return 0.0
        return max(0.0, self.ended_at - self.started_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A Spark job, one action of the program.

    Attributes:
        failure: First line of the reason; None if it did not fail.
        stage_ids: Its stages, those included that Spark skipped since their output was there.
    """

    job_id: int
    started_at: float | None
    ended_at: float | None
    failure: str | None
    stage_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """``removed_at`` is None if it was there to the end. In local mode the only one is called ``driver``."""

    executor_id: str
    node: str
    cores: int
    added_at: float
    removed_at: float | None = None
    removed_because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """All of a log.

    Attributes:
        app_id, name, spark_version: None where the log lacks its beginning.
        attempt_id: Of an application that YARN started again under the same id.
        started_at, ended_at: Those of the application where the log has them, else when the first job, stage or task
            that it tells of began, and the last one ended.
        is_complete: Whether the log has the application's end.
        is_compacted: Whether Spark dropped events of finished jobs from the log, so that they are not counted here.
        exit_code: From Spark 4 on.
        properties: Spark's settings.
        peak_executors, peak_cores: The most at the same time, in the order of the log.
        task_counts, executor_run_s, executor_cpu_s: Of all tasks, also those that failed.
        tasks: Every end of a task, in the order of the log; empty if they were handed on one by one.
        unreadable_lines: How many lines could not be read; ``unreadable`` are the first of them.
    """

    app_id: str | None
    attempt_id: str | None
    name: str | None
    spark_version: str | None
    started_at: float
    ended_at: float
    is_complete: bool
    is_compacted: bool
    exit_code: int | None
    properties: dict[str, str]
    jobs: tuple[Job, ...]
    stages: tuple[StageAttempt, ...]
    executors: tuple[Executor, ...]
    peak_executors: int
    peak_cores: int
    task_counts: TaskCounts
    executor_run_s: float
    executor_cpu_s: float
    unreadable_lines: int
    unreadable: tuple[UnreadableLine, ...]
    tasks: tuple[TaskAttempt, ...] = field(default=(), repr=False)

    @property
    def wall_s(self) -> float:
        return max(0.0, self.ended_at - self.started_at)

    @property
    def failure(self) -> str | None:
        """Why the application has to be taken as failed; None if it has not.

        An event log hardly says how the program ended: the exit status is there from Spark 4 on, and 0 as soon as the
        program stops Spark, whatever it does then. So an application counts as failed if that status is another, if
        the last of its jobs failed, or if the log ends, without the application's end, while a job was running.
        """
        if self.exit_code:
            return f"the application left with exit status {self.exit_code}"
        last = max(self.jobs, key=lambda job: job.ended_at or 0.0, default=None)
        if last is not None and last.failure is not None:
            return f"its last job, number {last.job_id}, failed: {last.failure}"
        running = sum(job.ended_at is None for job in self.jobs)
        if running and not self.is_complete:
            jobs = "job was" if running == 1 else "jobs were"
            return f"the log ends before the application does, while {running} {jobs} running"
        return None
