"""The SQLite database of a workspace: its tables, its version, and connections to it."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    URL,
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
)
from sqlalchemy import exc as sqlalchemy_errors
from sqlalchemy.pool import NullPool

from nodewise.core.errors import CorruptFileError, InputError, NodewiseError
from nodewise.core.files import disk_full, is_disk_full

__all__ = ["BILLS", "BUDGETS", "CLUSTERS", "CLUSTER_EVENTS", "LEDGER", "RUNS", "SCHEMA_VERSION", "Database"]

SCHEMA_VERSION = 2
_BUSY_TIMEOUT_MS = 30_000
_LOG_INDEX_BYTES = 32 * 1024

_METADATA = MetaData()

_VERSION = Table("schema_version", _METADATA, Column("version", Integer, primary_key=True))

RUNS = Table(
    "runs",
    _METADATA,
    # What is listed and filtered, a column each; instants are ISO 8601 in UTC, which sorts as text.
    Column("run_id", String, primary_key=True),
    Column("command", String, nullable=False),
    Column("scenario", String),
    Column("experiment", String, index=True),
    Column("status", String, nullable=False, index=True),
    Column("engine", String, nullable=False),
    Column("nodes", Integer, nullable=False),
    Column("node_type", String),
    Column("created_at", String, nullable=False, index=True),
    Column("ended_at", String),
    Column("cluster_s", Float),
    Column("start_up_s", Float),
    Column("cost_usd", String),  # decimal digits: SQLite's own numbers are binary
    Column("accuracy", Float),
    Column("cluster_name", String, index=True),
    Column("emulation_tier", String),
    # The process that holds the run while it is RUNNING.
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process_started_at", Float, nullable=False),
    # What is only shown.
    Column("cluster", JSON, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("stages", JSON, nullable=False),
    Column("error", JSON(none_as_null=True)),
    Column("result", JSON(none_as_null=True)),
    Column("provenance", JSON, nullable=False),
)

CLUSTERS = Table(
    "clusters",
    _METADATA,
    Column("cluster_id", String, primary_key=True),
    # Of all-purpose clusters, which is what keeps two from having one name; a job cluster has its run's id.
    Column("name", String, nullable=False, unique=True),
    Column("kind", String, nullable=False),  # all-purpose | job
    Column("engine", String, nullable=False),
    Column("provider", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("state_message", String),
    Column("nodes", Integer, nullable=False),
    Column("definition", JSON, nullable=False),
    Column("created_at", String, nullable=False),
    Column("started_at", String),
    Column("ready_at", String),
    Column("ended_at", String),
    Column("last_used_at", String),
    # The run that has it now.
    Column("run_id", String),
    # The supervisor.
    Column("host", String),
    Column("pid", Integer),
    Column("process_started_at", Float),
    Column("emulation_tier", String),
    Column("access", JSON(none_as_null=True)),
)

CLUSTER_EVENTS = Table(
    "cluster_events",
    _METADATA,
    Column("event_id", Integer, primary_key=True),
    Column("cluster_id", String, nullable=False, index=True),
    Column("at", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("message", String, nullable=False),
)

LEDGER = Table(
    "ledger",
    _METADATA,
    Column("entry_id", Integer, primary_key=True),
    Column("cluster_id", String, nullable=False, index=True),
    Column("cluster", String, nullable=False),
    Column("node", String, nullable=False),
    Column("node_type", String),
    Column("charge", String, nullable=False),  # compute | platform
    Column("price_per_hour", String),  # decimal digits, as all money
    Column("currency", String, nullable=False),
    Column("price_note", String, nullable=False),
    Column("price_date", String, nullable=False),
    Column("emulated", Integer, nullable=False),
    Column("started_at", String, nullable=False, index=True),
    Column("ended_at", String, nullable=False),
    Column("run_id", String, index=True),
    Column("job", String),
    Column("user", String, nullable=False),
    Column("tags", JSON, nullable=False),
)

BUDGETS = Table(
    "budgets",
    _METADATA,
    Column("tag", String, primary_key=True),  # NAME=VALUE
    Column("currency", String, nullable=False),
    Column("warn", String),
    Column("stop", String),
    Column("period", String, nullable=False),  # month | total
)

BILLS = Table(
    "bills",
    _METADATA,
    Column("bill_row_id", Integer, primary_key=True),
    Column("source", String, nullable=False),  # the file's name and kind
    Column("row_key", String, nullable=False, unique=True),  # what makes a second import of a row no second row
    Column("day", String, nullable=False, index=True),
    Column("service", String, nullable=False),
    Column("resource", String, nullable=False),
    Column("cost", String, nullable=False),
    Column("currency", String, nullable=False),
    Column("quantity", String),
    Column("unit", String),
    Column("tags", JSON, nullable=False),
)

# What each version of the schema added to tables that were there before; new tables are simply made.
_ADDED_COLUMNS = {2: (RUNS.c.cluster_name, RUNS.c.emulation_tier)}


class Database:
    """Connections to ``path``; any number of processes may have one at the same time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # No pool: a connection must not cross a fork, and none stays open behind a caller's back.
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            poolclass=NullPool,
            connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000},
        )
        event.listen(self._engine, "connect", _set_pragmas)
        self._is_checked = False

    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.path.exists()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction. The database is made if it is not there.

        Raises:
            InputError: It cannot be opened or written, or a newer version of nodewise made it.
            CorruptFileError: The file is not such a database.
        """
        with _named_errors(self.path):
            if not self._is_checked:
                _set_up(self._engine, self.path)
                self._is_checked = True
            with self._engine.begin() as connection:
                yield connection


def _set_up(engine: Engine, path: Path) -> None:
    # One process at a time: the change to write-ahead logging does not wait for a lock, it fails.
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        with engine.begin() as connection:
            _VERSION.create(connection, checkfirst=True)
            found = connection.scalar(_VERSION.select())
            if found is None:
                _METADATA.create_all(connection)
                connection.execute(_VERSION.insert().values(version=SCHEMA_VERSION))
            elif found < SCHEMA_VERSION:
                _upgrade(connection, found)
            elif found > SCHEMA_VERSION:
                raise InputError(
                    f"{path} was made by a newer version of nodewise (schema {found}, here {SCHEMA_VERSION})",
                    hint="upgrade nodewise, or take another folder with --workspace",
                )


def _upgrade(connection: Connection, found: int) -> None:
    """From version ``found`` to this one, in the transaction of the connection: all of it or nothing."""
    # Python's driver begins a transaction by itself before a change of rows only, not before one of tables.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    for version in range(found + 1, SCHEMA_VERSION + 1):
        for column in _ADDED_COLUMNS.get(version, ()):
            kind = column.type.compile(connection.dialect)
            connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {column.name} {kind}")
    _METADATA.create_all(connection)
    for table in _METADATA.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
    connection.execute(_VERSION.update().values(version=SCHEMA_VERSION))


def _set_pragmas(connection: sqlite3.Connection, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlalchemy_errors.IntegrityError:
        raise
    except sqlalchemy_errors.OperationalError as error:
        reason = str(error.orig)
        if _is_full(path, getattr(error.orig, "sqlite_errorname", "")):
            raise disk_full(path) from None
        if "locked" in reason or "disk" in reason:
            raise NodewiseError(f"{path}: {reason}") from None
        raise InputError(f"{path} cannot be used: {reason}", hint="give another folder with --workspace") from None
    except sqlalchemy_errors.DatabaseError as error:
        hint = "move the file away to start afresh; the folders under runs/ stay"
        raise CorruptFileError(str(path), str(error.orig), hint=hint) from None
    except OSError as error:
        if is_disk_full(error):
            raise disk_full(path) from None
        hint = "give another folder with --workspace"
        raise InputError(f"workspace {path.parent} cannot be written: {error.strerror}", hint=hint) from None


def _is_full(path: Path, error_name: str) -> bool:
    # When it cannot extend the index of its log, SQLite says that input and output failed.
    no_room = shutil.disk_usage(path.parent).free < _LOG_INDEX_BYTES
    return error_name == "SQLITE_FULL" or (error_name.startswith("SQLITE_IOERR") and no_room)
