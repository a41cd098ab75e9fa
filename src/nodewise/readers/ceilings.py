"""What no reader of a source can exceed on this machine: decoding alone, and reading alone."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby

import numpy as np

from nodewise.data.pagecache import Extent
from nodewise.images.codecs import Scratch, decode
from nodewise.readers.base import ReadSource
from nodewise.readers.pixels import load_square
from nodewise.shards.examples import Example

__all__ = ["decode_rate", "read_rate"]


def decode_rate(source: ReadSource, examples: Sequence[Example], threads: int) -> float:
    """Images per second that the threads decode from memory; those of files are scaled too, raw ones are copied.

    Raises:
        ImageError: One cannot be decoded.
    """
    with ThreadPoolExecutor(threads) as pool:
        # The first round starts the threads and fetches their memory.
        list(pool.map(lambda part: _decode_all(source, part[:1]), (examples,) * threads))
        began = time.perf_counter()
        list(pool.map(lambda first: _decode_all(source, examples[first::threads]), range(threads)))
        return len(examples) / (time.perf_counter() - began)


def _decode_all(source: ReadSource, examples: Sequence[Example]) -> None:
    out = np.empty(source.shape, np.uint8)
    scratch = Scratch()
    for example in examples:
        if source.kind == "images":
            load_square(example.image, source.shape[0], out)
        elif source.encoding == "raw":
            out[:] = np.frombuffer(example.image, np.uint8).reshape(source.shape)
        else:
            decode(example.image, fast=True, scratch=scratch)


def read_rate(extents: Sequence[Extent]) -> float:
    """Records per second that one thread reads, one after the other, from wherever they are."""
    began = time.perf_counter()
    for path, records in groupby(extents, key=lambda extent: extent.path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            for record in records:
                os.pread(descriptor, record.length, record.offset)
        finally:
            os.close(descriptor)
    return len(extents) / (time.perf_counter() - began)
