"""CPU time of nodes while a program ran there, and each task's share of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from nodewise.metering.cgroups import GroupCounters
from nodewise.specs.place import NodePlace
from nodewise.specs.run import TaskRecord

__all__ = ["NodeCpu"]


class NodeCpu:
    """The counters of the nodes' control groups, from its making on; nodes without one are not counted."""

    def __init__(self, places: Sequence[NodePlace]) -> None:
        self._before = _cpu_s(places)
        self._places = places

    def shared(self, tasks: Sequence[TaskRecord]) -> list[TaskRecord]:
        """The tasks, each with its share of what nobody's task is known to have used on its node so far.

        An engine that tells no CPU time, or that of its own thread only (Spark, whose Python workers are processes
        beside it), leaves most of it open. It goes to the tasks of the node in proportion to their wall time, so that
        a node's sum is right; single tasks are not told apart by it.
        """
        used_s = {name: now_s - self._before.get(name, now_s) for name, now_s in _cpu_s(self._places).items()}
        told_s: dict[str, float] = {}
        wall_s: dict[str, float] = {}
        for task in tasks:
            told_s[task.node] = told_s.get(task.node, 0.0) + task.cpu_s
            wall_s[task.node] = wall_s.get(task.node, 0.0) + task.wall_s

        def share_s(task: TaskRecord) -> float:
            open_s = max(0.0, used_s.get(task.node, 0.0) - told_s[task.node])
            return open_s * task.wall_s / wall_s[task.node] if wall_s[task.node] > 0 else 0.0

        return [replace(task, cpu_s=task.cpu_s + share_s(task)) for task in tasks]


def _cpu_s(places: Sequence[NodePlace]) -> dict[str, float]:
    """CPU seconds by node; a node that is gone is left out."""
    found = {}
    for place in places:
        with suppress(OSError):
            counters = GroupCounters(place.cgroup_dirs)
            try:
                cpu_s = counters.read().cpu_s
            finally:
                counters.close()
            if cpu_s is not None:
                found[place.name] = cpu_s
    return found
