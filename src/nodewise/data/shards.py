"""Shards of labelled images, and the manifest that says what is in them.

A folder of shards holds ``manifest.json`` and TFRecord files of ``tf.train.Example``, named after split, index and
number of records: ``train-00007-230.tfrec``, with an index ``train-00007-230.tfrec.idx`` beside it; or tar files for
WebDataset, ``train-00007-230.tar``. Each appears under its name only when it is whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import re
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nodewise.core.errors import CorruptFileError, InputError, SourceError
from nodewise.core.files import TEMP_PREFIX, disk_full_named, write_atomic
from nodewise.data.examples import Example, ExampleError, decode_example, encode_example
from nodewise.data.records import FRAME_EXTRA_BYTES, frame_record, read_records
from nodewise.data.tars import TAR_END, decode_tar_record, encode_tar_record, read_tar_records
from nodewise.specs.job import ShardFormat, Split
from nodewise.specs.results import ShardInfo, SkippedImage

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_VERSION",
    "MAX_SHARDS_PER_INDEX",
    "TAR_SUFFIX",
    "Manifest",
    "ShardName",
    "index_path",
    "is_shard_file",
    "parse_shard_name",
    "read_manifest",
    "read_shard",
    "remove_leftovers",
    "shard_name",
    "split_shards",
    "write_manifest",
    "write_shards",
]

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 2
MAX_SHARDS_PER_INDEX = 1000
"""How many shards a task may cut its records into."""

TAR_SUFFIX = ".tar"
_SUFFIXES: dict[ShardFormat, str] = {"tfrecord": ".tfrec", "webdataset": TAR_SUFFIX}
_INDEX_SUFFIX = ".idx"
_SHARD_NAME = re.compile(r"(?P<prefix>[^/\\]+)-(?P<index>\d{5,})-(?P<records>\d+)\.(?:tfrec|tar)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a folder of shards.

    Attributes:
        version: Of the file's format.
        classes: Names in order of the class numbers.
        image: ``height``, ``width`` and ``channels`` of every image; None when images differ.
        shard_format: ``tfrecord`` or ``webdataset``.
        encoding: What the images are stored as: ``jpeg``, ``png``, ``webp``, ``raw``; ``unchanged``: as each was.
            Version 1 of the file does not tell.
        transform: What was done to each image, as settings.
        counts: Records by split and class name.
        shards: In order of split and index.
        skipped: Images that could not be decoded.
        source: What the images were read from, for people.
        seed, sample, test_fraction: How they were chosen.
    """

    version: int = MANIFEST_VERSION
    classes: tuple[str, ...]
    image: dict[str, int] | None
    shard_format: ShardFormat = "tfrecord"
    encoding: str = "jpeg"
    transform: dict[str, Any]
    counts: dict[Split, dict[str, int]]
    shards: tuple[ShardInfo, ...]
    skipped: tuple[SkippedImage, ...] = ()
    source: str = ""
    seed: int = 0
    sample: float = 1.0
    test_fraction: float = 0.0


@dataclass(frozen=True, slots=True)
class ShardName:
    """The parts of a shard's file name."""

    prefix: str
    index: int
    records: int


def shard_name(prefix: str, index: int, records: int, shard_format: ShardFormat = "tfrecord") -> str:
    """The file name of a shard: ``train-00007-230.tfrec``."""
    return f"{prefix}-{index:05d}-{records}{_SUFFIXES[shard_format]}"


def parse_shard_name(name: str) -> ShardName | None:
    """The parts of a shard's file name, or None if it is not one (also if it has folders in it)."""
    match = _SHARD_NAME.fullmatch(name)
    return ShardName(match["prefix"], int(match["index"]), int(match["records"])) if match else None


def index_path(shard: Path) -> Path:
    """The file beside a TFRecord shard that says where its records begin."""
    return shard.with_name(shard.name + _INDEX_SUFFIX)


