"""What a member of a crew, workers that go on without one another, knows of itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CrewContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrewContext:
    """One member: rank ``rank`` of ``world_size``, with ``threads`` cores, on its node's address ``host``.

    ``attempt`` is 0, and one more each time that the member's process had died and another took its place.
    """

    rank: int
    world_size: int
    threads: int
    host: str
    attempt: int
