"""Fits the tasks of a program to another cluster: its cores, its disks and network, its number of nodes and partitions.

For each part of a task's time, on nodes with s slots instead of r:

    compute    cpu_s / core speed
    fetch      fetch_s, in the ratio of the shares of a shuffle that come from other nodes, (n - 1) / n
    disk, net  the bytes over what a slot may use of its node's limit, limit / s, in place of bytes over
               recorded limit / r where that is known; where it is not, no less than the former
    the rest   as recorded

A gang's tasks share the same work among as many nodes as there are, and those of a stage that fills the slots among as
many slots. Driver and start-up take the time that they took.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from nodewise.whatif.program import Floats, Program, ProgramStage, SlotGroup, Tasks

__all__ = ["Cluster", "fit", "recut", "slots_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Equal nodes; ``core_speed`` is relative to a recorded core, limits are per node, None: no limit."""

    nodes: int
    slots_per_node: int
    core_speed: float = 1.0
    disk_bytes_per_s: float | None = None
    network_bits_per_s: float | None = None


def slots_of(program: Program, cluster: Cluster) -> tuple[SlotGroup, ...]:
    """The slots of a cluster whose nodes are all there from the start, and ready when the recorded ones were."""
    count = cluster.nodes * cluster.slots_per_node
    return (SlotGroup(count=count, paid_from_s=0.0, ready_s=program.ready_s, until_s=np.inf),)


def fit(program: Program, cluster: Cluster) -> Program:
    """The program with the tasks that it would have on this cluster."""
    return replace(program, stages=tuple(_fit_stage(stage, program, cluster) for stage in program.stages))


def _fit_stage(stage: ProgramStage, program: Program, cluster: Cluster) -> ProgramStage:
    tasks, per_node = stage.tasks, (program.slots_per_node, cluster.slots_per_node)
    num_slots = cluster.nodes * cluster.slots_per_node
    if stage.fills_slots and 0 < len(tasks) < num_slots:
        tasks = _cut(tasks, num_slots)
    if stage.is_gang and len(tasks):
        tasks, per_node = _share_among(tasks, cluster.nodes), (1, 1)
    network = cluster.network_bits_per_s
    recorded_network = program.network_bits_per_s
    remote = _remote_share(cluster.nodes)
    recorded_remote = _remote_share(program.nodes)
    # From one node to several nothing is known of what fetching from elsewhere takes, but for the bytes.
    more_remote = remote / recorded_remote if recorded_remote else 1.0
    disk = _Limit.of(cluster.disk_bytes_per_s, None, per_node)
    link = _Limit.of(_bytes(network), _bytes(recorded_network), per_node)
    fitted = replace(
        tasks,
        cpu_s=tasks.cpu_s / cluster.core_speed,
        read_s=disk.fit(tasks.read_s, tasks.read_bytes, tasks.read_bytes),
        write_s=disk.fit(tasks.write_s, tasks.write_bytes, tasks.write_bytes),
        fetch_s=link.fit(
            tasks.fetch_s, tasks.fetch_bytes * recorded_remote, tasks.fetch_bytes * remote, scale=more_remote
        ),
    )
    return replace(stage, tasks=fitted)


def _remote_share(nodes: int) -> float:
    """Of what tasks fetch from one another, when both are spread evenly."""
    return (nodes - 1) / nodes


def _bytes(bits: float | None) -> float | None:
    return None if bits is None else bits / 8


@dataclass(frozen=True, slots=True)
class _Limit:
    """Bytes per second that a slot may use, then and now; None: no limit, or none that is known."""

    now: float | None
    then: float | None

    @classmethod
    def of(cls, now: float | None, then: float | None, slots_per_node: tuple[int, int]) -> _Limit:
        before, after = slots_per_node
        return cls(None if now is None else now / after, None if then is None else then / before)

    def fit(self, part_s: Floats, bytes_then: Floats, bytes_now: Floats, *, scale: float = 1.0) -> Floats:
        """The part of the time under the limit of now; ``scale`` is for what no limit explains."""
        if self.then is not None:
            moved_s = np.minimum(part_s, bytes_then / self.then)
            now_s = bytes_now / self.now if self.now is not None else 0.0
            return (part_s - moved_s) * scale + now_s
        scaled_s = part_s * scale
        return scaled_s if self.now is None else np.maximum(scaled_s, bytes_now / self.now)


def _share_among(tasks: Tasks, nodes: int) -> Tasks:
    """The work of a gang on another number of nodes; what it waits and exchanges is each member's own."""
    before = len(tasks)
    if before == nodes:
        return tasks
    shared = ("cpu_s", "read_s", "write_s", "read_bytes", "write_bytes")
    # The slowest member's, since all wait for it.
    columns = {
        field.name: np.full(nodes, getattr(tasks, field.name).max() * (before / nodes if field.name in shared else 1.0))
        for field in fields(tasks)
        if field.name not in ("has_failed", "holds_stage")
    }
    return Tasks(**columns, has_failed=np.zeros(nodes, np.bool_), holds_stage=np.ones(nodes, np.bool_))


def recut(program: Program, partitions: int) -> Program:
    """The program with so many tasks in every stage that had more than one; a gang stays as it is.

    All work is kept, and so is how it is spread over the partitions: the tasks lie one after another on a line that is
    cut anew. What a task took beside its work (handing it out, starting it) each new one takes too.
    """
    return replace(program, stages=tuple(_recut_stage(stage, partitions) for stage in program.stages))


def _recut_stage(stage: ProgramStage, partitions: int) -> ProgramStage:
    if stage.is_gang or len(stage.tasks) in (0, 1, partitions):
        return stage
    return replace(stage, tasks=_cut(stage.tasks, partitions))


def _cut(tasks: Tasks, count: int) -> Tasks:
    """So many tasks with the same work in all; beside it each takes what the tasks took in the median."""
    places = np.arange(len(tasks) + 1)
    cuts = np.linspace(0, len(tasks), count + 1)
    columns: dict[str, Floats] = {}
    for name in ("cpu_s", "read_s", "fetch_s", "write_s", "read_bytes", "fetch_bytes", "write_bytes"):
        sums = np.concatenate([[0.0], np.cumsum(getattr(tasks, name))])
        columns[name] = np.diff(np.interp(cuts, places, sums))
    for name in ("wait_s", "other_s"):
        columns[name] = np.full(count, float(np.median(getattr(tasks, name))))
    return Tasks(**columns, has_failed=np.zeros(count, np.bool_), holds_stage=np.ones(count, np.bool_))
