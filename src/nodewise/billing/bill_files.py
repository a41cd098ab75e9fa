"""Reads real bills: what kind a file is of is told by its columns, and its lines come one by one.

CSV, JSON (a list of objects, or one object per line) and Parquet; CSV and JSON also with gzip.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

from nodewise.billing.bill_kinds import KINDS, BadRowError, Cells, Kind
from nodewise.core.errors import CorruptFileError, InputError
from nodewise.specs.costs import BillRow, ImportResult
from nodewise.workspace import Workspace

__all__ = ["import_bill"]

_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_MOST_BAD = 20
_ROWS_AT_ONCE = 2000

_Lines = Iterator[tuple[int, Cells]]


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    added: int = 0
    unpriced: int = 0
    readable: int = 0
    bad: list[str] = field(default_factory=list)
    bad_rows: int = 0
    totals: dict[str, Decimal] = field(default_factory=dict)
    days: set[str] = field(default_factory=set)


def import_bill(workspace: Workspace, path: Path) -> ImportResult:
    """Read a bill into the workspace.

    A line that was imported before, from this file or another, is not added again. A line that cannot be read is
    counted and reported, and the others are taken.

    Raises:
        InputError: There is no such file, or it is no bill of a kind that nodewise reads.
        CorruptFileError: It breaks off, or is no text; the lines before that place were taken.
    """
    try:
        with _open_table(path) as (columns, lines):
            return _import(workspace, path, columns, lines)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist", hint="give the path of a bill: CSV, JSON or Parquet") from None
    except IsADirectoryError:
        raise InputError(f"{path} is a folder", hint="give the path of a bill: CSV, JSON or Parquet") from None
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise CorruptFileError(str(path), f"not whole: {error}") from None
    except UnicodeDecodeError as error:
        raise CorruptFileError(str(path), f"not text in UTF-8 (byte {error.start})") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None


def _import(workspace: Workspace, path: Path, columns: list[str], lines: _Lines) -> ImportResult:
    kind = next((kind for kind in KINDS if kind.recognises(columns)), None)
    if kind is None:
        shown = ", ".join(columns[:5])
        raise InputError(
            f"{path} is no bill that nodewise knows (its columns begin {shown!r})",
            hint="it reads exports of Azure Cost Management, FOCUS 1.0 to 1.2, and Databricks' system.billing.usage",
        )
    tally = _Tally()
    seen: Counter[str] = Counter()
    batch: list[BillRow] = []
    for line, cells in lines:
        tally.rows += 1
        try:
            batch.append(_bill_row(kind, path.name, cells, seen))
        except BadRowError as error:
            tally.bad_rows += 1
            if len(tally.bad) < _MOST_BAD:
                tally.bad.append(f"line {line}: {error}")
        if len(batch) >= _ROWS_AT_ONCE:
            _keep(workspace, batch, tally)
            batch = []
    _keep(workspace, batch, tally)
    return ImportResult(
        file=str(path),
        kind=kind.name,
        rows=tally.rows,
        added=tally.added,
        known=tally.readable - tally.added,
        unpriced=tally.unpriced,
        bad_rows=tally.bad_rows,
        bad=tuple(tally.bad),
        totals={currency: format(total, "f") for currency, total in sorted(tally.totals.items())},
        first_day=min(tally.days, default=None),
        last_day=max(tally.days, default=None),
    )


def _bill_row(kind: Kind, file: str, cells: Cells, seen: Counter[str]) -> BillRow:
    fact = kind.read(cells)
    # Bills have no number per line (Databricks' have): it is known by its cells, and by how many like it came before.
    canonical = json.dumps([kind.name, fact.identity or sorted(cells.items())], default=str)
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    seen[digest] += 1
    key = digest if fact.identity else f"{digest}-{seen[digest]}"
    return BillRow(
        source=f"{kind.name}: {file}",
        row_key=key,
        day=fact.day,
        service=fact.service,
        resource=fact.resource,
        cost=fact.cost,
        currency=fact.currency,
        quantity=fact.quantity,
        unit=fact.unit,
        tags=fact.tags,
    )


def _keep(workspace: Workspace, batch: list[BillRow], tally: _Tally) -> None:
    if not batch:
        return
    tally.readable += len(batch)
    tally.days |= {row.day.isoformat() for row in batch}
    for row in workspace.bills.add(batch):
        tally.added += 1
        if row.cost is None:
            tally.unpriced += 1
        else:
            tally.totals[row.currency] = tally.totals.get(row.currency, Decimal(0)) + row.cost


@contextmanager
def _open_table(path: Path) -> Iterator[tuple[list[str], _Lines]]:
    """The names of the columns, and the lines with their numbers, which can be read within the block."""
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        if start == _PARQUET:
            yield _parquet_table(path)
            return
        plain = gzip.GzipFile(fileobj=stream) if start.startswith(_GZIP) else stream
        with plain, io.TextIOWrapper(plain, encoding="utf-8-sig", newline="") as text:
            first = text.read(1)
            while first and first.isspace():
                first = text.read(1)
            yield _json_table(path, text, first) if first in ("{", "[") else _csv_table(path, text, first)


def _csv_table(path: Path, text: IO[str], first: str) -> tuple[list[str], _Lines]:
    reader = csv.reader(_with_first(first, text))
    try:
        header = next(reader, [])
    except csv.Error as error:
        raise CorruptFileError(str(path), f"not CSV: {error}") from None
    names = [name.strip() for name in header]

    def lines() -> _Lines:
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise CorruptFileError(str(path), f"line {reader.line_num}: {error}") from None
            if values:
                # A line with too few or too many cells is told by its kind, which misses a value or finds one more.
                cells: Cells = dict(zip(names, values, strict=False))
                if len(values) != len(names):
                    cells[""] = f"{len(values)} cells instead of {len(names)}"
                yield reader.line_num, cells

    return names, lines()


def _with_first(first: str, text: IO[str]) -> Iterator[str]:
    yield first + text.readline()
    yield from text


def _json_table(path: Path, text: IO[str], first: str) -> tuple[list[str], _Lines]:
    """A list of objects, read as a whole, or an object per line."""
    objects = _json_list(path, first + text.read()) if first == "[" else _json_lines(_with_first(first, text))
    found = next(objects, None)
    if found is None or not isinstance(found[1], dict):
        return [], iter(())
    head: tuple[int, Cells] = (found[0], found[1])

    def lines() -> _Lines:
        yield head
        for number, value in objects:
            yield number, value if isinstance(value, dict) else {"": "not an object"}

    return list(head[1]), lines()


def _json_list(path: Path, content: str) -> Iterator[tuple[int, Any]]:
    try:
        values = json.loads(content, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(str(path), f"not JSON: {error}") from None
    yield from enumerate(values, 1)


def _json_lines(lines: Iterator[str]) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line, parse_float=Decimal)
            except (ValueError, RecursionError):
                yield number, None


def _parquet_table(path: Path) -> tuple[list[str], _Lines]:
    from pyarrow import ArrowException, parquet

    try:
        table = parquet.ParquetFile(path)
        names = [str(name) for name in table.schema_arrow.names]
    except (ArrowException, OSError) as error:
        raise CorruptFileError(str(path), f"not a Parquet file: {str(error).splitlines()[0]}") from None

    def lines() -> _Lines:
        number = 0
        try:
            for batch in table.iter_batches(_ROWS_AT_ONCE):
                for cells in batch.to_pylist():
                    number += 1
                    yield number, cells
        except (ArrowException, OSError) as error:
            raise CorruptFileError(str(path), f"damaged: {str(error).splitlines()[0]}") from None

    return names, lines()
