"""Which shards a path stands for: a folder with a manifest, a folder without one, or a single file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.shards.examples import Example, decode_example
from nodewise.shards.manifest import MANIFEST_NAME, Manifest, read_manifest
from nodewise.shards.names import TAR_SUFFIX, parse_shard_name
from nodewise.shards.records import (
    FRAME_EXTRA_BYTES,
    MAX_RECORD_BYTES,
    PAYLOAD_START,
    PAYLOAD_STOP,
    check_frame,
    locate_frames,
)
from nodewise.shards.tars import decode_tar_record, locate_tar_records
from nodewise.specs.results import ShardInfo

__all__ = ["ShardFile", "ShardFiles", "find_shards", "holds_shards", "label_name"]

_SUFFIXES = (".tfrec", ".tfrecord", ".tfrecords", TAR_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFile:
    """A shard, whether it is there or not.

    Attributes:
        split: The prefix of its name; "" if it is not named like a shard.
        num_records: How many its name says that it holds; None if it does not say.
        info: What the manifest says of it; None without a manifest.
    """

    path: Path
    split: str
    num_records: int | None
    info: ShardInfo | None = None

    def locate(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each record in bytes; what it holds is not looked at.

        Raises:
            CorruptFileError: The file cannot be read, or is damaged between its records.
        """
        return (locate_tar_records if self._is_tar else locate_frames)(self.path)

    def read(self, stream: BinaryIO, offset: int, length: int) -> Example:
        """The labelled image at a place that :meth:`locate` names; ``stream`` is the open file.

        Raises:
            ValueError: A checksum is wrong, the record is no labelled image, or it is too long to be held.
        """
        if length > MAX_RECORD_BYTES + FRAME_EXTRA_BYTES:
            raise ValueError(f"the record is {length} bytes long; more than {MAX_RECORD_BYTES} are not read")
        stream.seek(offset)
        record = stream.read(length)
        if self._is_tar:
            return decode_tar_record(record)
        check_frame(record)
        return decode_example(record[PAYLOAD_START:PAYLOAD_STOP])

    @property
    def _is_tar(self) -> bool:
        return self.path.suffix == TAR_SUFFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFiles:
    """Shards that belong together.

    Attributes:
        folder: Where they are.
        files: In the manifest's order, else by name.
        manifest: None if there is none, or none that can be read.
        manifest_fault: Why it cannot be read.
        unlisted: Files that are named like shards and that the manifest does not know.
    """

    folder: Path
    files: tuple[ShardFile, ...]
    manifest: Manifest | None = None
    manifest_fault: CorruptFileError | None = None
    unlisted: tuple[Path, ...] = ()


def holds_shards(path: Path) -> bool:
    """Whether :func:`find_shards` would find any."""
    if path.is_dir():
        return (path / MANIFEST_NAME).exists() or any(parse_shard_name(entry.name) for entry in path.iterdir())
    return path.is_file() and path.suffix in _SUFFIXES


def find_shards(path: Path) -> ShardFiles:
    """The shards of a folder, or the one of a file with what the manifest beside it says of it. None is opened.

    Raises:
        SourceError: There is no such path, or it holds no shards.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    if not holds_shards(path):
        raise SourceError(
            f"{path}: no shards here",
            hint=f"name a folder of shards, as `nodewise prepare` writes it, or a file ({', '.join(_SUFFIXES)})",
        )
    folder = path if path.is_dir() else path.parent
    manifest = fault = None
    if (folder / MANIFEST_NAME).exists():
        try:
            manifest = read_manifest(folder)
        except CorruptFileError as error:
            fault = error
    known = {shard.path: shard for shard in manifest.shards} if manifest else {}
    if path.is_dir():
        present = sorted(entry.name for entry in folder.iterdir() if parse_shard_name(entry.name))
        names = list(known) if manifest else present
        unlisted = tuple(folder / name for name in present if manifest and name not in known)
    else:
        names, unlisted = [path.name], ()
        # A manifest that does not know the file says nothing of it.
        manifest = manifest if path.name in known else None
    return ShardFiles(
        folder=folder,
        files=tuple(_shard_file(folder / name, known.get(name)) for name in names),
        manifest=manifest,
        manifest_fault=fault,
        unlisted=unlisted,
    )


def label_name(label: int, manifest: Manifest | None) -> str:
    """The name of a class, or its number where there is no name for it."""
    if manifest is not None and 0 <= label < len(manifest.classes):
        return manifest.classes[label]
    return str(label)


def _shard_file(path: Path, info: ShardInfo | None) -> ShardFile:
    name = parse_shard_name(path.name)
    if name is None:
        return ShardFile(path=path, split="", num_records=None, info=info)
    return ShardFile(path=path, split=info.split if info else name.prefix, num_records=name.records, info=info)
