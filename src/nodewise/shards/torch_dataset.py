"""Shards as a PyTorch data set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from nodewise.core.errors import InputError
from nodewise.shards.reader import Batch, ReaderState, ShardReader

__all__ = ["ShardDataset"]


class ShardDataset(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches for ``DataLoader(dataset, batch_size=None)``: images of shape (n, 3, height, width), and labels.

    The images lie in memory as they were decoded, which PyTorch calls channels last. The records are shared among the
    ranks, and those of a rank among the loader's workers. Without workers the images are decoded by threads in the
    process that trains, which is the faster way: nothing is copied between processes.

    Each ``iter()`` is the next epoch until :meth:`set_epoch` is called. A loader with workers starts them anew for each
    epoch, so it has to be called before each, as with PyTorch's ``DistributedSampler``.

    Args:
        folder: Shards that ``prepare`` wrote, images of one size.
        rank, world_size: By default those of ``torch.distributed`` if it is initialised, else 0 and 1.
        threads: That decode, in each process: by default as many as there are cores, and one in a loader's worker.
        settings: Others of :class:`~nodewise.shards.reader.ShardReader`: ``split``, ``batch_size``, ``dtype``, ...

    Raises:
        NodewiseError: While iterating, as :class:`~nodewise.shards.reader.ShardReader` does.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        **settings: Any,
    ) -> None:
        if (rank is None) != (world_size is None):
            raise InputError("rank and world_size go together")
        self._folder, self._rank, self._world_size = folder, rank, world_size
        self._threads, self._settings = threads, settings
        # In shared memory, for workers that stay from epoch to epoch. Negative: none was set.
        self._epoch = torch.full((), -1, dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]
        self._state: ReaderState | None = None
        self._reader: ShardReader | None = None
        self._place: tuple[int, int] | None = None

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        reader, epoch = self._reader_of_process(), int(self._epoch)
        state, self._state = self._state, None
        if state is not None and epoch in (-1, state["epoch"]):
            reader.load_state_dict(state)
        elif epoch >= 0:
            reader.set_epoch(epoch)
        return map(_tensors, reader)

    def __getstate__(self) -> dict[str, Any]:
        # For workers that are spawned; each makes a reader of its own.
        return self.__dict__ | {"_reader": None, "_place": None}

    def set_epoch(self, epoch: int) -> None:
        """Every ``iter()`` from now on is this epoch, also in workers."""
        self._epoch.fill_(epoch)

    def state_dict(self) -> ReaderState:
        """Where the latest iteration of this process stands; see :class:`~nodewise.shards.reader.ReaderState`.

        For a loader without workers, and for torchdata's ``StatefulDataLoader``, which asks each of its workers.
        """
        return self._state or self._reader_of_process().state_dict()

    def load_state_dict(self, state: ReaderState) -> None:
        """The next ``iter()`` goes on where the state was taken, unless another epoch is set until then."""
        self._state = state

    def _reader_of_process(self) -> ShardReader:
        place = self._place_of_process()
        if self._reader is None or self._place != place:
            self._place = place
            self._reader = ShardReader(
                self._folder,
                rank=place[0],
                world_size=place[1],
                threads=1 if self._threads is None and get_worker_info() else self._threads,
                **self._settings,
            )
        return self._reader

    def _place_of_process(self) -> tuple[int, int]:
        """Rank and number of all the processes that share the records."""
        rank, world_size = self._rank, self._world_size
        if rank is None or world_size is None:
            group = torch.distributed
            is_in_group = group.is_available() and group.is_initialized()
            rank, world_size = (group.get_rank(), group.get_world_size()) if is_in_group else (0, 1)
        worker = get_worker_info()
        if worker is None:
            return rank, world_size
        return rank * worker.num_workers + worker.id, world_size * worker.num_workers


def _tensors(batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(batch.images).permute(0, 3, 1, 2), torch.from_numpy(batch.labels)