def is_shard_file(name: str) -> bool:
    """Whether a file of this name is a shard or the index of one."""
    return parse_shard_name(name.removesuffix(_INDEX_SUFFIX)) is not None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json`` in one step, over the one that may be there."""
    content = json.dumps(dataclasses.asdict(manifest), indent=2, ensure_ascii=False)
    write_atomic(folder / MANIFEST_NAME, content + "\n")


def read_manifest(folder: Path) -> Manifest:
    """Read ``manifest.json`` and check that it agrees with itself. The shards are not looked at.

    Raises:
        SourceError: There is no manifest in the folder.
        CorruptFileError: It is damaged, of a newer version, or its counts and shards contradict each other.
    """
    from pydantic import TypeAdapter, ValidationError

    path = folder / MANIFEST_NAME
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SourceError(
            f"{folder}: not a folder of shards: there is no {MANIFEST_NAME}",
            hint="make the shards with `nodewise prepare SOURCE DEST`, and name DEST here",
        ) from error
    try:
        raw = json.loads(content)
    except ValueError as error:
        raise CorruptFileError(str(path), f"not JSON: {error}") from error
    version = raw.get("version") if isinstance(raw, dict) else None
    if isinstance(version, int) and version > MANIFEST_VERSION:
        raise CorruptFileError(
            str(path),
            f"written by a newer nodewise (version {version} of the file; this one reads {MANIFEST_VERSION})",
            hint="update nodewise, or prepare the images again",
        )
    try:
        manifest = TypeAdapter(Manifest).validate_json(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise CorruptFileError(str(path), f"{place}: {first['msg']}") from error
    _check_manifest(path, manifest)
    return manifest


def _check_manifest(path: Path, manifest: Manifest) -> None:
    in_shards: Counter[str] = Counter()
    for shard in manifest.shards:
        # A name with folders in it could lead the reader anywhere.
        name = parse_shard_name(shard.path)
        if name is None or name.records != shard.records:
            raise CorruptFileError(str(path), f"{shard.path!r} is not the name of a shard with {shard.records} records")
        in_shards[shard.split] += shard.records
    counted = Counter({str(split): sum(by_class.values()) for split, by_class in manifest.counts.items()})
    for split in sorted(in_shards.keys() | counted.keys()):
        if in_shards[split] != counted[split]:
            raise CorruptFileError(
                str(path), f"the shards of {split!r} hold {in_shards[split]} records, its counts say {counted[split]}"
            )


def split_shards(manifest: Manifest, split: Literal["train", "test", "all"]) -> tuple[ShardInfo, ...]:
    """The shards of one split, or of all, in the manifest's order."""
    return tuple(shard for shard in manifest.shards if split in ("all", shard.split))


def write_shards(
    folder: Path,
    prefix: str,
    index: int,
    examples: Iterable[Example],
    *,
    shard_format: ShardFormat = "tfrecord",
    max_bytes: int | None = None,
    before_commit: Callable[[], None] = lambda: None,
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
                parts.append(_Part(folder, prefix, first + len(parts), shard_format))
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

    def __init__(self, folder: Path, prefix: str, index: int, shard_format: ShardFormat) -> None:
        self._folder, self._prefix, self._index, self._format = folder, prefix, index, shard_format
        self._temporary = folder / f"{TEMP_PREFIX}{uuid.uuid4().hex[:12]}-{prefix}-{index:05d}"
        self._end = TAR_END if shard_format == "webdataset" else b""
        self._stream = self._temporary.open("wb")
        self._digest = hashlib.sha256()
        self._lengths: list[int] = []
        self._bytes = 0

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


def _remove_others(folder: Path, prefix: str, indexes: range, *, keep: set[str]) -> None:
    for file_name in os.listdir(folder):
        if file_name.startswith(f"{prefix}-") and file_name.removesuffix(_INDEX_SUFFIX) not in keep:
            name = parse_shard_name(file_name.removesuffix(_INDEX_SUFFIX))
            if name is not None and name.prefix == prefix and name.index in indexes:
                (folder / file_name).unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of tasks that were killed. To be called when no task writes into the folder."""
    for path in folder.glob(f"{TEMP_PREFIX}*"):
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
