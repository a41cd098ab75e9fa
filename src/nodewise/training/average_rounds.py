"""Strategy ``average``: what the workers and the averager agree on.

Training is cut into rounds; at the end of each, the weights of all workers become their mean. Worker and averager talk
through a key-value store (:class:`torch.distributed.TCPStore`) in the averager's process.
"""

from __future__ import annotations

import datetime
import os
import socket
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch.distributed as dist
from numpy.typing import NDArray

from nodewise.specs.job import Compression
from nodewise.training.flat import packed_type
from nodewise.training.plan import TrainPlan

__all__ = ["AveragePayload", "Milestone", "TensorStore", "milestones", "round_after", "round_ends"]

CHUNK_BYTES = 2**22
"""The store takes at most twice as much in one value."""
_OPERATION_TIMEOUT = datetime.timedelta(seconds=60)
_FOREVER = datetime.timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class AveragePayload:
    """What every worker is given: the training, and where the averager's store listens."""

    plan: TrainPlan
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Milestone:
    """Something that every worker tells the averager.

    Attributes:
        kind: ``round``: its weights at the round's end. ``epoch``: what the epoch came to.
        number: Of the round, from 0, or of the epoch, from 1.
        round: That it lies in.
        step: Steps done by then.
    """

    kind: Literal["round", "epoch"]
    number: int
    round: int
    step: int


def round_ends(plan: TrainPlan) -> list[int]:
    """The steps, counted from 1, after which weights are averaged: every ``average_every``, and the last one.

    If that is at least once per epoch, also the last step of each epoch, so that what is evaluated is the mean.
    """
    every = plan.spec.average_every or plan.num_steps
    ends = {*range(every, plan.num_steps, every), plan.num_steps}
    if every <= plan.steps_per_epoch:
        ends.update(range(plan.steps_per_epoch, plan.num_steps, plan.steps_per_epoch))
    return sorted(ends)


def round_after(ends: list[int], steps_done: int) -> int:
    """The round in which the next step lies; the number of rounds if none does."""
    return bisect_right(ends, steps_done)


def milestones(plan: TrainPlan) -> Iterator[Milestone]:
    """All of a training, in order. An epoch is over after the round that ends with it."""
    ends = round_ends(plan)
    for number, first in enumerate([0, *ends[:-1]]):
        for epoch in range(first // plan.steps_per_epoch + 1, (ends[number] - 1) // plan.steps_per_epoch + 1):
            yield Milestone("epoch", epoch, number, epoch * plan.steps_per_epoch)
        yield Milestone("round", number, number, ends[number])
        epoch, rest = divmod(ends[number], plan.steps_per_epoch)
        if not rest:
            yield Milestone("epoch", epoch, number, ends[number])


class TensorStore:
    """Small messages and long vectors by key. A vector is kept in pieces; nothing is kept that was taken.

    What one process puts arrives in its order, but some time after it was put: who has found a message finds also what
    was put before it. One thread at a time may use it.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    @classmethod
    def serve(cls, host: str) -> tuple[TensorStore, int]:
        """A store in this process that listens on this address and no other; and its port."""
        _be_quiet()
        listener = socket.create_server((host, 0))
        port: int = listener.getsockname()[1]
        store = dist.TCPStore(  # type: ignore[attr-defined]
            host, port, None, True, _OPERATION_TIMEOUT, wait_for_workers=False, master_listen_fd=listener.detach()
        )
        return cls(store), port

    @classmethod
    def connect(cls, host: str, port: int) -> TensorStore:
        """The store of another process."""
        _be_quiet()
        return cls(
            dist.TCPStore(  # type: ignore[attr-defined]
                host, port, None, False, _OPERATION_TIMEOUT, wait_for_workers=False
            )
        )

    def put(self, key: str, message: str) -> None:
        """Set a message, in place of an earlier one."""
        self._store.set(key, message)

    def look(self, key: str) -> str | None:
        """A message, which stays; None: there is none."""
        if not self._store.check([key]):
            return None
        message: bytes = self._store.get(key)
        return message.decode()

    def take(self, key: str) -> str | None:
        """A message, and remove it; None: there is none."""
        message = self.look(key)
        if message is not None:
            self._store.delete_key(key)
        return message

    def await_message(self, key: str) -> str:
        """Wait for a message, however long, and take it."""
        self._store.wait([key], _FOREVER)
        message: bytes = self._store.get(key)
        self._store.delete_key(key)
        return message.decode()

    def put_vector(self, key: str, vector: NDArray[Any]) -> None:
        data = np.ascontiguousarray(vector).view(np.uint8).data
        for piece, start in zip(_pieces(key, len(data)), range(0, len(data), CHUNK_BYTES), strict=True):
            self._store.set(piece, bytes(data[start : start + CHUNK_BYTES]))

    def vector(self, key: str, num_values: int, compression: Compression = "none") -> NDArray[Any] | None:
        """A vector, which stays; None: it is there no more."""
        kind = np.dtype(packed_type(compression))
        pieces = _pieces(key, num_values * kind.itemsize)
        if not self._store.check(pieces):
            return None
        try:
            return np.frombuffer(b"".join(map(self._store.get, pieces)), dtype=kind)
        except dist.DistStoreError:
            return None

    def remove_vector(self, key: str, num_values: int, compression: Compression = "none") -> None:
        """Remove a vector as far as it is there."""
        for piece in _pieces(key, num_values * np.dtype(packed_type(compression)).itemsize):
            self._store.delete_key(piece)

    def close(self) -> None:
        """End the connection; of the process that serves, the store. Nothing else may be called afterwards."""
        self._store = None

    @property
    def num_keys(self) -> int:
        count: int = self._store.num_keys()
        return count


def _pieces(key: str, num_bytes: int) -> list[str]:
    return [f"{key}/{number}" for number in range(-(-num_bytes // CHUNK_BYTES))]


def _be_quiet() -> None:
    # It would warn, on the user's terminal, that nobody knows a name for an emulated node's address.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
