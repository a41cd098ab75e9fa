"""Replays a program on the cluster that it had and on others, and says what each comes to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from math import hypot, log2

import numpy as np

from nodewise.core.progress import SILENT, Progress
from nodewise.specs.whatif import ClusterShape, WhatIfPoint, WhatIfResult
from nodewise.whatif.account import account
from nodewise.whatif.critical import critical_path
from nodewise.whatif.program import Program
from nodewise.whatif.shape import Cluster, fit, recut, slots_of
from nodewise.whatif.simulate import simulate

__all__ = ["CostFunction", "node_counts", "replay_program"]

CostFunction = Callable[[str | None, float], Decimal | None]
"""US dollars of a node type for so many seconds of one node; None where no price is known."""

POINTS = 16
"""Of a curve; a longer range is gone through in steps of the same ratio."""
REPLICATES = 20
LEAST_REPLICATES = 5
"""Fewer do not tell the spread."""
MAX_RESAMPLED_TASKS = 4_000_000
"""In all replays of resampled tasks together; more would take longer than a person waits."""
NOISE = 0.03
"""Taken for the share by which equal runs differ, one standard deviation; a single run does not tell."""
ERROR_PER_DOUBLING = 0.05
"""Taken for the replay's error with each doubling (or halving) of the slots from those that were recorded."""
EXTRAPOLATED_FROM = 4.0
_Z90 = 1.645


def replay_program(
    program: Program,
    shapes: Sequence[ClusterShape],
    cost_usd: CostFunction,
    *,
    source: str,
    partitions: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> WhatIfResult:
    """The program on its own cluster, on every cluster of the shapes, and with infinitely many nodes.

    Args:
        shapes: What they leave open is as recorded.
        source: Where the program comes from, for the result.
        partitions: Number of tasks in every stage of several; None: as recorded.
        seed: Of the resampling that intervals come from.
    """
    recorded = simulate(program, program.slots)
    hours = account(program, program.slots, recorded)
    error = abs(recorded.end_s - program.measured_s) / program.measured_s if program.measured_s > 0 else 0.0
    asked = program if partitions is None else recut(program, partitions)
    shapes = tuple(_filled(shape, program) for shape in shapes)
    clusters = [
        (number, shape, nodes)
        for number, shape in enumerate(shapes)
        for nodes in node_counts(shape.min_nodes or 1, shape.max_nodes or 1)
    ]
    replicates = min(REPLICATES, MAX_RESAMPLED_TASKS // max(1, asked.num_tasks * len(clusters)))
    replicates = replicates if replicates >= LEAST_REPLICATES else 0
    notes = [*program.notes, *_notes(program, replicates)]
    resampled = [_resampled(asked, np.random.default_rng([seed, number])) for number in range(replicates)]
    progress.stage("replay", len(clusters))
    curve = []
    for number, shape, nodes in clusters:
        curve.append(_point(asked, resampled, number, shape, nodes, error, cost_usd))
        progress.advance()
    progress.done()
    critical_s, chain = critical_path(asked)
    return WhatIfResult(
        source=source,
        name=program.name,
        measured_s=program.measured_s,
        replayed_s=recorded.end_s,
        curve=tuple(curve),
        critical_path_s=critical_s,
        critical_path=chain,
        wasted_core_hours=hours.wasted,
        useful_core_hours=hours.useful,
        core_hours=hours.total,
        recorded_nodes=program.nodes,
        recorded_cores_per_node=program.cores_per_node,
        recorded_slots=program.nodes * program.slots_per_node,
        recorded_node_type=program.node_type,
        clusters=shapes,
        stages=len(program.stages),
        tasks=program.num_tasks,
        partitions=partitions,
        notes=tuple(notes),
    )


def node_counts(first: int, last: int) -> list[int]:
    """Every count from the first to the last; of more than 16 so many, in steps of about the same ratio."""
    if last - first < POINTS:
        return list(range(first, last + 1))
    return sorted({round(count) for count in np.geomspace(first, last, POINTS).tolist()})


def _filled(shape: ClusterShape, program: Program) -> ClusterShape:
    is_open = shape.min_nodes is None
    return replace(
        shape,
        min_nodes=1 if is_open else shape.min_nodes,
        max_nodes=4 * program.nodes if is_open else shape.max_nodes,
        cores_per_node=shape.cores_per_node or program.cores_per_node,
        node_type=shape.node_type or program.node_type,
    )


def _point(
    program: Program,
    resampled: Sequence[Program],
    number: int,
    shape: ClusterShape,
    nodes: int,
    error: float,
    cost_usd: CostFunction,
) -> WhatIfPoint:
    cores = shape.cores_per_node or program.cores_per_node
    cluster = Cluster(
        nodes=nodes,
        slots_per_node=max(1, int(cores / program.cores_per_slot)),
        core_speed=shape.core_speed,
        disk_bytes_per_s=shape.disk_bytes_per_s,
        network_bits_per_s=shape.network_bits_per_s or program.network_bits_per_s,
    )
    slots = slots_of(program, cluster)
    fitted = fit(program, cluster)
    schedule = simulate(fitted, slots)
    hours = account(fitted, slots, schedule)
    ends_s = [simulate(fit(one, cluster), slots).end_s for one in resampled]
    num_slots = nodes * cluster.slots_per_node
    stretch = num_slots / (program.nodes * program.slots_per_node)
    low_s, high_s = _interval(schedule.end_s, ends_s, hypot(error, NOISE, ERROR_PER_DOUBLING * log2(stretch)))
    usd = cost_usd(shape.node_type, nodes * schedule.end_s)
    is_near = 1 / EXTRAPOLATED_FROM <= stretch <= EXTRAPOLATED_FROM
    return WhatIfPoint(
        nodes=nodes,
        slots=num_slots,
        predicted_s=schedule.end_s,
        low_s=low_s,
        high_s=high_s,
        cost_usd=None if usd is None else float(usd),
        utilisation=hours.useful / hours.total if hours.total > 0 else 0.0,
        basis="predicted" if is_near else "extrapolated",
        core_hours=hours.total,
        useful_core_hours=hours.useful,
        wasted=hours.wasted,
        cores_per_node=cores,
        node_type=shape.node_type,
        cluster=number,
    )


def _interval(predicted_s: float, ends_s: Sequence[float], error: float) -> tuple[float, float]:
    """90 % interval: the spread of the resampled replays and the model's error, as independent of one another."""
    spread = float(np.std(ends_s)) / predicted_s if len(ends_s) and predicted_s > 0 else 0.0
    factor = np.exp(_Z90 * hypot(spread, error))
    return float(predicted_s / factor), float(predicted_s * factor)


def _resampled(program: Program, generator: np.random.Generator) -> Program:
    """The program with as many tasks in every stage, drawn from its own with replacement."""
    stages = []
    for stage in program.stages:
        count = len(stage.tasks)
        stages.append(replace(stage, tasks=stage.tasks.pick(generator.integers(0, max(1, count), count))))
    return replace(program, stages=tuple(stages))


def _notes(program: Program, replicates: int) -> list[str]:
    notes = []
    if replicates == 0:
        notes.append("so many tasks are not resampled: the intervals have the replay's own error alone")
    if any(stage.is_gang for stage in program.stages) and program.nodes == 1:
        notes.append("the training ran on one node, which does not tell what exchanging gradients between nodes takes")
    return notes
