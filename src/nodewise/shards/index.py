"""Where the records of a shard begin, for readers that take them in any order.

A TFRecord file ``x.tfrec`` may have an index ``x.tfrec.idx`` beside it: a line ``offset length`` for each frame, as the
``tfrecord`` package and DALI's ``tfrecord2idx`` write it. It only saves going through the file; it is not needed, and
one that does not agree with its file is not used.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nodewise.shards.names import TAR_SUFFIX, index_path
from nodewise.shards.records import FRAME_EXTRA_BYTES, locate_frames
from nodewise.shards.tars import locate_tar_records

__all__ = ["locate_records"]


def locate_records(path: Path) -> NDArray[np.int64]:
    """Offset and length of each record of a shard in bytes, shape (num_records, 2).

    A record is a TFRecord frame, or the files of one key in a tar. What it holds is not looked at.

    Raises:
        CorruptFileError: The file cannot be read, or is damaged between its records.
    """
    if path.suffix == TAR_SUFFIX:
        spans = list(locate_tar_records(path))
    else:
        indexed = _read_index(path)
        if indexed is not None:
            return indexed
        spans = list(locate_frames(path))
    return np.array(spans, np.int64).reshape(-1, 2)


def _read_index(path: Path) -> NDArray[np.int64] | None:
    """The index, if there is one that covers the file from its first byte to its last without a gap."""
    try:
        fields = np.array(index_path(path).read_bytes().split(), np.int64)
        file_bytes = path.stat().st_size
    except (OSError, ValueError, OverflowError):
        return None
    if not len(fields) or len(fields) % 2:
        return None
    spans = fields.reshape(-1, 2)
    stops = spans.sum(axis=1)
    is_whole = spans[0, 0] == 0 and stops[-1] == file_bytes and np.array_equal(spans[1:, 0], stops[:-1])
    return spans if is_whole and (spans[:, 1] >= FRAME_EXTRA_BYTES).all() else None
