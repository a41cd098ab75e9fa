"""Predictions of a part as one Parquet file that is written once, however often its task is tried."""

from __future__ import annotations

import errno
import os
import uuid
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from nodewise.core.files import TEMP_PREFIX, atomic_writer
from nodewise.training.score_parts import ScorePart

__all__ = ["read_predictions", "table_of", "write_predictions"]

_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}
_NEEDED = ["label", "predicted"]
# Arrow loads pandas, for a fifth of a second, with the first value that it is given: now and not in a task.
_COLON = pa.scalar(":")


def table_of(
    part: ScorePart,
    classes: tuple[str, ...],
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    probability: NDArray[np.float32],
) -> pa.Table:
    """A row per record of the part, in their order.

    Columns: record (``<shard>:<number>``), label and predicted (class numbers), label_name and predicted_name, and
    probability (of the predicted class, 0 to 1).
    """
    names = [
        pc.binary_join_element_wise(
            pa.scalar(shard.path), pa.array(np.arange(numbers.start, numbers.stop)).cast(pa.string()), _COLON
        )
        for shard, numbers in part.spans()
    ]
    by_number = pa.array(classes, pa.string())
    return pa.table(
        {
            "record": pa.chunked_array(names, pa.string()),
            "label": labels,
            "predicted": predicted,
            "label_name": pa.DictionaryArray.from_arrays(pa.array(labels), by_number),
            "predicted_name": pa.DictionaryArray.from_arrays(pa.array(predicted), by_number),
            "probability": probability,
        }
    )


def write_predictions(path: Path, table: pa.Table, source: str) -> pa.Table:
    """Write the predictions under ``path``, unless another attempt at the task has done so; what stands there then.

    Of two attempts that end at the same time, the first one's file stays and the other one takes it over. So there is
    one prediction per record, and what each attempt reports is what the file says, even if two processors should
    differ in the last digit. On a file system without hard links the second of two files that are finished at the very
    same moment replaces the first; both are whole.

    Args:
        source: What the predictions were made from; see :func:`read_predictions`.

    Raises:
        DiskFullError: There is no space; no unfinished file is left.
    """
    whole = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:12]}-{path.name}")
    try:
        # Names as plain strings for every reader: without Arrow's own schema, which says how they were held here.
        with atomic_writer(whole) as stream, pq.ParquetWriter(stream, table.schema, store_schema=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata({"nodewise": source})
        try:
            # Unlike a rename, this leaves a file alone that stands there.
            os.link(whole, path)
            return table
        except OSError as error:
            if error.errno != errno.EEXIST and error.errno not in _NO_LINKS:
                raise
        stored = read_predictions(path, source, table.num_rows)
        if stored is None:
            os.replace(whole, path)
        return table if stored is None else stored
    finally:
        whole.unlink(missing_ok=True)


def read_predictions(path: Path, source: str, num_rows: int) -> pa.Table | None:
    """Label and predicted class of what an earlier attempt has written; None if there is no such file.

    Args:
        source: A file that says that it was made from something else is none of this task's.
    """
    try:
        with pq.ParquetFile(path) as file:
            is_ours = (file.metadata.metadata or {}).get(b"nodewise") == source.encode()
            return file.read(_NEEDED) if is_ours and file.metadata.num_rows == num_rows else None
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
