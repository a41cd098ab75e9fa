"""What is recorded of a program, whatever recorded it: stages, jobs, the places that tasks ran at, and the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from nodewise.whatif.program import Bools, Floats

__all__ = ["CLOCK_S", "RecordedJob", "RecordedPlace", "RecordedStage", "RecordedTasks", "Recording", "places_of"]

CLOCK_S = 1.5e-3
"""Times closer than this are the same: they were written in whole milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStage:
    """A stage; times are seconds since the program's start.

    Attributes:
        number, attempt: Tell it apart; ``parents`` are numbers of stages whose output it reads.
        job: Place of its job.
        ended_s: None: not recorded.
    """

    name: str
    number: int
    job: int
    submitted_s: float
    ended_s: float | None
    attempt: int = 0
    parents: tuple[int, ...] = ()
    is_gang: bool = False
    fills_slots: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedJob:
    """One action of the program, of one stage or several. ``ended_s`` is infinite if its end was not recorded."""

    started_s: float
    ended_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedPlace:
    """Slots on a node: an executor, or the node itself.

    Attributes:
        slots: None: not recorded; it had as many as ran tasks at once, each from its first task on.
        until_s: Infinite if it was there to the end.
    """

    name: str
    node: str
    cores: int = 1
    slots: int | None = None
    from_s: float = 0.0
    until_s: float = inf


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTasks:
    """Attempts at tasks, in any order; arrays of shape (num_tasks,). The parts of the time are as far as known.

    Attributes:
        stage, place: Places in :attr:`Recording.stages` and :attr:`Recording.places`.
        cpu_s: On any number of threads.
    """

    stage: np.ndarray
    place: np.ndarray
    started_s: Floats
    ended_s: Floats
    cpu_s: Floats
    read_s: Floats
    fetch_s: Floats
    write_s: Floats
    read_bytes: Floats
    fetch_bytes: Floats
    write_bytes: Floats
    has_failed: Bools


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was recorded of a program; times are seconds since its start.

    Attributes:
        nodes, cores_per_node: None: as the places tell.
    """

    name: str
    stages: Sequence[RecordedStage]
    jobs: Sequence[RecordedJob]
    places: Sequence[RecordedPlace]
    tasks: RecordedTasks
    measured_s: float
    nodes: int | None = None
    cores_per_node: int | None = None
    node_type: str | None = None
    network_bits_per_s: float | None = None
    notes: tuple[str, ...] = ()


def places_of(keys: np.ndarray, num_keys: int) -> list[np.ndarray]:
    """Where each key from 0 on stands, in order."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.searchsorted(keys[order], np.arange(1, num_keys)))
