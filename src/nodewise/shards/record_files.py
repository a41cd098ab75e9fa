"""The records of several shards in any order: read, checked, and their pixels put where they are wanted."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np
import simplejpeg  # type: ignore[import-untyped]
from numpy.typing import NDArray

from nodewise.core.errors import CorruptFileError
from nodewise.shards.examples import HEAD_BYTES, TAIL_BYTES, ImageSpan, decode_example, find_image
from nodewise.shards.index import locate_records
from nodewise.shards.names import TAR_SUFFIX
from nodewise.shards.records import PAYLOAD_START, PAYLOAD_STOP, check_frame
from nodewise.shards.tars import find_tar_image
from nodewise.specs.results import ShardInfo

__all__ = ["RecordFiles"]

_MAX_OPEN = 256  # files; a process may have 1024 open on most systems
_ENCODED, _RAW = 1, 2


class _Scratch(threading.local):
    """Memory of each thread for the bytes of one record and the pixels of one image."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self._bytes = np.empty(0, np.uint8)
        self.pixels = np.empty(shape, np.uint8)

    def bytes(self, length: int) -> NDArray[np.uint8]:
        """Memory for ``length`` bytes, valid until the next call."""
        if length > len(self._bytes):
            self._bytes = np.empty(length + length // 4, np.uint8)
        return self._bytes[:length]


class RecordFiles:
    """Images of one size in shards, numbered through all of them. Files are opened when they are first needed.

    A record is checked when it is read first. Where its image stands is remembered, and from then on its bytes alone
    are read: 32 bytes of memory for each record. Files are read, not mapped into memory: a file that becomes shorter
    while it is read is then an error and not the end of the process, and waiting for a slow disk does not hold up other
    threads. Safe to be used by several threads.

    Args:
        shape: Height, width and channels of every image.
        verify: Whether to compare the checksum of each record; tar files have none.
    """

    def __init__(self, folder: Path, shards: Sequence[ShardInfo], shape: tuple[int, int, int], *, verify: bool) -> None:
        self._folder, self._infos, self._shape, self._verify = folder, shards, shape, verify
        self._stops = list(accumulate(shard.records for shard in shards))
        self._scratch = _Scratch(shape)
        self._shards: dict[int, _Shard] = {}
        self._open: deque[_Shard] = deque()
        self._lock = threading.Lock()

    def load(self, number: int, out: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.uint8], int]:
        """Pixels and class number of a record.

        Args:
            out: Where the pixels go, shape (height, width, 3). Without it they lie in memory that is this thread's own
                and are valid until its next call.

        Raises:
            CorruptFileError: The record is damaged, or its image is of another size; with ``record`` and ``offset``.
        """
        index = bisect_right(self._stops, number)
        record = number - (self._stops[index - 1] if index else 0)
        shard = self._shards.get(index) or self._find_shard(index)
        file = shard.file or self._open_file(shard)
        target = self._scratch.pixels if out is None else out
        start, length, label, kind = shard.places[record].tolist()
        try:
            if kind == _RAW:
                _read(file, target.reshape(-1), start)
            elif kind == _ENCODED:
                data = self._scratch.bytes(length)
                _read(file, data, start)
                self._decode(data, None, target)
            else:
                label = self._load_first(shard, file, record, target)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise CorruptFileError(str(shard.path), reason, record=record, offset=shard.offset(record)) from error
        except ValueError as error:
            raise CorruptFileError(str(shard.path), str(error), record=record, offset=shard.offset(record)) from error
        return target, label

    def _load_first(self, shard: _Shard, file: _File, record: int, target: NDArray[np.uint8]) -> int:
        """Check a record, put its pixels to where they are wanted, and remember where they stand; its label."""
        offset, length = shard.spans[record].tolist()
        data = self._scratch.bytes(length)
        _read(file, data, offset)
        if shard.is_tar:
            span: ImageSpan | None = find_tar_image(data)
        else:
            if self._verify:
                check_frame(data)
            data, offset = data[PAYLOAD_START:PAYLOAD_STOP], offset + PAYLOAD_START
            span = find_image(data[:HEAD_BYTES].tobytes(), data[-TAIL_BYTES:].tobytes(), len(data))
        if span is None:
            # Written by someone else: the parts of an image need not even stand together.
            example = decode_example(data.tobytes())
            self._decode(np.frombuffer(example.image, np.uint8), example.shape, target)
            return example.label
        self._decode(data[span.start : span.stop], span.shape, target)
        kind = _ENCODED if span.shape is None else _RAW
        shard.places[record] = (offset + span.start, span.stop - span.start, span.label, kind)
        return span.label

    def _decode(self, image: NDArray[np.uint8], shape: tuple[int, int, int] | None, target: NDArray[np.uint8]) -> None:
        """Put the pixels of an image to where they are wanted."""
        if shape is None:
            try:
                # The fast transform is tf.data's default too.
                pixels = simplejpeg.decode_jpeg(image, colorspace="RGB", fastdct=True, buffer=target)
                if pixels.shape == self._shape:
                    return
            except ValueError:
                pixels = _decode_slowly(image.tobytes())
        else:
            pixels = image.reshape(shape)
        if pixels.shape != self._shape:
            height, width, _ = pixels.shape
            raise ValueError(f"an image of {width} x {height} among {self._shape[1]} x {self._shape[0]}")
        np.copyto(target, pixels)

    def _find_shard(self, index: int) -> _Shard:
        with self._lock:
            if index not in self._shards:
                self._shards[index] = _Shard(self._folder / self._infos[index].path, self._infos[index].records)
            return self._shards[index]

    def _open_file(self, shard: _Shard) -> _File:
        with self._lock:
            file = shard.file
            if file is None:
                file = shard.file = _File(shard.path)
                self._open.append(shard)
                if len(self._open) > _MAX_OPEN:
                    self._open.popleft().file = None
            return file


class _Shard:
    """Where the records of a shard stand, and its file while it is open."""

    def __init__(self, path: Path, records: int) -> None:
        self.path, self.is_tar = path, path.suffix == TAR_SUFFIX
        self.file: _File | None = None
        self.spans = locate_records(path)
        if len(self.spans) != records:
            raise CorruptFileError(str(path), f"it holds {len(self.spans)} records instead of {records}")
        # Offset in the file, length, label and kind of each image; of kind 0 as long as it was not read.
        self.places = np.zeros((records, 4), np.int64)

    def offset(self, record: int) -> int:
        return int(self.spans[record, 0])


class _File:
    """A file that is open for as long as anyone holds it."""

    def __init__(self, path: Path) -> None:
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise CorruptFileError(str(path), f"cannot be opened: {error.strerror}") from error

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _read(file: _File, into: NDArray[np.uint8], offset: int) -> None:
    if os.preadv(file.descriptor, [into.data], offset) != len(into):
        raise ValueError("the file ends within the record")


def _decode_slowly(image: bytes) -> NDArray[np.uint8]:
    """What libjpeg does not take without complaint. Few need it, and the libraries are slow to load."""
    from nodewise.images.codecs import decode_image

    return decode_image(image)
