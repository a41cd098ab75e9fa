"""Task records as Parquet: one file per run, one row per task."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from nodewise.specs.run import TaskRecord
from nodewise.workspace.parquet import read_rows, write_rows

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
"""What earlier versions did not write, which has a value to stand in."""


def write_tasks(path: Path, tasks: Iterable[TaskRecord]) -> None:
    """Write the whole file in one step; one that is there already is replaced."""
    write_rows(path, SCHEMA, tasks)


def read_tasks(path: Path) -> list[TaskRecord]:
    """The records in the order in which they were written; none if there is no file.

    Raises:
        CorruptFileError: The file is not Parquet, or lacks a column. Further columns are passed over.
    """
    return [TaskRecord(**row) for row in read_rows(path, SCHEMA, "task records", added=_ADDED)]
