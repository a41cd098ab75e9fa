"""The manifest that makes a folder of shards a data set: ``manifest.json``, which says what is in them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.core.files import write_atomic
from nodewise.shards.names import parse_shard_name
from nodewise.specs.job import ShardFormat, Split
from nodewise.specs.results import ShardInfo, SkippedImage

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_VERSION",
    "Manifest",
    "fingerprint_of",
    "read_manifest",
    "split_shards",
    "write_manifest",
]

MANIFEST_NAME = "manifest.json"
MANIFEST_VERSION = 2


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


def fingerprint_of(manifest: Manifest) -> str:
    """Of the data set: the same for the same images, settings and seed."""
    digests = "".join(shard.sha256 for shard in manifest.shards)
    return hashlib.sha256(digests.encode()).hexdigest()[:16]


def split_shards(manifest: Manifest, split: Literal["train", "test", "all"]) -> tuple[ShardInfo, ...]:
    """The shards of one split, or of all, in the manifest's order."""
    return tuple(shard for shard in manifest.shards if split in ("all", shard.split))
