"""Records as Parquet: one file, one row per record, one column per field. Loads no pandas, which pyarrow would."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nodewise.core.errors import CorruptFileError
from nodewise.core.files import atomic_writer

__all__ = ["read_rows", "write_rows"]

ROW_GROUP = 25_000


def write_rows(path: Path, schema: pa.Schema, records: Iterable[object]) -> None:
    """Write the whole file in one step; one that is there already is replaced.

    Records are taken as they come; no more than :data:`ROW_GROUP` of them are held.

    Args:
        schema: Text, 64-bit integers and floats, each named like a field of the records; of numbers, those that are
            nullable may be None.
    """
    rest = iter(records)
    with atomic_writer(path) as stream, pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        while rows := list(islice(rest, ROW_GROUP)):
            columns = [_column(field.type, [getattr(row, field.name) for row in rows]) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def read_rows(
    path: Path, schema: pa.Schema, what: str, *, added: Collection[str] = frozenset()
) -> list[dict[str, Any]]:
    """The records as dicts, in the order in which they were written; none if there is no file.

    Args:
        what: What the file should be, for the message.
        added: Columns that files of earlier versions lack, and then the dicts do.

    Raises:
        CorruptFileError: The file is not Parquet, or lacks a column. Further columns are passed over.
    """
    if not path.exists():
        return []
    try:
        # A single file: read as a data set, folders named like key=value on its path would become columns.
        file = pq.ParquetFile(path)
        known = [field for field in schema if field.name in file.schema_arrow.names or field.name not in added]
        table = file.read(columns=[field.name for field in known]).cast(pa.schema(known))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptFileError(str(path), f"not a file of {what}: {str(error).splitlines()[0]}") from None
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def _column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    # From bytes: for a list, pyarrow would import pandas where it is installed, which takes longer than all of this.
    if kind == pa.string():
        encoded = [value.encode() for value in values]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        return pa.Array.from_buffers(
            kind, len(values), [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(encoded))]
        )
    present = np.array([value is not None for value in values], np.bool_)
    numbers = np.array(
        [0 if value is None else value for value in values], np.float64 if kind == pa.float64() else np.int64
    )
    # One bit per value, or no bits where all are there.
    mask = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little").tobytes())
    return pa.Array.from_buffers(kind, len(values), [mask, pa.py_buffer(numbers.tobytes())])
