"""What a member of a gang, workers that talk to each other, knows of the others."""

from __future__ import annotations

from typing import Protocol

__all__ = ["GangContext"]


class GangContext(Protocol):
    """One member: rank ``rank`` of ``world_size``, with ``threads`` cores, reachable by the others at ``host``."""

    rank: int
    world_size: int
    threads: int
    host: str

    def all_gather(self, message: str) -> list[str]:
        """Every member's message, in order of rank. Blocks until all have called."""
