"""Reader ``nodewise``: image files in threads, shards through :class:`~nodewise.shards.reader.ShardReader`."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import CorruptFileError
from nodewise.images.codecs import ImageError
from nodewise.readers.base import ReadBatch, ReaderOptions, ReadSource
from nodewise.readers.pixels import fill_batches, load_square
from nodewise.shards.reader import ShardReader

__all__ = ["OwnReader"]


class OwnReader:
    """Keeps its threads between passes."""

    def __init__(self, source: ReadSource, options: ReaderOptions) -> None:
        self._source = source
        self._threads = options.threads
        self._pool = ThreadPoolExecutor(options.threads)
        self._readers: dict[int, ShardReader] = {}

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        if self._source.kind == "images":
            return self._read_files(batch_size, batch_count)
        if batch_size not in self._readers:
            self._readers[batch_size] = ShardReader(
                self._source.folder, batch_size=batch_size, shuffle=False, threads=self._threads
            )
        return self._read_shards(self._readers[batch_size], batch_count)

    def _read_files(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        names, paths = self._source.files[: batch_size * batch_count], self._source.paths
        size = self._source.shape[0]

        def load(image: int, out: NDArray[np.uint8]) -> None:
            try:
                load_square(paths[image].read_bytes(), size, out)
            except ImageError as error:
                raise CorruptFileError(str(paths[image]), str(error)) from error

        batches = fill_batches(self._pool, self._threads, load, len(names), batch_size, self._source.shape)
        for number, pixels in enumerate(batches):
            yield ReadBatch(pixels, names[number * batch_size : (number + 1) * batch_size])

    @staticmethod
    def _read_shards(reader: ShardReader, batch_count: int) -> Generator[ReadBatch, None, None]:
        for number, batch in enumerate(reader, start=1):
            yield ReadBatch(batch.images, reader.keys(batch.records))
            if number == batch_count:
                return

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._pool.shutdown()
