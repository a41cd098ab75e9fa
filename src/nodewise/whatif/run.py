"""The program of a run of nodewise, from the records of its stages and tasks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf

import numpy as np

from nodewise.core.errors import InputError
from nodewise.specs.run import RunRecord, StageRecord, TaskRecord
from nodewise.whatif.build import make_program
from nodewise.whatif.program import Program
from nodewise.whatif.recording import (
    RecordedJob,
    RecordedPlace,
    RecordedStage,
    RecordedTasks,
    Recording,
)

__all__ = ["program_of_run"]


def program_of_run(
    run: RunRecord,
    records: Sequence[TaskRecord],
    *,
    gang_stages: Collection[str] = (),
    filling_stages: Collection[str] = (),
) -> Program:
    """The program of a run that has ended.

    Args:
        records: Of its tasks, those that succeeded.
        gang_stages: Names of the stages with one task on each node, which run all at once.
        filling_stages: Names of the stages that their job cuts into a task per slot at least.

    Raises:
        InputError: The run has no stages, or no task records.
    """
    named = {stage.name for stage in run.stages}
    tasks = [task for task in records if task.stage in named]
    if not tasks:
        raise InputError(
            f"run {run.run_id} has no task records to replay",
            hint="take a run of prepare, train, score or compare, a Spark program's, or an event log",
        )
    start_up_s = run.start_up_s or 0.0
    spans = _spans(run.stages, tasks)
    # Imported applications count from their own start; of other runs the first stage follows the start-up.
    first_at = min(began_at for began_at, _ in spans.values())
    origin_s = run.created_at.timestamp() if run.start_up_s is None else first_at - start_up_s
    stages, jobs = [], []
    for number, (name, (began_at, ended_at)) in enumerate(spans.items()):
        submitted_s, ended_s = began_at - origin_s, ended_at - origin_s
        stages.append(
            RecordedStage(
                name=name,
                number=number,
                job=number,
                submitted_s=submitted_s,
                ended_s=ended_s,
                is_gang=name in gang_stages,
                fills_slots=name in filling_stages,
            )
        )
        jobs.append(RecordedJob(started_s=submitted_s, ended_s=ended_s))
    names = {stage.name: place for place, stage in enumerate(stages)}
    end_s = max(stage.ended_s or 0.0 for stage in stages)
    cluster = run.cluster
    nodes = list(dict.fromkeys([*(task.node for task in tasks), *(f"node-{n}" for n in range(cluster.nodes))]))
    # Nodes without a task are those left of the cluster's count.
    nodes = nodes[: max(cluster.nodes, len({task.node for task in tasks}))]
    places = [
        RecordedPlace(
            name=node,
            node=node,
            cores=cluster.cores_per_node,
            slots=cluster.cores_per_node,
            from_s=start_up_s,
            until_s=inf,
        )
        for node in nodes
    ]
    return make_program(
        Recording(
            name=f"{run.scenario or run.command} (run {run.run_id})",
            stages=stages,
            jobs=jobs,
            places=places,
            tasks=_columns(tasks, names, nodes, origin_s),
            measured_s=max(run.cluster_s or 0.0, end_s),
            nodes=cluster.nodes,
            cores_per_node=cluster.cores_per_node,
            node_type=cluster.node_type,
            network_bits_per_s=cluster.limits.network_bits_per_s,
            notes=() if run.error is None else ("the run failed; only what it did until then is replayed",),
        )
    )


def _spans(stages: Sequence[StageRecord], tasks: Sequence[TaskRecord]) -> dict[str, tuple[float, float]]:
    """When each stage began and ended, by its name; where its record does not tell, its tasks do."""
    spans = {}
    for stage in stages:
        began_at, ended_at = stage.started_at, stage.started_at + stage.wall_s
        if stage.started_at <= 0 or stage.wall_s <= 0:
            own = [task for task in tasks if task.stage == stage.name]
            if not own:
                continue
            began_at = min(task.started_at for task in own)
            ended_at = max(began_at + stage.wall_s, *(task.ended_at for task in own))
        spans[stage.name] = began_at, ended_at
    return spans


def _columns(
    tasks: Sequence[TaskRecord], stages: dict[str, int], nodes: Sequence[str], origin_s: float
) -> RecordedTasks:
    places = {node: number for number, node in enumerate(nodes)}
    zeros = np.zeros(len(tasks))
    return RecordedTasks(
        stage=np.array([stages[task.stage] for task in tasks], np.int64),
        place=np.array([places[task.node] for task in tasks], np.int64),
        started_s=np.array([task.started_at - origin_s for task in tasks]),
        ended_s=np.array([task.ended_at - origin_s for task in tasks]),
        cpu_s=np.array([task.cpu_s for task in tasks]),
        read_s=np.array([task.read_s for task in tasks]),
        fetch_s=np.array([task.communicate_s for task in tasks]),
        write_s=np.array([task.write_s for task in tasks]),
        read_bytes=np.array([task.read_bytes for task in tasks], np.float64),
        fetch_bytes=zeros,
        write_bytes=np.array([task.written_bytes for task in tasks], np.float64),
        has_failed=zeros.astype(np.bool_),
    )
