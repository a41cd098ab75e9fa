"""Replays a run of the workspace, or an event log from anywhere, on other clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

from nodewise.analysis.limits import GANG_STAGES
from nodewise.core.errors import InputError, UnknownNameError
from nodewise.core.progress import Progress
from nodewise.metering.cost import cost_usd, price_cluster
from nodewise.metering.prices import find_node_type
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord
from nodewise.specs.whatif import ClusterShape, WhatIfResult
from nodewise.whatif.event_log import NodeShape, program_of_log
from nodewise.whatif.program import Program
from nodewise.whatif.replay import replay_program
from nodewise.whatif.run import program_of_run
from nodewise.workspace.store import Workspace

__all__ = ["run_whatif"]

FILLING_STAGES = frozenset({"score"})
"""Stages that their job cuts by the number of slots."""


def run_whatif(
    source: str, shapes: Sequence[ClusterShape], partitions: int | None, workspace: Workspace, progress: Progress
) -> WhatIfResult:
    """Replay what was recorded.

    Args:
        source: Path of a Spark event log, or the id of a run, of which the beginning will do.
        shapes: Clusters to replay it on; none: the recorded nodes, from one to four times as many.

    Raises:
        InputError: There is no such log or run, or it tells of no task; or a cluster cannot be.
    """
    if partitions is not None and not 1 <= partitions <= 10_000_000:
        raise InputError(f"{partitions} is no number of partitions")
    shapes = [_sized(shape) for shape in shapes or [ClusterShape()]]
    program = _program(source, workspace, progress)
    return replay_program(program, shapes, _cost_usd, source=source, partitions=partitions, progress=progress)


def _sized(shape: ClusterShape) -> ClusterShape:
    """The shape with the cores of its node type."""
    if shape.node_type is None:
        return shape
    vcpus = find_node_type(shape.node_type, where="the price table").vcpus
    return replace(shape, cores_per_node=shape.cores_per_node or max(1, int(vcpus)))


def _program(source: str, workspace: Workspace, progress: Progress) -> Program:
    if Path(source).exists():
        return program_of_log(Path(source), progress=progress)
    try:
        run = workspace.get_run(source)
    except UnknownNameError as error:
        raise InputError(
            f"{source!r} is neither a file, nor a run in workspace {workspace.root}",
            hint=error.hint or "give a Spark event log, or a run of `nodewise runs list`",
        ) from None
    if not run.status.is_finished:
        raise InputError(f"run {run.run_id} is going on", hint="replay it once it has ended")
    log = (run.result or {}).get("event_log_path")
    if log is not None and Path(log).exists():
        return program_of_log(Path(log), _nodes_of(run), progress)
    tasks = workspace.read_tasks(run.run_id)
    return program_of_run(run, tasks, gang_stages=GANG_STAGES, filling_stages=FILLING_STAGES)


def _nodes_of(run: RunRecord) -> NodeShape:
    cluster = run.cluster
    return NodeShape(
        nodes=cluster.nodes,
        cores_per_node=cluster.cores_per_node,
        node_type=cluster.node_type,
        network_bits_per_s=cluster.limits.network_bits_per_s,
    )


def _cost_usd(node_type: str | None, node_s: float) -> Decimal | None:
    try:
        price = price_cluster(ClusterSpec(engine="spark", node_type=node_type))
    except UnknownNameError:
        return None  # recorded elsewhere, on nodes that the price table does not have
    return None if price is None else cost_usd(price.usd_per_node_hour, node_s)
