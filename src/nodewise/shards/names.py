"""How shards are named: split, index from 0, number of records: ``train-00007-230.tfrec``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from nodewise.specs.job import ShardFormat

__all__ = ["INDEX_SUFFIX", "TAR_SUFFIX", "ShardName", "index_path", "is_shard_file", "parse_shard_name", "shard_name"]

TAR_SUFFIX = ".tar"
_SUFFIXES: dict[ShardFormat, str] = {"tfrecord": ".tfrec", "webdataset": TAR_SUFFIX}
INDEX_SUFFIX = ".idx"
_SHARD_NAME = re.compile(r"(?P<prefix>[^/\\]+)-(?P<index>\d{5,})-(?P<records>\d+)\.(?:tfrec|tar)")


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
    return shard.with_name(shard.name + INDEX_SUFFIX)


def is_shard_file(name: str) -> bool:
    """Whether a file of this name is a shard or the index of one."""
    return parse_shard_name(name.removesuffix(INDEX_SUFFIX)) is not None
