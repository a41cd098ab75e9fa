"""Who is there, among workers that go on without one another: whom to wait for, for how long, and who was lost.

What workers wait for each other with is called a place here: a round, or a step. Places are counted upwards. Time is
given by the caller, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from statistics import median

from nodewise.specs.training import LostWorker

__all__ = ["Roll"]

MIN_WAIT_S = 10.0
PATIENCE = 5.0
"""A worker is given up when it takes so many times as long as usual, or as the first one at this place."""
_HISTORY = 20


@dataclass(slots=True)
class _Member:
    attempt: int = -1
    entered: int | None = None
    since_s: float = 0.0
    loss: int | None = None


class Roll:
    """Keeps the roll; used from one thread.

    A worker *begins* with its process, *enters* at a place when it is ready, and *comes* to each place from there on.
    It is lost when another process begins as the same worker, or when it does not come in time: after
    :data:`PATIENCE` times what is usual, and not before :data:`MIN_WAIT_S`. While nobody has come to a place nobody is
    late for it.
    """

    def __init__(self, world_size: int) -> None:
        self._members = [_Member() for _ in range(world_size)]
        self._lost: list[LostWorker] = []
        self._came: set[int] = set()
        self._usual: deque[float] = deque(maxlen=_HISTORY)
        self._opened_s = self._first_after_s = 0.0

    @property
    def lost(self) -> tuple[LostWorker, ...]:
        return tuple(self._lost)

    def attempt(self, rank: int) -> int:
        """Which process of the worker is the newest known, from 0; -1: none has begun."""
        return self._members[rank].attempt

    def is_in(self, rank: int) -> bool:
        return self._members[rank].entered is not None

    def begins(self, rank: int, attempt: int, *, epoch: int, step: int) -> bool:
        """A worker's process has begun. If it is not the first one, those before it are lost.

        Returns:
            Whether this is news.
        """
        member = self._members[rank]
        if attempt <= member.attempt:
            return False
        if attempt > 0:
            self.misses(rank, epoch=epoch, step=step)
        member.attempt = attempt
        return True

    def misses(self, rank: int, *, epoch: int, step: int) -> None:
        """A worker is lost; nobody waits for it until it enters again."""
        member = self._members[rank]
        member.entered = None
        self._came.discard(rank)
        if member.loss is None:
            member.loss = len(self._lost)
            self._lost.append(LostWorker(rank=rank, epoch=epoch, step=step, came_back=False))

    def enters(self, rank: int, place: int, now_s: float) -> None:
        """A worker will come to this place and the following ones."""
        member = self._members[rank]
        member.entered, member.since_s = place, now_s
        if member.loss is not None:
            self._lost[member.loss] = replace(self._lost[member.loss], came_back=True)
            member.loss = None

    def opens(self, now_s: float) -> None:
        """The next place begins now; to the one before all have come that will."""
        if self._came:
            self._usual.append(now_s - self._opened_s)
        self._came.clear()
        self._opened_s = now_s

    def comes(self, rank: int, now_s: float) -> None:
        """A worker has come to the place that is open."""
        if not self._came:
            self._first_after_s = now_s - self._opened_s
        self._came.add(rank)

    @property
    def came(self) -> frozenset[int]:
        return frozenset(self._came)

    def awaited(self, place: int) -> set[int]:
        """Those who are to come to this place, or have come."""
        return {
            rank for rank, member in enumerate(self._members) if member.entered is not None and member.entered <= place
        }

    def is_complete(self, place: int) -> bool:
        """Whether everybody has come who is to, and there is anybody at all."""
        return bool(self._came) and self.awaited(place) <= self._came

    def late(self, place: int, now_s: float) -> set[int]:
        """Those who should have come by now."""
        if not self._came:
            return set()
        usual_s = median(self._usual) if self._usual else 0.0
        limit_s = max(MIN_WAIT_S, PATIENCE * max(usual_s, self._first_after_s))
        return {
            rank
            for rank in self.awaited(place) - self._came
            if now_s - max(self._opened_s, self._members[rank].since_s) > limit_s
        }
