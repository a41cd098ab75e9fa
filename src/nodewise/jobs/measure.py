"""Measures one reader at one source: the clock, and the proof of what was read. Runs in the reader's own process."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodewise.data.pagecache import CacheSnapshot, Extent, device_bytes
from nodewise.readers.base import Reader, ReaderFaultError, ReadSource
from nodewise.readers.sources import RecordPlaces

__all__ = ["Measured", "measure", "warm_up"]

WARM_UP_BATCHES = 2
COLOUR_TOLERANCE = 32.0
"""Levels of 255 by which an image's mean colour may differ from ours: other readers scale with other filters, and do
not turn images as EXIF says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One pass of a reader; the fields are those of :class:`~nodewise.specs.results.SpeedtestCell`.

    ``setup_seconds`` is what the reader did for this batch size before it was asked for the first batch.
    """

    records: int
    setup_seconds: float
    seconds: float
    from_cache: float | None
    bytes: int
    pixel_bytes: int
    device_bytes: int | None
    ids_sha256: str


def measure(reader: Reader, source: ReadSource, places: RecordPlaces, batch_size: int, batch_count: int) -> Measured:
    """Time so many batches, from asking for the first one to having the last, and prove what they were.

    Nothing is looked up, hashed or compared before the clock has stopped.

    Raises:
        ReaderFaultError: A batch has not the shape that it should have, a record came twice, or is not in the source.
        NodewiseError: What the reader itself raises.
    """
    snapshot = CacheSnapshot(source.paths)
    device_before = device_bytes()
    shapes: list[tuple[tuple[int, ...], str]] = []
    ids: list[Sequence[Any]] = []
    set_up_at = time.perf_counter()
    with closing(reader.batches(batch_size, batch_count)) as batches:
        began = time.perf_counter()
        for batch in islice(batches, batch_count):
            shapes.append((batch.pixels.shape, batch.pixels.dtype.name))
            ids.append(batch.ids)
        seconds = time.perf_counter() - began
    device_after = device_bytes()
    for (shape, dtype), batch_ids in zip(shapes, ids, strict=True):
        _check_shape(shape, dtype, batch_size, len(batch_ids), source)
    names = [_text(name) for batch_ids in ids for name in batch_ids]
    extents = _find(names, places)
    return Measured(
        records=len(names),
        setup_seconds=began - set_up_at,
        seconds=seconds,
        from_cache=snapshot.cached_fraction(extents),
        bytes=sum(extent.length for extent in extents),
        pixel_bytes=len(names) * math.prod(source.shape),
        device_bytes=None if device_before is None or device_after is None else device_after - device_before,
        ids_sha256=hashlib.sha256("".join(f"{name}\n" for name in names).encode()).hexdigest(),
    )


def warm_up(reader: Reader, source: ReadSource, places: RecordPlaces, batch_size: int) -> None:
    """Let a reader do once what it does only once, and look whether its pixels are those of the records.

    Raises:
        ReaderFaultError: They are not, or what :func:`measure` raises it for.
    """
    with closing(reader.batches(batch_size, WARM_UP_BATCHES)) as batches:
        for batch in islice(batches, WARM_UP_BATCHES):
            _check_shape(batch.pixels.shape, batch.pixels.dtype.name, batch_size, len(batch.ids), source)
            names = [_text(name) for name in batch.ids]
            _find(names, places)
            for pixels, name in zip(batch.pixels, names, strict=True):
                expected = places.pixels(name)
                if np.abs(_mean_colour(pixels) - _mean_colour(expected)).max() > COLOUR_TOLERANCE:
                    raise ReaderFaultError(f"what it delivers for {name} of {source.name} is another picture")


def _mean_colour(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.asarray(pixels.mean(axis=(0, 1)))


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode()


def _check_shape(shape: tuple[int, ...], dtype: str, batch_size: int, num_ids: int, source: ReadSource) -> None:
    if dtype != "uint8" or shape[1:] != source.shape or not 1 <= shape[0] <= batch_size:
        expected = (batch_size, *source.shape)
        raise ReaderFaultError(f"it delivered {dtype} of shape {shape} instead of uint8 of shape {expected}")
    if num_ids != shape[0]:
        raise ReaderFaultError(f"it delivered {shape[0]} images with the ids of {num_ids}")


def _find(names: list[str], places: RecordPlaces) -> list[Extent]:
    name, times = Counter(names).most_common(1)[0] if names else ("", 0)
    if times > 1:
        raise ReaderFaultError(f"it delivered {name} {times} times in one pass")
    try:
        return places.extents(names)
    except (LookupError, ValueError) as error:
        raise ReaderFaultError(f"it delivered a record that the source does not have: {error}") from None
