"""Finds out what the folders hold that a speed test is to read, and where in their files the records are."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodewise.core.errors import CorruptFileError, SourceError
from nodewise.data.pagecache import Extent
from nodewise.data.sources import open_source
from nodewise.images.codecs import decode_image
from nodewise.readers.base import ReadSource
from nodewise.readers.pixels import load_square
from nodewise.shards.examples import Example
from nodewise.shards.files import read_shard
from nodewise.shards.index import locate_records
from nodewise.shards.manifest import MANIFEST_NAME, read_manifest, split_shards
from nodewise.shards.names import parse_shard_name

__all__ = ["RecordPlaces", "open_read_sources"]


def open_read_sources(folders: Sequence[Path], *, size: int, max_records: int, seed: int) -> tuple[ReadSource, ...]:
    """What is to be read from each folder: its training images, or all shards of its training records.

    Of image files a random choice of ``max_records`` is taken (all, if there are fewer), so that a list of millions
    need not be sent around; the sources of one seed read the same files in the same order.

    Args:
        size: Side of the square that image files are brought to, in pixels.

    Raises:
        SourceError: There is no folder, or one is missing, empty, named twice, or its records cannot be told apart or
            make no batch.
        CorruptFileError: A manifest is damaged.
    """
    if not folders:
        raise SourceError("there is nothing to read", hint="name a folder of image files or of shards")
    resolved = [folder.resolve() for folder in folders]
    for folder in resolved:
        if resolved.count(folder) > 1:
            raise SourceError(f"{folder} is named twice", hint="name every folder once; --repeat measures it again")
    named = [Path(os.path.abspath(folder)) for folder in folders]
    sources = [
        _open_shards(folder) if (folder / MANIFEST_NAME).is_file() else _open_images(folder, size, max_records, seed)
        for folder in named
    ]
    return _name_apart(sources, named)


def _open_images(folder: Path, size: int, max_records: int, seed: int) -> ReadSource:
    source = open_source(folder)
    if source.kind != "folder":
        raise SourceError(
            f"{folder} holds batches of many images and no image files", hint="prepare it, and name the shards"
        )
    images = source.splits["train"]
    chosen = random.Random(seed).sample(range(len(images)), min(max_records, len(images)))  # noqa: S311
    return ReadSource(
        name="images",
        kind="images",
        encoding=None,
        folder=source.root,
        files=tuple(images[number].path for number in chosen),
        shape=(size, size, 3),
    )


def _open_shards(folder: Path) -> ReadSource:
    manifest = read_manifest(folder)
    shards = split_shards(manifest, "train")
    if not shards:
        raise SourceError(f"{folder} holds no training records", hint="prepare it with a smaller --test-fraction")
    if manifest.image is None:
        raise SourceError(
            f"{folder} holds images of different sizes, which make no batch", hint="prepare it with --size"
        )
    if not next(iter(read_shard(folder, shards[0]))).key:
        raise SourceError(
            f"{folder} holds records without keys, by which the test proves what was read",
            hint="an earlier nodewise wrote it: prepare it again",
        )
    image = manifest.image
    return ReadSource(
        name=f"{manifest.shard_format}, {manifest.encoding}",
        kind=manifest.shard_format,
        encoding=manifest.encoding,
        folder=folder,
        files=tuple(shard.path for shard in shards),
        shape=(image["height"], image["width"], image["channels"]),
    )


def _name_apart(sources: Sequence[ReadSource], folders: Sequence[Path]) -> tuple[ReadSource, ...]:
    """``flowers (images)``, with as many parent folders as it takes to tell the sources apart."""
    depth = 1
    while True:
        names = [
            f"{'/'.join(folder.parts[-depth:]).strip('/')} ({source.name})"
            for folder, source in zip(folders, sources, strict=True)
        ]
        if len(set(names)) == len(names):
            return tuple(replace(source, name=name) for source, name in zip(sources, names, strict=True))
        depth += 1


class RecordPlaces:
    """Where the records of a source are stored, by their ids. Nothing is looked up before it is asked for."""

    def __init__(self, source: ReadSource) -> None:
        self._source = source
        self._located: dict[Path, NDArray[np.int64]] = {}

    def extents(self, ids: Iterable[str]) -> list[Extent]:
        """The bytes of each record: the whole file, or the record with its framing.

        Raises:
            LookupError, ValueError: An id that the source does not have.
            CorruptFileError: A shard is damaged between its records.
        """
        if self._source.kind == "images":
            known = self._images
            return [Extent(known[name], 0, known[name].stat().st_size) for name in ids]
        return [self._extent(*self._find(key)) for key in ids]

    def stored(self) -> Iterator[Example]:
        """The records in the order in which they are stored, or the files in theirs, with their ids as keys."""
        if self._source.kind == "images":
            yield from (self.example(name) for name in self._source.files)
        else:
            for file in self._source.files:
                yield from read_shard(self._source.folder, file)

    def example(self, name: str) -> Example:
        """The record of this id, as it is stored; that of an image file has no class, as nobody asks for it."""
        if self._source.kind == "images":
            return Example(self._images[name].read_bytes(), label=-1, key=name)
        path, number = self._find(name)
        return next(islice(read_shard(self._source.folder, path.name), number, None))

    def pixels(self, name: str) -> NDArray[np.uint8]:
        """The image of this id as nodewise delivers it."""
        example = self.example(name)
        if self._source.encoding == "raw":
            return np.frombuffer(example.image, np.uint8).reshape(self._source.shape)
        if self._source.kind != "images":
            return decode_image(example.image)
        square = np.empty(self._source.shape, np.uint8)
        load_square(example.image, self._source.shape[0], square)
        return square

    @cached_property
    def _images(self) -> dict[str, Path]:
        return dict(zip(self._source.files, self._source.paths, strict=True))

    @cached_property
    def _shards(self) -> dict[str, Path]:
        shards = {}
        for path in self._source.paths:
            name = parse_shard_name(path.name)
            if name is None:
                raise CorruptFileError(str(path), "not the name of a shard")
            shards[f"{name.prefix}-{name.index:05d}"] = path
        return shards

    def _find(self, key: str) -> tuple[Path, int]:
        prefix, _, number = key.rpartition("-")
        return self._shards[prefix], int(number)

    def _extent(self, path: Path, number: int) -> Extent:
        offset, length = self._locate(path)[number]
        return Extent(path, int(offset), int(length))

    def _locate(self, path: Path) -> NDArray[np.int64]:
        if path not in self._located:
            self._located[path] = locate_records(path)
        return self._located[path]
