"""Shards of labelled images, and the manifest that says what is in them.

A folder of shards holds ``manifest.json`` and TFRecord files of ``tf.train.Example``, named after split, index and
number of records: ``train-00007-230.tfrec``. Both appear under their names only when they are whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.core.files import TEMP_PREFIX, write_atomic
from nodewise.data.examples import ExampleError, decode_example, encode_example
from nodewise.data.records import frame_record, read_records
from nodewise.specs.job import Split
from nodewise.specs.results import ShardInfo, SkippedImage

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_VERSION",
    "Manifest",
    "ShardName",
    "parse_shard_name",
    "read_manifest",
    "read_shard",
    "remove_leftovers",
    "shard_name",
    "split_shards",
    "write_manifest",
    "write_shard",
]

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 1

_SHARD_NAME = re.compile(r"(?P<prefix>[^/\\]+)-(?P<index>\d{5,})-(?P<records>\d+)\.tfrec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What is in a folder of shards.

    Attributes:
        version: Of the file's format.
        classes: Names in order of the class numbers.
        image: ``height``, ``width`` and ``channels`` of every image; None when images differ.
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


def shard_name(prefix: str, index: int, records: int) -> str:
    """The file name of a shard: ``train-00007-230.tfrec``."""
    return f"{prefix}-{index:05d}-{records}.tfrec"


def parse_shard_name(name: str) -> ShardName | None:
    """The parts of a shard's file name, or None if it is not one (also if it has folders in it)."""
    match = _SHARD_NAME.fullmatch(name)
    return ShardName(match["prefix"], int(match["index"]), int(match["records"])) if match else None


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


def write_shard(folder: Path, prefix: str, index: int, examples: Iterable[tuple[bytes, int]]) -> ShardInfo | None:
    """Write (image, label) pairs as one shard, whose name tells how many they are; ``prefix`` is the split.

    The file appears under its name only when it is whole; if ``examples`` raises, nothing is left. The same examples
    give the same bytes, so that a task which is tried again writes the same file over its first one. A shard of this
    split and index with another number of records, left by an earlier job in the folder, is removed. Without examples
    no file is made and None is returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{TEMP_PREFIX}{uuid.uuid4().hex[:12]}-{prefix}-{index:05d}"
    digest = hashlib.sha256()
    records = written = 0
    try:
        with temporary.open("wb") as stream:
            for image, label in examples:
                frame = frame_record(encode_example(image, label))
                stream.write(frame)
                digest.update(frame)
                written += len(frame)
                records += 1
            stream.flush()
            os.fsync(stream.fileno())
        name = shard_name(prefix, index, records) if records else None
        # First: if the process ends in between, the task is repeated, whereas two shards of one index would be read.
        _remove_others(folder, prefix, index, keep=name)
        if name is None:
            return None
        os.replace(temporary, folder / name)
    finally:
        temporary.unlink(missing_ok=True)
    return ShardInfo(path=name, split=prefix, records=records, bytes=written, sha256=digest.hexdigest())


def _remove_others(folder: Path, prefix: str, index: int, *, keep: str | None) -> None:
    for path in folder.iterdir():
        name = parse_shard_name(path.name)
        if name is not None and (name.prefix, name.index) == (prefix, index) and path.name != keep:
            path.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of tasks that were killed. To be called when no task writes into the folder."""
    for path in folder.glob(f"{TEMP_PREFIX}*"):
        path.unlink(missing_ok=True)


def read_shard(folder: Path, shard: ShardInfo | Path | str) -> Iterator[tuple[bytes, int]]:
    """Yield the (image, label) pairs of a shard, named by its info or by its file in the folder.

    Raises:
        CorruptFileError: The file is missing, damaged, holds something else, or not as many records as it should; the
            error names file and record. Whole records before the damage were yielded.
    """
    name = shard.path if isinstance(shard, ShardInfo) else str(shard)
    path = folder / name
    parsed = parse_shard_name(path.name)
    expected = shard.records if isinstance(shard, ShardInfo) else parsed.records if parsed else None
    records = 0
    for payload in read_records(path):
        try:
            example = decode_example(payload)
        except ExampleError as error:
            raise CorruptFileError(str(path), str(error), record=records) from error
        yield example
        records += 1
    if expected is not None and records != expected:
        raise CorruptFileError(str(path), f"it holds {records} records instead of {expected}")
