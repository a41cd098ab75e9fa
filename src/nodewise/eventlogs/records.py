"""An application from an event log in nodewise's own words: cluster, stages, tasks, result."""

from __future__ import annotations

from typing import Any

from nodewise.eventlogs.application import Application, TaskAttempt
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.results import EventLogResult, EventLogStage
from nodewise.specs.run import RunStatus, StageRecord, TaskRecord

__all__ = ["cluster_of", "facts_of", "result_of", "stage_records", "task_record"]

LONGEST_STAGES = 5

_PROPERTIES = (
    "spark.master",
    "spark.submit.deployMode",
    "spark.driver.cores",
    "spark.driver.memory",
    "spark.executor.instances",
    "spark.executor.cores",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.task.cpus",
    "spark.default.parallelism",
    "spark.dynamicAllocation.enabled",
    "spark.dynamicAllocation.minExecutors",
    "spark.dynamicAllocation.maxExecutors",
    "spark.shuffle.service.enabled",
    "spark.speculation",
    "spark.sql.adaptive.enabled",
    "spark.sql.shuffle.partitions",
    "spark.sql.files.maxPartitionBytes",
    "spark.databricks.clusterUsageTags.clusterName",
    "spark.databricks.clusterUsageTags.clusterNodeType",
    "spark.databricks.clusterUsageTags.driverNodeType",
    "spark.databricks.clusterUsageTags.clusterWorkers",
    "spark.databricks.clusterUsageTags.sparkVersion",
    "spark.databricks.clusterUsageTags.cloudProvider",
    "spark.databricks.clusterUsageTags.region",
)
"""Settings that say what ran where and why it took its time."""


def task_record(task: TaskAttempt, stage_label: str) -> TaskRecord:
    """The record of a task that succeeded; records are those of the input and of the shuffle, bytes those of files."""
    return TaskRecord(
        stage=stage_label,
        task=task.partition,
        node=task.node,
        started_at=task.started_at,
        ended_at=max(task.started_at, task.ended_at),
        cpu_s=task.cpu_s + task.deserialize_cpu_s,
        records=task.input_records + task.shuffle_read_records,
        read_bytes=task.input_bytes,
        written_bytes=task.output_bytes,
        peak_memory_bytes=task.peak_memory_bytes,
        retries=task.attempt,
        write_s=task.shuffle_write_s,
        communicate_s=task.fetch_wait_s,
    )


def stage_records(application: Application) -> tuple[StageRecord, ...]:
    """A record for each stage attempt; ``wall_s`` is 0 where the log lacks its end."""
    return tuple(
        StageRecord(
            name=stage.label,
            wall_s=stage.wall_s,
            records=stage.records,
            num_tasks=stage.num_tasks,
            started_at=stage.started_at or 0.0,
        )
        for stage in application.stages
    )


def cluster_of(application: Application) -> ClusterSpec:
    """The cluster that the application had: as many nodes as it had executors at the same time, the largest's cores.

    ``address`` is Spark's master, and never such that this machine is taken for the cluster.
    """
    master = application.properties.get("spark.master") or "an unknown master"
    return ClusterSpec(
        engine="spark",
        nodes=max(1, application.peak_executors),
        cores_per_node=max(1, max((executor.cores for executor in application.executors), default=1)),
        address=f"its own machine ({master})" if master.startswith("local") else master,
    )


def facts_of(application: Application) -> dict[str, Any]:
    """What tells the application apart and explains it, for the provenance of its run."""
    properties = {name: application.properties[name] for name in _PROPERTIES if name in application.properties}
    return {
        "app_id": application.app_id,
        "app_attempt_id": application.attempt_id,
        "app_name": application.name,
        "spark_version": application.spark_version,
        "spark_properties": properties,
    }


def result_of(application: Application, run_id: str) -> EventLogResult:
    """What the import reports."""
    core_s = application.peak_cores * application.wall_s
    longest = sorted(application.stages, key=lambda stage: stage.wall_s, reverse=True)[:LONGEST_STAGES]
    counts = application.task_counts
    return EventLogResult(
        run_id=run_id,
        app_id=application.app_id,
        app_name=application.name,
        spark_version=application.spark_version,
        stages=len(application.stages),
        tasks=counts.ended,
        failed_tasks=counts.failed,
        killed_tasks=counts.killed,
        resubmitted_tasks=counts.resubmitted,
        executors=len(application.executors),
        cores=application.peak_cores,
        seconds=round(application.wall_s, 3),
        executor_run_seconds=round(application.executor_run_s, 3),
        executor_cpu_seconds=round(application.executor_cpu_s, 9),
        busy_fraction=application.executor_run_s / core_s if core_s > 0 else None,
        status=status_of(application).value,
        failure=application.failure,
        complete=application.is_complete,
        longest_stages=tuple(
            EventLogStage(
                name=stage.label,
                seconds=round(stage.wall_s, 3),
                tasks=stage.num_tasks,
                median_task_seconds=round(stage.median_task_s, 4),
                max_task_seconds=round(stage.max_task_s, 3),
            )
            for stage in longest
        ),
        unreadable_lines=application.unreadable_lines,
        unreadable=application.unreadable,
        notes=tuple(_notes(application)),
    )


def status_of(application: Application) -> RunStatus:
    """FINISHED or FAILED, as :attr:`~nodewise.eventlogs.application.Application.failure` has it."""
    return RunStatus.FAILED if application.failure else RunStatus.FINISHED


def _notes(application: Application) -> list[str]:
    notes = []
    if application.app_id is None:
        notes.append("the log lacks its beginning, so neither application nor settings are known")
    if not application.is_complete:
        notes.append("the log lacks the application's end; times go to the last job, stage or task")
    if application.is_compacted:
        notes.append("Spark has compacted the log: jobs that had ended by then are not counted")
    if application.stages and not application.executors:
        notes.append("the log does not tell of executors, so cores and nodes are unknown")
    return notes
