"""Worker processes of the engine ``local``: pools of loky whose processes are in their nodes' places."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor, Future
from typing import Any

from nodewise.engines.worker import exit_with_parent
from nodewise.isolation.places import enter
from nodewise.specs.place import NODE_VARIABLE, NodePlace

__all__ = ["enter_node", "new_pool", "worker_died"]

NO_LIMIT = "1e18"
"""Bytes. loky replaces a worker that has grown by 300 MB between tasks, as one does that loads a network; the new one
would find no node left to be on."""


def new_pool(slots: Sequence[NodePlace | None], threads: int = 1) -> Any:
    """A process for each slot, in its place; None: one that will be told later where to go.

    loky, not :mod:`concurrent.futures`: its workers need no ``if __name__ == "__main__"`` in the user's script and it
    takes functions that only cloudpickle can carry.
    """
    from loky import ProcessPoolExecutor
    from loky.backend import get_context

    queue = get_context("loky").SimpleQueue()
    for slot in slots:
        queue.put(slot)
    return ProcessPoolExecutor(
        max_workers=len(slots),
        initializer=_begin,
        initargs=(queue, os.getpid()),
        env={"OMP_NUM_THREADS": str(threads), "LOKY_MAX_MEMORY_LEAK_SIZE": NO_LIMIT},
    )


def _begin(slots: Any, parent: int) -> None:
    # Ctrl-C reaches the whole process group; the driver alone decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    exit_with_parent(parent)
    place = slots.get()
    if place is not None:
        enter_node(place)


def enter_node(place: NodePlace) -> None:
    """Make this process one of the node's."""
    os.environ[NODE_VARIABLE] = place.name
    enter(place)


def worker_died(future: Future[Any]) -> bool:
    """Whether a task ended because its process, or another one of its pool, died."""
    return isinstance(future.exception(), BrokenExecutor)
