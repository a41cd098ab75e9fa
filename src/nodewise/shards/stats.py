"""What is in a folder of images or of shards, from the headers of the images alone."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal, NamedTuple

import numpy as np
from PIL import Image

from nodewise.core.progress import SILENT, Progress
from nodewise.core.units import format_count
from nodewise.data.image_list import ImageRef
from nodewise.data.sources import open_source, read_image
from nodewise.images.codecs import FORMATS, ImageError, orientation
from nodewise.shards.files import read_shard
from nodewise.shards.inspect import ShardFile, find_shards, holds_shards, label_name

__all__ = ["DataStats", "ImageFacts", "Spread", "collect_stats"]

_HEAD_BYTES = 1 << 16
_MODES = {
    "1": "black and white",
    "L": "grey",
    "LA": "grey with alpha",
    "P": "palette",
    "RGB": "colour",
    "RGBA": "colour with alpha",
    "I;16": "grey of 16 bits",
}
"""Pillow's modes in words; the others (CMYK) keep their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Smallest, middle (of an even number the lower one) and largest value."""

    min: int
    median: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """One image: ``name`` is its file, or its shard and number; ``bytes`` is the length of what is stored."""

    name: str
    height: int
    width: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStats:
    """What is in a folder of images or of shards.

    Heights and widths are those that are stored: an EXIF orientation is not applied.

    Attributes:
        kind: ``images`` or ``shards``.
        records: Images, unreadable ones included.
        classes: Records by split and class name, in order of the class numbers; without a manifest these are the names.
            A split is the prefix of the shards' names, "" where they have none.
        bytes: Of all images as they are stored; ``mean_bytes``, ``min_bytes`` and ``max_bytes`` are those of one.
        file_bytes: Of the shards: what is around the images included. None for images.
        shards: Number of shard files; 0 for images.
        height, width: In pixels; None if no image can be read.
        sizes: How many different sizes there are.
        common_size: The most frequent one, height and width, and how many images have it.
        formats: Images by format: ``jpeg``, ``png``, ``webp``, ``raw``.
        suffixes: Image files by suffix in lower case; none for shards.
        modes: Images by kind of colour: ``colour``, ``grey``, ``CMYK`` and so on.
        rotated: Images that an EXIF orientation turns or mirrors.
        unreadable: Images without a header that can be read.
        largest, smallest: By number of pixels; the first of equal ones.
    """

    kind: Literal["images", "shards"]
    path: str
    records: int
    classes: dict[str, dict[str, int]]
    bytes: int
    mean_bytes: float
    min_bytes: int
    max_bytes: int
    file_bytes: int | None
    shards: int
    height: Spread | None
    width: Spread | None
    sizes: int
    common_size: tuple[int, int, int] | None
    formats: dict[str, int]
    suffixes: dict[str, int]
    modes: dict[str, int]
    rotated: int
    unreadable: int
    largest: ImageFacts | None
    smallest: ImageFacts | None


def collect_stats(path: Path, progress: Progress = SILENT) -> DataStats:
    """Read the header of every image at a path: a folder of images, a folder of shards, or a shard.

    One image is held at a time. What is kept grows with the number of classes and of different image sizes.

    Raises:
        SourceError: There is no such path, or neither images nor shards are there.
        CorruptFileError: A shard or a manifest is damaged.
    """
    tally = _Tally()
    if holds_shards(path):
        found = find_shards(path)
        if found.manifest_fault is not None:
            raise found.manifest_fault
        progress.stage("read shards", total=sum(file.num_records or 0 for file in found.files) or None)
        for file in found.files:
            tally.expect(file.split, found.manifest.classes if found.manifest else ())
            for name, label, image in _images_of_shard(file):
                tally.add(file.split, label_name(label, found.manifest), name, image)
                progress.advance()
        progress.done(f"{format_count(tally.records)} records")
        if found.manifest is None:
            tally.sort_numbers()
        file_bytes = sum(file.path.stat().st_size for file in found.files)
        return tally.result("shards", path, file_bytes=file_bytes, shards=len(found.files))
    source = open_source(path)
    progress.stage("read headers", total=sum(map(len, source.splits.values())))
    for split, refs in source.splits.items():
        tally.expect(split, source.classes)
        for ref in refs:
            tally.add(split, source.classes[ref.label], ref.name, _image_of_file(source.root, ref))
            if ref.row is None:
                tally.suffixes[PurePosixPath(ref.path).suffix.lower()] += 1
            progress.advance()
    progress.done(f"{format_count(tally.records)} images")
    return tally.result("images", path)


class _Header(NamedTuple):
    height: int
    width: int
    format: str
    mode: str
    is_rotated: bool


class _Stored(NamedTuple):
    """An image: the bytes that it takes, and its header if it has one."""

    bytes: int
    header: _Header | None


