"""Programs of a few tasks, whose schedules can be worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import numpy as np

from nodewise.whatif.program import Program, ProgramStage, SlotGroup, Tasks


def made_tasks(cpu_s: Sequence[float], **columns: Sequence[Any]) -> Tasks:
    """Tasks that compute for so long, with other columns as given; they all count, and hold their stage."""
    names = ("wait_s", "read_s", "fetch_s", "write_s", "other_s", "read_bytes", "fetch_bytes", "write_bytes")
    values = {name: np.array(columns.get(name, [0.0] * len(cpu_s)), np.float64) for name in names}
    return Tasks(
        cpu_s=np.array(cpu_s, np.float64),
        has_failed=np.array(columns.get("has_failed", [False] * len(cpu_s)), np.bool_),
        holds_stage=np.array(columns.get("holds_stage", [True] * len(cpu_s)), np.bool_),
        **values,
    )


def made_stage(
    tasks: Tasks | Sequence[float], waits_for: tuple[int, ...] = (), *, name: str = "a stage", **facts: Any
) -> ProgramStage:
    if not isinstance(tasks, Tasks):
        tasks = made_tasks(tasks)
    return ProgramStage(
        **{"name": name, "waits_for": waits_for, "gap_s": 0.0, "closing_s": 0.0, "priority": 0, "tasks": tasks, **facts}
    )


def made_slots(count: int, *, paid_from_s: float = 0.0, ready_s: float = 0.0, until_s: float = inf) -> SlotGroup:
    return SlotGroup(count=count, paid_from_s=paid_from_s, ready_s=ready_s, until_s=until_s)


def made_program(*stages: ProgramStage, slots: int = 2, nodes: int = 1, **facts: Any) -> Program:
    """A program that ran on so many slots, which are spread over the nodes; a core to each slot."""
    return Program(
        **{
            "name": "made",
            "stages": stages,
            "tail_s": 0.0,
            "measured_s": 10.0,
            "slots": (made_slots(slots),),
            "nodes": nodes,
            "cores_per_node": slots // nodes,
            "slots_per_node": slots // nodes,
            **facts,
        }
    )
