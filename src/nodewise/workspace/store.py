"""Runs and their files.

<workspace>/nodewise.db           what ran: one row per run
<workspace>/runs/<run id>/        its files, ``tasks.parquet`` and ``usage.parquet`` among them
<workspace>/datasets/             data sets that were fetched
<workspace>/reports/              reports of comparisons
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping, Update, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from nodewise.core.errors import InputError, UnknownNameError, UnsafeFileError
from nodewise.core.files import disk_full, is_disk_full, resolve_inside
from nodewise.core.owner import Owner
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import run_from_json, run_to_json
from nodewise.specs.run import RunRecord, RunStatus, TaskRecord
from nodewise.specs.usage import UsageSample
from nodewise.workspace.bills import BillStore
from nodewise.workspace.budgets import BudgetStore
from nodewise.workspace.clusters import ClusterStore
from nodewise.workspace.database import RUNS, Database
from nodewise.workspace.ledger import Ledger

__all__ = ["Workspace"]

_PROCESS_GONE = {
    "code": "process_gone",
    "message": "the process that ran this ended without saying how",
    "hint": "it was killed, or the machine was switched off; run it again",
}
_RECORD_COLUMNS = [column for column in RUNS.c if column.name not in ("host", "pid", "process_started_at")]


class Workspace:
    """The runs under ``root``.

    Nothing is made on the disk until the first run is. Any number of threads and processes may use one workspace at the
    same time.

    Raises:
        InputError: From any method: ``root`` is a file or cannot be written, or a newer nodewise made it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._database = Database(root / "nodewise.db")

    @property
    def datasets_dir(self) -> Path:
        """Where fetched data sets go; it need not be there yet."""
        return self.root / "datasets"

    @property
    def reports_dir(self) -> Path:
        """Where reports go; it need not be there yet."""
        return self.root / "reports"

    @property
    def clusters(self) -> ClusterStore:
        """The clusters that were defined here."""
        return ClusterStore(self._database)

    @property
    def ledger(self) -> Ledger:
        """Who had which node for how long, and at which price."""
        return Ledger(self._database, self.create)

    @property
    def budgets(self) -> BudgetStore:
        """What may be spent under which tag."""
        return BudgetStore(self._database, self.create)

    @property
    def bills(self) -> BillStore:
        """Lines of real bills that were imported."""
        return BillStore(self._database, self.create)

    def create(self) -> None:
        """Make the folder, unless it is there, such that version control passes over it."""
        with self._writing():
            self.root.mkdir(parents=True, exist_ok=True)
            # Only into a folder of our own: in a project's folder it would hide the project.
            if not any(self.root.iterdir()):
                (self.root / ".gitignore").write_text("*\n")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if is_disk_full(error):
                raise disk_full(self.root) from None
            raise InputError(
                f"workspace {self.root} cannot be written: {error.strerror}",
                hint="give another folder with --workspace or NODEWISE_WORKSPACE",
            ) from None

    # --- runs --------------------------------------------------------------------------------------------------------

    def create_run(
        self,
        command: str,
        cluster: ClusterSpec,
        *,
        scenario: str | None = None,
        experiment: str | None = None,
        tags: dict[str, str] | None = None,
        cluster_name: str | None = None,
        provenance: dict[str, Any] | None = None,
    ) -> RunRecord:
        """Begin a run, held by this process: status RUNNING, an id of its own, and a folder."""
        self.create()
        owner = Owner.current()
        while True:
            now = datetime.now(UTC)
            run = RunRecord(
                run_id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
                command=command,
                status=RunStatus.RUNNING,
                created_at=now,
                cluster=cluster,
                scenario=scenario,
                experiment=experiment,
                tags=tags or {},
                cluster_name=cluster_name,
                provenance=provenance or {},
            )
            held_by = {"host": owner.host, "pid": owner.pid, "process_started_at": owner.started_at}
            try:
                with self._database.begin() as connection:
                    connection.execute(insert(RUNS).values(**_to_row(run), **held_by))
            except IntegrityError:
                continue  # another run of this second drew the same four digits
            with self._writing():
                self.run_dir(run.run_id).mkdir(parents=True, exist_ok=True)
            return run

    def finish_run(self, run: RunRecord) -> None:
        """Store how a run ended. It must be RUNNING in the store: what ended is never written over.

        ``ended_at`` is set to now where the record leaves it open.

        Raises:
            InputError: The run has ended already.
            UnknownNameError: There is no such run.
        """
        if not run.status.is_finished:
            raise ValueError(f"run {run.run_id} is to end, but its status is {run.status}")
        row = _to_row(replace(run, ended_at=run.ended_at or datetime.now(UTC)))
        with self._database.begin() as connection:
            changed = connection.execute(_running(run.run_id).values(row)).rowcount
        if not changed:
            raise InputError(f"run {run.run_id} has ended already as {self.get_run(run.run_id).status}")

    def get_run(self, run_id: str) -> RunRecord:
        """The run of that id, or of the one id that begins so.

        Raises:
            UnknownNameError: No id begins so; the hint gives the nearest.
            InputError: Several do.
        """
        if self._database.exists():
            with self._database.begin() as connection:
                matches = or_(RUNS.c.run_id == run_id, RUNS.c.run_id.startswith(run_id, autoescape=True))
                rows = connection.execute(select(RUNS).where(matches).order_by(RUNS.c.run_id)).mappings().all()
                known = [] if rows else connection.scalars(select(RUNS.c.run_id)).all()
        else:
            rows, known = [], []
        if not run_id or not rows:
            raise UnknownNameError("run", run_id, known, where=f"workspace {self.root}")
        exact = [row for row in rows if row["run_id"] == run_id]
        if not exact and len(rows) > 1:
            first = ", ".join(row["run_id"] for row in rows[:3])
            raise InputError(f"{len(rows)} runs begin with {run_id!r}", hint=f"give more of the id: {first} ...")
        return self._current((exact or rows)[0])

    def list_runs(self, limit: int | None = None) -> list[RunRecord]:
        """The runs, the newest first."""
        if not self._database.exists():
            return []
        query = select(RUNS).order_by(RUNS.c.created_at.desc(), RUNS.c.run_id.desc()).limit(limit)
        with self._database.begin() as connection:
            rows = connection.execute(query).mappings().all()
        return [self._current(row) for row in rows]

    def delete_run(self, run_id: str) -> int:
        """Remove a run and its folder, and return how many bytes its files had.

        Raises:
            InputError: The run is going on.
            UnsafeFileError: Its folder lies elsewhere, through a link. Nothing was removed.
        """
        run = self.get_run(run_id)
        if not run.status.is_finished:
            raise InputError(f"run {run.run_id} is going on", hint="end its process first")
        folder = self.run_dir(run.run_id)
        freed = self.run_bytes(run.run_id)
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise InputError(f"{folder} cannot be removed: {error.strerror}") from None
        # The row goes last: should the folder resist, the run is still there to be deleted again.
        with self._database.begin() as connection:
            connection.execute(delete(RUNS).where(RUNS.c.run_id == run.run_id))
        return freed

    def _current(self, row: RowMapping) -> RunRecord:
        """The run in the row, after settling one whose process is gone."""
        run = run_from_json({column.name: row[column.name] for column in _RECORD_COLUMNS})
        if run.status.is_finished:
            return run
        owner = Owner(host=row["host"], pid=row["pid"], started_at=row["process_started_at"])
        if not owner.is_gone():
            return run
        # When it ended nobody saw, so ended_at stays open.
        with self._database.begin() as connection:
            values = {"status": RunStatus.KILLED.value, "error": _PROCESS_GONE}
            connection.execute(_running(run.run_id).values(values))
            settled = connection.execute(select(RUNS).where(RUNS.c.run_id == run.run_id)).mappings().one_or_none()
        # It may have ended properly, or been deleted, since the row was read.
        if settled is None:
            return replace(run, status=RunStatus.KILLED, error=dict(_PROCESS_GONE))
        return run_from_json({column.name: settled[column.name] for column in _RECORD_COLUMNS})

    # --- files -------------------------------------------------------------------------------------------------------

    def run_dir(self, run_id: str) -> Path:
        """The folder of a run's files.

        Raises:
            UnsafeFileError: The id, or a link, leads out of it.
        """
        runs = self.root / "runs"
        folder = resolve_inside(runs, run_id)
        if folder is None or folder != runs.resolve() / run_id or folder == runs.resolve():
            raise UnsafeFileError(f"{runs / run_id} leads elsewhere", hint="replace the link by the folder itself")
        return runs / run_id

    def run_bytes(self, run_id: str) -> int:
        """The length of all files of a run."""
        files = (path for path in self.run_dir(run_id).rglob("*") if path.is_file() and not path.is_symlink())
        return sum(path.stat().st_size for path in files)

    def write_tasks(self, run_id: str, tasks: Iterable[TaskRecord]) -> None:
        """Keep the task records with the run, in place of those kept before. The file is whole or absent."""
        from nodewise.workspace import tasks as parquet

        parquet.write_tasks(self._tasks_path(run_id), tasks)

    def read_tasks(self, run_id: str) -> list[TaskRecord]:
        """The task records of a run; none if none were kept.

        Raises:
            CorruptFileError: The file is damaged.
        """
        from nodewise.workspace import tasks as parquet

        return parquet.read_tasks(self._tasks_path(run_id))

    def _tasks_path(self, run_id: str) -> Path:
        return self.run_dir(run_id) / "tasks.parquet"

    def write_usage(self, run_id: str, samples: Iterable[UsageSample]) -> None:
        """Keep what the nodes used over time, in place of what was kept before. The file is whole or absent."""
        from nodewise.workspace import usage as parquet

        parquet.write_usage(self._usage_path(run_id), samples)

    def read_usage(self, run_id: str) -> list[UsageSample]:
        """What the nodes of a run used over time; nothing if nothing was kept.

        Raises:
            CorruptFileError: The file is damaged.
        """
        from nodewise.workspace import usage as parquet

        return parquet.read_usage(self._usage_path(run_id))

    def _usage_path(self, run_id: str) -> Path:
        return self.run_dir(run_id) / "usage.parquet"


def _to_row(run: RunRecord) -> dict[str, Any]:
    row = run_to_json(run)
    cluster = run.cluster
    row |= {"engine": cluster.engine, "nodes": cluster.nodes, "node_type": cluster.node_type}
    return row


def _running(run_id: str) -> Update:
    return update(RUNS).where(RUNS.c.run_id == run_id, RUNS.c.status == RunStatus.RUNNING.value)
