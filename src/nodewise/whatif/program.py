"""A program as the replay has it: stages that wait for one another, and the tasks of each."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bools", "Floats", "Program", "ProgramStage", "SlotGroup", "Tasks"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tasks:
    """The tasks of a stage in the order in which they were handed out; all arrays have shape (num_tasks,).

    Attributes:
        wait_s: In which a slot was free for the task and did not have it yet: the driver was handing it out.
        cpu_s, read_s, fetch_s, write_s: Parts of the time on the slot: computing, reading input, waiting for data of
            other tasks, writing.
        other_s: The rest of that time.
        read_bytes, fetch_bytes, write_bytes: That belong to these parts; 0 where they are not known.
        has_failed: Attempts that failed or were killed. They took their time on a slot.
        holds_stage: Whether the stage ends only after the task. Attempts that nobody waited for do not hold it.
    """

    wait_s: Floats
    cpu_s: Floats
    read_s: Floats
    fetch_s: Floats
    write_s: Floats
    other_s: Floats
    read_bytes: Floats
    fetch_bytes: Floats
    write_bytes: Floats
    has_failed: Bools
    holds_stage: Bools

    def __len__(self) -> int:
        return len(self.wait_s)

    @property
    def run_s(self) -> Floats:
        """Time on the slot, once the task is there."""
        return self.cpu_s + self.read_s + self.fetch_s + self.write_s + self.other_s

    @property
    def slot_s(self) -> Floats:
        """Time for which the task takes a slot."""
        return self.wait_s + self.run_s

    def pick(self, index: NDArray[np.int64]) -> Tasks:
        """The tasks at these places, in this order."""
        return Tasks(**{field.name: getattr(self, field.name)[index] for field in fields(self)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramStage:
    """A stage.

    Attributes:
        waits_for: Places of the stages that must have ended; all before its own.
        gap_s: From their end to its submission: the driver works.
        closing_s: From the end of the last task that holds it to its own end.
        priority: Of two stages that have tasks to hand out, the one with the lower number goes first.
        is_gang: All its tasks run at once, one on each node, and have the node to themselves.
        fills_slots: Its job cuts it into at least as many tasks as there are slots.
    """

    name: str
    waits_for: tuple[int, ...]
    gap_s: float
    closing_s: float
    priority: int
    tasks: Tasks
    is_gang: bool = False
    fills_slots: bool = False

    @property
    def shares_work(self) -> bool:
        """Whether more nodes mean less work for each task."""
        return self.is_gang or self.fills_slots


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotGroup:
    """Slots that come and go together, in seconds since the program's start.

    Attributes:
        paid_from_s: From when on they are part of the cluster.
        ready_s: From when on they take tasks.
        until_s: From when on they take no more; infinity: to the end.
    """

    count: int
    paid_from_s: float
    ready_s: float
    until_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What ran, without where it ran but for the facts to come back to.

    Attributes:
        stages: In the order of their submission.
        tail_s: From the end of the last stage to the end of the program.
        measured_s: From its start to its end.
        slots: Of the recorded cluster.
        nodes, cores_per_node, slots_per_node: Of the recorded cluster, at its largest.
        ready_s: When the first slots took tasks.
        network_bits_per_s: What a recorded node was held to; None: not known.
    """

    name: str
    stages: tuple[ProgramStage, ...]
    tail_s: float
    measured_s: float
    slots: tuple[SlotGroup, ...]
    nodes: int
    cores_per_node: int
    slots_per_node: int
    node_type: str | None = None
    network_bits_per_s: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def num_tasks(self) -> int:
        return sum(len(stage.tasks) for stage in self.stages)

    @property
    def ready_s(self) -> float:
        return min(group.ready_s for group in self.slots)

    @property
    def cores_per_slot(self) -> float:
        return self.cores_per_node / self.slots_per_node
