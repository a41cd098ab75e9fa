"""Task records as Parquet: one file per run, one row per task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nodewise.core.errors import CorruptFileError
from nodewise.core.files import atomic_writer
from nodewise.specs.run import TaskRecord

__all__ = ["SCHEMA", "read_tasks", "write_tasks"]

SCHEMA = pa.schema(
    [
        pa.field("stage", pa.string(), nullable=False),
        pa.field("task", pa.int64(), nullable=False),
        pa.field("node", pa.string(), nullable=False),
        pa.field("started_at", pa.float64(), nullable=False),
        pa.field("ended_at", pa.float64(), nullable=False),
        pa.field("cpu_s", pa.float64(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
        pa.field("read_bytes", pa.int64(), nullable=False),
        pa.field("written_bytes", pa.int64(), nullable=False),
        pa.field("peak_memory_bytes", pa.int64(), nullable=False),
        pa.field("retries", pa.int64(), nullable=False),
        pa.field("read_s", pa.float64(), nullable=False),
        pa.field("write_s", pa.float64(), nullable=False),
        pa.field("communicate_s", pa.float64(), nullable=False),
    ]
)
"""The columns, as :class:`~nodewise.specs.run.TaskRecord` describes them."""

_ADDED = ("read_s", "write_s", "communicate_s")


def write_tasks(path: Path, tasks: Iterable[TaskRecord]) -> None:
    """Write the whole file in one step; one that is there already is replaced."""
    records = list(tasks)
    columns = [_column(field.type, [getattr(task, field.name) for task in records]) for field in SCHEMA]
    table = pa.Table.from_arrays(columns, schema=SCHEMA)
    with atomic_writer(path) as stream:
        pq.write_table(table, stream, compression="zstd")


def _column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """An array of text or numbers without nulls."""
    # From bytes: for a list, pyarrow would import pandas where it is installed, which takes longer than all of this.
    if kind == pa.string():
        encoded = [value.encode() for value in values]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(encoded))]
    else:
        buffers = [None, pa.py_buffer(np.array(values, np.float64 if kind == pa.float64() else np.int64).tobytes())]
    return pa.Array.from_buffers(kind, len(values), buffers)


def read_tasks(path: Path) -> list[TaskRecord]:
    """The records in the order in which they were written; none if there is no file.

    Raises:
        CorruptFileError: The file is not Parquet, or lacks a column. Further columns are passed over.
    """
    if not path.exists():
        return []
    try:
        # A single file: read as a data set, folders named like key=value on its path would become columns.
        file = pq.ParquetFile(path)
        # Files of earlier versions lack what was added since, which has a value to stand in.
        known = [field for field in SCHEMA if field.name in file.schema_arrow.names or field.name not in _ADDED]
        table = file.read(columns=[field.name for field in known]).cast(pa.schema(known))
    except (pa.ArrowException, OSError) as error:
        raise CorruptFileError(str(path), f"not a file of task records: {str(error).splitlines()[0]}") from None
    return [TaskRecord(**row) for row in table.to_pylist()]
