"""Utilisation of nodes as Parquet: one file per run, one row per node and interval."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from nodewise.specs.usage import UsageSample
from nodewise.workspace.parquet import read_rows, write_rows

__all__ = ["SCHEMA", "read_usage", "write_usage"]

SCHEMA = pa.schema(
    [
        pa.field("node", pa.string(), nullable=False),
        pa.field("at", pa.float64(), nullable=False),
        pa.field("interval_s", pa.float64(), nullable=False),
        pa.field("cpu_cores", pa.float64(), nullable=False),
        pa.field("throttled_s", pa.float64()),
        pa.field("memory_bytes", pa.int64(), nullable=False),
        pa.field("read_bytes", pa.int64(), nullable=False),
        pa.field("written_bytes", pa.int64(), nullable=False),
        pa.field("received_bytes", pa.int64()),
        pa.field("sent_bytes", pa.int64()),
        pa.field("gpu_fraction", pa.float64()),
        pa.field("gpu_memory_bytes", pa.int64()),
        pa.field("memory_kills", pa.int64(), nullable=False),
    ]
)
"""The columns, as :class:`~nodewise.specs.usage.UsageSample` describes them."""


def write_usage(path: Path, samples: Iterable[UsageSample]) -> None:
    """Write the whole file in one step; one that is there already is replaced."""
    write_rows(path, SCHEMA, samples)


def read_usage(path: Path) -> list[UsageSample]:
    """The samples in the order in which they were written; none if there is no file.

    Raises:
        CorruptFileError: The file is not Parquet, or lacks a column. Further columns are passed over.
    """
    return [UsageSample(**row) for row in read_rows(path, SCHEMA, "samples of utilisation")]
