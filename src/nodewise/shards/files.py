"""Files of labelled images: TFRecord files of ``tf.train.Example``, and tar files for WebDataset.

Beside each TFRecord file stands its index, ``train-00007-230.tfrec.idx``. Each file appears under its name
(:mod:`nodewise.shards.names`) only when it is whole.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.core.files import TEMP_PREFIX, disk_full_named
from nodewise.shards.examples import Example, ExampleError, decode_example, encode_example
from nodewise.shards.names import INDEX_SUFFIX, TAR_SUFFIX, index_path, parse_shard_name, shard_name
from nodewise.shards.records import FRAME_EXTRA_BYTES, frame_record, read_records
from nodewise.shards.tars import TAR_END, decode_tar_record, encode_tar_record, read_tar_records
from nodewise.specs.job import ShardFormat
from nodewise.specs.results import ShardInfo

__all__ = ["MAX_SHARDS_PER_INDEX", "read_shard", "remove_leftovers", "write_shards"]

MAX_SHARDS_PER_INDEX = 1000
"""How many shards a task may cut its records into."""

_BUFFER_BYTES = 1 << 20
"""The file system takes one long piece in less time than many short ones."""


def write_shards(
    folder: Path,
    prefix: str,
    index: int,
    examples: Iterable[Example],
    *,
    shard_format: ShardFormat = "tfrecord",
    max_bytes: int | None = None,
    before_commit: Callable[[], None] = lambda: None,
    owner: str = "",
) -> tuple[ShardInfo, ...]:
    """Write labelled images as one shard of this index, or none if there are none; ``prefix`` is the split.

    Each record gets the key ``<prefix>-<index>-<number within the shard>``, such as ``train-00007-000003``. A shard
    appears under its name, which tells how many records it has, only when it is whole, and all of them only when
    ``examples`` is used up. The same examples give the same bytes, so that a task which is tried again writes the same
    files over its first ones. Shards of this split and index that an earlier job left in the folder are removed.

    Args:
        max_bytes: Write as many shards as it takes so that none is longer, but for one that holds a single record. They
            are numbered ``1000 * index`` and on.
        before_commit: Is called directly before each file appears or an earlier one is removed, and may raise. Then no
            unfinished file is left; shards that stood under their names already stay.
        owner: Letters and digits that :func:`remove_leftovers` knows unfinished files of one writer by.

    Raises:
        DiskFullError: There is no space; no unfinished file is left.
        ExampleError: An image cannot be stored in this format.
        InputError: The records do not fit into :data:`MAX_SHARDS_PER_INDEX` shards.
    """
    first, most = (index, 1) if max_bytes is None else (index * MAX_SHARDS_PER_INDEX, MAX_SHARDS_PER_INDEX)
    parts: list[_Part] = []
    with disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for example in examples:
                if parts and parts[-1].append(example, max_bytes):
                    continue
                if len(parts) == most:
                    raise InputError(
                        f"{folder}: the records of one task need more than {most} shards of {max_bytes} bytes",
                        hint="allow more bytes in a shard, or make more tasks of fewer records",
                    )
                if parts:
                    parts[-1].finish()
                parts.append(_Part(folder, prefix, first + len(parts), shard_format, owner))
                parts[-1].append(example, None)
            if parts:
                parts[-1].finish()
            before_commit()
            # First: if the process ends in between, the task is repeated, whereas both shards would be read.
            _remove_others(folder, prefix, range(first, first + most), keep={part.name for part in parts})
            for part in parts:
                before_commit()
                part.commit()
        finally:
            for part in parts:
                part.discard()
    return tuple(part.info() for part in parts)


class _Part:
    """A shard that is being written, under a temporary name."""

    def __init__(self, folder: Path, prefix: str, index: int, shard_format: ShardFormat, owner: str) -> None:
        self._folder, self._prefix, self._index, self._format = folder, prefix, index, shard_format
        self._temporary = folder / f"{TEMP_PREFIX}{owner}{uuid.uuid4().hex[:12]}-{prefix}-{index:05d}"
        self._end = TAR_END if shard_format == "webdataset" else b""
        self._stream = self._temporary.open("wb", buffering=_BUFFER_BYTES)
        self._digest = hashlib.sha256()
        self._lengths: list[int] = []
        self._bytes = self._sent_bytes = 0

    @property
    def name(self) -> str:
        return shard_name(self._prefix, self._index, len(self._lengths), self._format)

    def append(self, example: Example, max_bytes: int | None) -> bool:
        """Write one record, unless the shard would become longer than ``max_bytes``; whether it was written."""
        keyed = example._replace(key=f"{self._prefix}-{self._index:05d}-{len(self._lengths):06d}")
        is_tar = self._format == "webdataset"
        record = encode_tar_record(keyed) if is_tar else frame_record(encode_example(keyed))
        if max_bytes is not None and self._bytes + len(record) + len(self._end) > max_bytes:
            return False
        self._write(record)
        self._lengths.append(len(record))
        return True

    def finish(self) -> None:
        """End the file and bring it to the disk; write its index."""
        self._write(self._end)
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self._stream.close()
        if self._format == "tfrecord":
            offsets = itertools.accumulate(self._lengths, initial=0)
            lines = [f"{offset} {length}\n" for offset, length in zip(offsets, self._lengths, strict=False)]
            # Not brought to the disk: a reader that finds it damaged does without.
            index_path(self._temporary).write_text("".join(lines))

    def commit(self) -> None:
        target = self._folder / self.name
        if self._format == "tfrecord":
            os.replace(index_path(self._temporary), index_path(target))
        os.replace(self._temporary, target)

    def discard(self) -> None:
        """Remove what was not committed."""
        try:
            self._stream.close()
        finally:
            self._temporary.unlink(missing_ok=True)
            index_path(self._temporary).unlink(missing_ok=True)

    def info(self) -> ShardInfo:
        return ShardInfo(
            path=self.name,
            split=self._prefix,
            records=len(self._lengths),
            bytes=self._bytes,
            sha256=self._digest.hexdigest(),
        )

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self._digest.update(data)
        self._bytes += len(data)
        if self._bytes - self._sent_bytes >= _BUFFER_BYTES:
            self._send()

    def _send(self) -> None:
        """Have what was written go to the disk while the next records are made, so that fsync waits a tenth as long."""
        self._stream.flush()
        if hasattr(os, "posix_fadvise"):
            # Of pages that are not on the disk yet, Linux starts the writing and keeps them.
            length = self._bytes - self._sent_bytes
            os.posix_fadvise(self._stream.fileno(), self._sent_bytes, length, os.POSIX_FADV_DONTNEED)
        self._sent_bytes = self._bytes


def _remove_others(folder: Path, prefix: str, indexes: range, *, keep: set[str]) -> None:
    for file_name in os.listdir(folder):
        if file_name.startswith(f"{prefix}-") and file_name.removesuffix(INDEX_SUFFIX) not in keep:
            name = parse_shard_name(file_name.removesuffix(INDEX_SUFFIX))
            if name is not None and name.prefix == prefix and name.index in indexes:
                (folder / file_name).unlink(missing_ok=True)


def remove_leftovers(folder: Path, owner: str = "") -> None:
    """Remove the unfinished files of tasks that were killed. To be called when no task writes into the folder.

    Args:
        owner: Whose tasks; else those of all.
    """
    for path in folder.glob(f"{TEMP_PREFIX}{owner}*"):
        path.unlink(missing_ok=True)


def read_shard(folder: Path, shard: ShardInfo | Path | str) -> Iterator[Example]:
    """Yield the records of a shard, named by its info or by its file in the folder.

    Raises:
        CorruptFileError: The file is missing, damaged, holds something else, or not as many records as it should; the
            error names file, record and the byte at which the record starts. Whole records before the damage were
            yielded.
    """
    name = shard.path if isinstance(shard, ShardInfo) else str(shard)
    path = folder / name
    parsed = parse_shard_name(path.name)
    expected = shard.records if isinstance(shard, ShardInfo) else parsed.records if parsed else None
    is_tar = path.suffix == TAR_SUFFIX
    decode, extra_bytes = (decode_tar_record, 0) if is_tar else (decode_example, FRAME_EXTRA_BYTES)
    records = offset = 0
    for data in read_tar_records(path) if is_tar else read_records(path):
        try:
            example = decode(data)
        except ExampleError as error:
            raise CorruptFileError(str(path), str(error), record=records, offset=offset) from error
        yield example
        records += 1
        offset += len(data) + extra_bytes
    if expected is not None and records != expected:
        raise CorruptFileError(str(path), f"it holds {records} records instead of {expected}")
