"""Reader ``torch``, as most training scripts have it: a map-style dataset with Pillow, and a DataLoader over it."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Subset

from nodewise.readers.base import ReadBatch, ReaderOptions, ReadSource
from nodewise.readers.pillow import decode_fitted, decode_stored
from nodewise.shards.examples import decode_example
from nodewise.shards.index import locate_records

__all__ = ["TorchReader"]

_HEADER_BYTES, _FOOTER_BYTES = 12, 4
"""Around the payload of a TFRecord frame: its length with checksum, and the checksum of the payload."""


class TorchReader:
    """As many worker processes as threads are allowed, started anew by every pass, as every epoch does."""

    def __init__(self, source: ReadSource, options: ReaderOptions) -> None:
        self._dataset: Any = _Files(source) if source.kind == "images" else _Records(source)
        self._workers = options.threads

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        wanted = range(min(batch_size * batch_count, len(self._dataset)))
        return self._read(DataLoader(Subset(self._dataset, wanted), batch_size, num_workers=self._workers))

    @staticmethod
    def _read(loader: Any) -> Generator[ReadBatch, None, None]:
        for pixels, ids in loader:
            yield ReadBatch(pixels.numpy(), ids)

    def close(self) -> None:
        del self._dataset


class _Files(Dataset[tuple[NDArray[np.uint8], str]]):
    def __init__(self, source: ReadSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source.files)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        name = self._source.files[index]
        return decode_fitted(self._source.folder / name, self._source.shape[0]), name


class _Records(Dataset[tuple[NDArray[np.uint8], str]]):
    """Records found by the index beside their shard."""

    def __init__(self, source: ReadSource) -> None:
        self._source = source
        self._places = [
            (path, int(offset), int(length)) for path in source.paths for offset, length in locate_records(path)
        ]
        self._open: dict[Path, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], str]:
        path, offset, length = self._places[index]
        if path not in self._open:
            self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        frame = os.pread(self._open[path], length, offset)
        example = decode_example(frame[_HEADER_BYTES:-_FOOTER_BYTES])
        return decode_stored(example.image, self._source), example.key
