"""Reader ``webdataset``, as its guide has it: decoded and batched in the worker processes of a loader."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import webdataset

from nodewise.readers.base import ReadBatch, ReaderOptions, ReadSource

__all__ = ["WebDatasetReader"]

_SUFFIXES = {"jpeg": "jpg", "png": "png", "raw": "npy"}


class WebDatasetReader:
    """Each worker process reads tar files of its own, hence no more work than there are files; a pass starts them."""

    def __init__(self, source: ReadSource, options: ReaderOptions) -> None:
        self._source = source
        self._workers = min(options.threads, len(source.files))

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        suffix = _SUFFIXES[str(self._source.encoding)]
        dataset = (
            webdataset.WebDataset([str(path) for path in self._source.paths], shardshuffle=False)
            .decode("rgb8")
            .to_tuple(suffix, "__key__")
            .batched(batch_size, partial=False)
        )
        return self._read(webdataset.WebLoader(dataset, batch_size=None, num_workers=self._workers), batch_count)

    @staticmethod
    def _read(loader: Any, batch_count: int) -> Generator[ReadBatch, None, None]:
        for number, (pixels, ids) in enumerate(loader, start=1):
            yield ReadBatch(pixels.numpy(), ids)
            if number == batch_count:
                return

    def close(self) -> None:
        """Nothing stays open between passes."""