class _Tally:
    """Counts images one by one."""

    def __init__(self) -> None:
        self.records = self.rotated = self.unreadable = 0
        self.bytes = self.max_bytes = 0
        self.min_bytes: int | None = None
        self.classes: dict[str, Counter[str]] = {}
        self.formats: Counter[str] = Counter()
        self.suffixes: Counter[str] = Counter()
        self.modes: Counter[str] = Counter()
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.largest: ImageFacts | None = None
        self.smallest: ImageFacts | None = None

    def expect(self, split: str, class_names: tuple[str, ...]) -> None:
        """Classes of a split, in their order: they are in the result also if they have no images."""
        self.classes.setdefault(split, Counter(dict.fromkeys(class_names, 0)))

    def sort_numbers(self) -> None:
        """Bring classes that have numbers instead of names into their order."""
        self.classes = {
            split: Counter(dict(sorted(counts.items(), key=lambda item: int(item[0]))))
            for split, counts in self.classes.items()
        }

    def add(self, split: str, class_name: str, name: str, image: _Stored) -> None:
        self.records += 1
        self.classes[split][class_name] += 1
        self.bytes += image.bytes
        self.min_bytes = image.bytes if self.min_bytes is None else min(self.min_bytes, image.bytes)
        self.max_bytes = max(self.max_bytes, image.bytes)
        if image.header is None:
            self.unreadable += 1
            return
        height, width, format_name, mode, is_rotated = image.header
        self.sizes[height, width] += 1
        self.formats[format_name] += 1
        self.modes[mode] += 1
        self.rotated += is_rotated
        pixels = height * width
        if self.largest is None or pixels > self.largest.height * self.largest.width:
            self.largest = ImageFacts(name=name, height=height, width=width, bytes=image.bytes)
        if self.smallest is None or pixels < self.smallest.height * self.smallest.width:
            self.smallest = ImageFacts(name=name, height=height, width=width, bytes=image.bytes)

    def result(
        self, kind: Literal["images", "shards"], path: Path, *, file_bytes: int | None = None, shards: int = 0
    ) -> DataStats:
        common = self.sizes.most_common(1)
        return DataStats(
            kind=kind,
            path=str(path),
            records=self.records,
            classes={split: dict(counts) for split, counts in self.classes.items()},
            bytes=self.bytes,
            mean_bytes=self.bytes / self.records if self.records else 0.0,
            min_bytes=self.min_bytes or 0,
            max_bytes=self.max_bytes,
            file_bytes=file_bytes,
            shards=shards,
            height=_spread(self.sizes, axis=0),
            width=_spread(self.sizes, axis=1),
            sizes=len(self.sizes),
            common_size=(*common[0][0], common[0][1]) if common else None,
            formats=dict(self.formats.most_common()),
            suffixes=dict(self.suffixes.most_common()),
            modes=dict(self.modes.most_common()),
            rotated=self.rotated,
            unreadable=self.unreadable,
            largest=self.largest,
            smallest=self.smallest,
        )


def _spread(sizes: Counter[tuple[int, int]], *, axis: int) -> Spread | None:
    if not sizes:
        return None
    lengths: Counter[int] = Counter()
    for size, count in sizes.items():
        lengths[size[axis]] += count
    values = sorted(lengths)
    ranks = np.cumsum([lengths[value] for value in values])
    median = values[int(np.searchsorted(ranks, (ranks[-1] + 1) // 2))]
    return Spread(min=values[0], median=median, max=values[-1])


def _images_of_shard(file: ShardFile) -> Iterator[tuple[str, int, _Stored]]:
    for number, example in enumerate(read_shard(file.path.parent, file.path.name)):
        if example.shape is not None:
            header: _Header | None = _header_of_pixels(example.shape)
        else:
            header = _read_header(io.BytesIO(example.image))
        yield f"{file.path.name}:{number}", example.label, _Stored(len(example.image), header)


def _image_of_file(root: Path, ref: ImageRef) -> _Stored:
    try:
        if ref.row is None:
            with (root / ref.path).open("rb") as stream:
                return _Stored(os.fstat(stream.fileno()).st_size, _read_header(stream))
        pixels = read_image(root, ref)
    except (OSError, ImageError):
        return _Stored(0, None)
    assert isinstance(pixels, np.ndarray)  # noqa: S101 - a row of a batch
    return _Stored(pixels.nbytes, _header_of_pixels(pixels.shape))


def _header_of_pixels(shape: tuple[int, ...]) -> _Header:
    return _Header(shape[0], shape[1], "raw", "colour", is_rotated=False)


def _read_header(stream: IO[bytes]) -> _Header | None:
    """What the header says, or None if there is none that can be read."""
    turn = orientation(stream.read(_HEAD_BYTES))
    stream.seek(0)
    with warnings.catch_warnings():
        # Pillow warns of many pixels, which are none of our business here, and of harmless oddities.
        warnings.simplefilter("ignore")
        try:
            image = Image.open(stream, formats=list(FORMATS))
        except Exception:
            # Damaged files make Pillow raise OSError, SyntaxError, ValueError and struct.error, among others.
            return None
    # Pillow has a name of its own (MPO) for JPEGs that hold a second picture.
    encoding = FORMATS.get(image.format or "", "jpeg")
    return _Header(image.height, image.width, encoding, _MODES.get(image.mode, image.mode), is_rotated=turn != 1)
