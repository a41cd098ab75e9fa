"""Reader ``ray.data``: Ray's own readers, its batches as NumPy arrays. Ray is started for it on this machine."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Generator
from typing import Any

import ray
import ray.data

from nodewise.readers.base import ReadBatch, ReaderOptions, ReadSource
from nodewise.readers.pillow import decode_fitted, decode_stored

__all__ = ["RayReader"]

_SUFFIXES = {"jpeg": "jpg", "png": "png", "raw": "npy"}


class RayReader:
    """Starting Ray is part of opening the first of these readers; it ends with the process."""

    def __init__(self, source: ReadSource, options: ReaderOptions) -> None:
        if not ray.is_initialized():
            logging.getLogger("ray").setLevel(logging.ERROR)
            ray.init(
                address="local",  # also where a task of engine ray measures
                num_cpus=options.threads,
                include_dashboard=False,
                log_to_driver=False,
                _temp_dir=str(options.scratch),
            )
            ray.data.DataContext.get_current().enable_progress_bars = False
        self._source = source

    def batches(self, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        return self._read(self._dataset(batch_size * batch_count), batch_size, batch_count)

    @staticmethod
    def _read(dataset: Any, batch_size: int, batch_count: int) -> Generator[ReadBatch, None, None]:
        for number, batch in enumerate(dataset.iter_batches(batch_size=batch_size, batch_format="numpy"), start=1):
            yield ReadBatch(batch["pixels"], list(batch["id"]))
            if number == batch_count:
                return

    def _dataset(self, num_records: int) -> Any:
        source = self._source
        match source.kind:
            case "images":
                paths = [str(path) for path in source.paths[:num_records]]
                size, folder = source.shape[0], str(source.folder)
                files = ray.data.read_binary_files(paths, include_paths=True)
                return files.map(lambda row: _from_file(row, size, folder))
            case "tfrecord":
                records = ray.data.read_tfrecords([str(path) for path in source.paths])
                return records.limit(num_records).map(lambda row: _from_record(row, source))
            case "webdataset":
                suffix = _SUFFIXES[str(source.encoding)]
                samples = ray.data.read_webdataset([str(path) for path in source.paths])
                return samples.limit(num_records).map(lambda row: _from_sample(row, suffix))

    def close(self) -> None:
        """Ray goes on, for the readers of other sources."""


def _from_file(row: dict[str, Any], size: int, folder: str) -> dict[str, Any]:
    return {"pixels": decode_fitted(io.BytesIO(row["bytes"]), size), "id": os.path.relpath(row["path"], folder)}


def _from_record(row: dict[str, Any], source: ReadSource) -> dict[str, Any]:
    return {"pixels": decode_stored(row["image"], source), "id": row["key"]}


def _from_sample(row: dict[str, Any], suffix: str) -> dict[str, Any]:
    return {"pixels": row[suffix], "id": row["__key__"]}
