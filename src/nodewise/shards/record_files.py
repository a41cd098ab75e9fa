"""The records of several shards in any order: read, checked, and their pixels put where they are wanted."""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
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
from nodewise.shards.records import FRAME_EXTRA_BYTES, PAYLOAD_START, PAYLOAD_STOP, check_frame
from nodewise.shards.tars import find_tar_image
from nodewise.specs.results import ShardInfo

__all__ = ["RecordFiles"]

_MAX_OPEN = 256  # files; a process may have 1024 open on most systems


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

    Files are read, not mapped into memory: a file that becomes shorter while it is read is then an error and not the
    end of the process, and waiting for a slow disk does not hold up other threads. Safe to be used by several threads.

    Args:
        shape: Height, width and channels of every image.
        verify: Whether to compare the checksum of each record; tar files have none.
    """

    def __init__(self, folder: Path, shards: Sequence[ShardInfo], shape: tuple[int, int, int], *, verify: bool) -> None:
        self._folder, self._shards, self._shape, self._verify = folder, shards, shape, verify
        self._stops = list(accumulate(shard.records for shard in shards))
        self._scratch = _Scratch(shape)
        self._open: dict[int, _OpenShard] = {}
        self._lock = threading.Lock()

    def load(self, number: int, out: NDArray[np.uint8] | None = None) -> tuple[NDArray[np.uint8], int]:
        """Pixels and class number of a record.

        Args:
            out: Where the pixels go, shape (height, width, 3). Without it they lie in memory that is this thread's own
                and are valid until its next call.

        Raises:
            CorruptFileError: The record is damaged, or its image is of another size; with ``record`` and ``offset``.
        """
        shard = bisect_right(self._stops, number)
        record = number - (self._stops[shard - 1] if shard else 0)
        opened = self._open.get(shard) or self._open_shard(shard)
        offset, length = opened.spans[record].tolist()
        target = self._scratch.pixels if out is None else out
        try:
            if opened.raw_start:
                label = self._read_raw(opened, offset, length, target)
                if label is not None:
                    return target, label
            data, span = self._read(opened, offset, length)
            self._decode(data[span.start : span.stop], span.shape, target)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            raise CorruptFileError(str(opened.path), reason, record=record, offset=offset) from error
        except ValueError as error:
            raise CorruptFileError(str(opened.path), str(error), record=record, offset=offset) from error
        return target, span.label

    def _read(self, opened: _OpenShard, offset: int, length: int) -> tuple[NDArray[np.uint8], ImageSpan]:
        """Bytes that hold the image of a record, and where."""
        data = self._scratch.bytes(length)
        if os.preadv(opened.descriptor, [data.data], offset) != length:
            raise ValueError("the file ends within the record")
        if opened.is_tar:
            return data, find_tar_image(data)
        if self._verify:
            check_frame(data)
        payload = data[PAYLOAD_START:PAYLOAD_STOP]
        span = find_image(payload[:HEAD_BYTES].tobytes(), payload[-TAIL_BYTES:].tobytes(), len(payload))
        if span is None:
            # Written by someone else: the parts of an image need not even stand together.
            example = decode_example(payload.tobytes())
            whole = ImageSpan(0, len(example.image), example.label, example.shape)
            return np.frombuffer(example.image, np.uint8), whole
        if span.shape == self._shape:
            opened.raw_start = PAYLOAD_START + span.start
        return payload, span

    def _read_raw(self, opened: _OpenShard, offset: int, length: int, target: NDArray[np.uint8]) -> int | None:
        """Read raw pixels to where they are wanted, without a copy in between; their label.

        None if they do not begin where those of the record before did: then ``target`` holds something else.
        """
        head_bytes, row = opened.raw_start, target.reshape(-1)
        around = self._scratch.bytes(max(length - row.size, head_bytes))
        head_room, tail_room = around[:head_bytes], around[head_bytes:]
        if os.preadv(opened.descriptor, [head_room.data, row.data, tail_room.data], offset) != length:
            return None
        head, tail = head_room.tobytes(), tail_room.tobytes()
        span = find_image(head[PAYLOAD_START:], tail[:PAYLOAD_STOP], length - FRAME_EXTRA_BYTES)
        if span is None or span.shape != self._shape or PAYLOAD_START + span.start != head_bytes:
            return None
        if self._verify:
            check_frame(head, row, tail)
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

    def _open_shard(self, shard: int) -> _OpenShard:
        with self._lock:
            opened = self._open.get(shard)
            if opened is None:
                opened = _OpenShard(self._folder / self._shards[shard].path, self._shards[shard].records)
                if len(self._open) >= _MAX_OPEN:
                    del self._open[next(iter(self._open))]
                self._open[shard] = opened
            return opened


class _OpenShard:
    """A shard that is open for as long as a thread holds it."""

    def __init__(self, path: Path, records: int) -> None:
        self.path, self.is_tar = path, path.suffix == TAR_SUFFIX
        self.raw_start = 0  # where the pixels of a frame begin, once one was read
        self.spans = locate_records(path)
        if len(self.spans) != records:
            raise CorruptFileError(str(path), f"it holds {len(self.spans)} records instead of {records}")
        try:
            self.descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise CorruptFileError(str(path), f"cannot be opened: {error.strerror}") from error

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


def _decode_slowly(image: bytes) -> NDArray[np.uint8]:
    """What libjpeg does not take without complaint. Few need it, and the libraries are slow to load."""
    from nodewise.images.codecs import decode_image

    return decode_image(image)
