"""Which slots there were, and for how long each task kept one waiting."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nodewise.whatif.program import Floats, SlotGroup
from nodewise.whatif.recording import CLOCK_S, RecordedPlace, Recording, places_of

__all__ = ["PlaceSlots", "cluster_shape", "occupy", "slot_groups"]


@dataclass(frozen=True, slots=True)
class PlaceSlots:
    """The slots of a place, by when each was there first."""

    place: RecordedPlace
    ready_s: tuple[float, ...]

    @property
    def cores(self) -> int:
        return len(self.ready_s) if self.place.slots is None else self.place.cores


def slot_groups(slots: Sequence[PlaceSlots], first_s: float) -> tuple[SlotGroup, ...]:
    """What was there before there was work is part of the cluster from its start."""
    return tuple(
        SlotGroup(
            count=count,
            paid_from_s=0.0 if ready_s <= first_s else ready_s,
            ready_s=ready_s,
            until_s=one.place.until_s,
        )
        for one in slots
        for ready_s, count in sorted(Counter(one.ready_s).items())
    )


def occupy(recording: Recording) -> tuple[Floats, list[PlaceSlots]]:
    """For how long a slot had been free for each task when it came, in the order of the recorded tasks; and the slots.

    A task took that free slot of its place which had become free last.
    """
    tasks = recording.tasks
    submitted_s = np.array([stage.submitted_s for stage in recording.stages], np.float64)[tasks.stage]
    gangs = np.array([stage.is_gang for stage in recording.stages], np.bool_)[tasks.stage]
    wait_s = np.zeros(len(tasks.started_s))
    slots = []
    for place, members in zip(recording.places, places_of(tasks.place, len(recording.places)), strict=True):
        ready_s = [place.from_s] * (place.slots or 0)
        free_s = list(ready_s)
        picked = members[np.argsort(tasks.started_s[members], kind="stable")]
        rows = zip(
            picked.tolist(),
            tasks.started_s[picked].tolist(),
            tasks.ended_s[picked].tolist(),
            submitted_s[picked].tolist(),
            gangs[picked].tolist(),
            strict=True,
        )
        for index, started_s, ended_s, possible_s, is_gang in rows:
            if is_gang:
                wait_s[index] = max(0.0, started_s - possible_s)
                free_s = [ended_s] * len(free_s)
                continue
            found = bisect_right(free_s, started_s + CLOCK_S) - 1
            if found >= 0:
                wait_s[index] = max(0.0, started_s - max(free_s.pop(found), possible_s))
            elif place.slots is None:
                ready_s.append(started_s)
            else:
                free_s.pop(0)
            insort(free_s, ended_s)
        slots.append(PlaceSlots(place, tuple(ready_s)))
    return wait_s, slots


def cluster_shape(nodes: int | None, cores_per_node: int | None, slots: Sequence[PlaceSlots]) -> tuple[int, int, int]:
    """Nodes, cores and slots per node of the cluster at its largest; a place counts for the node that it was on."""
    told = [one for one in slots if one.place.slots is not None] or slots
    if nodes is not None and cores_per_node is not None:
        per_core = sum(len(one.ready_s) for one in told) / sum(one.cores for one in told)
        return nodes, cores_per_node, max(1, round(cores_per_node * per_core))
    by_node: dict[str, list[PlaceSlots]] = {}
    for one in told:
        by_node.setdefault(one.place.node, []).append(one)
    spans = [[(min(one.ready_s), one.place.until_s, one) for one in group] for group in by_node.values()]
    cores = [_peak((since, until, one.cores) for since, until, one in group) for group in spans]
    counts = [_peak((since, until, len(one.ready_s)) for since, until, one in group) for group in spans]
    most = _peak((min(span[0] for span in group), max(span[1] for span in group), 1) for group in spans)
    return most, max(1, int(np.median(cores))), max(1, int(np.median(counts)))


def _peak(spans: Iterable[tuple[float, float, int]]) -> int:
    """The most at the same time, of spans with an amount each."""
    changes = [change for start, end, amount in spans for change in ((start, 1, amount), (end, 0, -amount))]
    level = highest = 0
    for _, _, amount in sorted(changes):
        level += amount
        highest = max(highest, level)
    return highest
