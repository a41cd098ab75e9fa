"""One run: a cluster is started, jobs are carried out on it, the cluster is stopped, and what happened is kept."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nodewise.core.errors import NodewiseError
from nodewise.core.progress import Progress
from nodewise.engines.base import Engine, GangFunction, TaskFunction, TaskResult
from nodewise.engines.registry import create_engine
from nodewise.metering.cost import Price, cost_usd
from nodewise.runs.machine import provenance
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.workspace.store import Workspace

__all__ = ["Session", "Stage", "open_session"]

WATCH_S = 0.2


class Session:
    """A started cluster within a run; made by :func:`open_session`."""

    def __init__(self, run: RunRecord, folder: Path, engine: Engine, progress: Progress) -> None:
        self.run = run
        self.folder = folder
        self.result: dict[str, Any] = {}
        self.accuracy: float | None = None
        self.start_up_s = 0.0
        self.stages: list[StageRecord] = []
        self.tasks: list[TaskRecord] = []
        self._engine = engine
        self._progress = progress
        self._began = 0.0

    @property
    def last_stage(self) -> StageRecord:
        return self.stages[-1]

    def start(self, modules: Sequence[str]) -> None:
        """Start the cluster and import the modules on it; from here on time is billed."""
        nodes = self.run.cluster.nodes
        self._progress.stage(f"start {self._engine.name}, {nodes} node{'s' if nodes > 1 else ''}")
        self._began = time.perf_counter()
        self._engine.start(modules)
        self.start_up_s = self.cluster_s
        self._progress.done()

    def stop(self) -> None:
        """Stop the cluster."""
        self._engine.stop()

    @property
    def cluster_s(self) -> float:
        """Billed seconds so far."""
        return time.perf_counter() - self._began if self._began else 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Meter a part of the run: its wall time is that of the block."""
        stage = Stage(name, self._engine, self._progress)
        began = time.perf_counter()
        try:
            yield stage
        finally:
            wall_s = time.perf_counter() - began
            self.tasks += stage.tasks
        record = StageRecord(name=name, wall_s=wall_s, records=stage.records, num_tasks=len(stage.tasks))
        self.stages.append(record)
        self._progress.done(f"{record.records_per_s:,.0f} records/s")


class Stage:
    """Hands one job's functions to the engine and keeps the records of its tasks; made by :meth:`Session.stage`."""

    def __init__(self, name: str, engine: Engine, progress: Progress) -> None:
        self.name = name
        self.tasks: list[TaskRecord] = []
        self.engine = engine
        self._progress = progress

    @property
    def records(self) -> int:
        return sum(task.records for task in self.tasks)

    def map(self, function: TaskFunction, partitions: Sequence[Any]) -> list[Any]:
        """The function's value for every partition, in their order."""
        return self.gather(self.engine.map(self.name, function, partitions), len(partitions))

    def gather(self, results: Generator[TaskResult], num_tasks: int) -> list[Any]:
        """As :meth:`map`, of tasks that the caller had the engine start."""
        values: dict[int, Any] = {}
        self._follow(results, num_tasks, values.__setitem__)
        return [values[index] for index in range(num_tasks)]

    def each(self, function: TaskFunction, partitions: Sequence[Any], take: Callable[[int, Any], None]) -> None:
        """Hand the number of every partition and the function's value for it to ``take``, as they come.

        If ``take`` raises, no more tasks are handed out.
        """
        self._follow(self.engine.map(self.name, function, partitions), len(partitions), take)

    def _follow(self, results: Generator[TaskResult], num_tasks: int, take: Callable[[int, Any], None]) -> None:
        self._progress.stage(self.name, num_tasks)
        with closing(results):
            for result in results:
                self.tasks.append(result.record)
                take(result.index, result.value)
                self._progress.advance()

    def gang(self, function: GangFunction, payload: Any, *, steps: int, log: Path) -> list[Any]:
        """The function's value on every node, in order of rank.

        Args:
            steps: How many lines the function writes to ``log``, one after each step, for the progress display.
        """
        self._progress.stage(self.name, steps)
        with _following(log, lambda line: self._progress.advance(detail=_describe_epoch(line))):
            results = self.engine.gang(self.name, function, payload)
        self.tasks += [result.record for result in results]
        return [result.value for result in results]


@contextmanager
def open_session(
    workspace: Workspace,
    command: str,
    cluster: ClusterSpec,
    progress: Progress,
    *,
    modules: Sequence[str] = (),
    price: Price | None = None,
    scenario: str | None = None,
    experiment: str | None = None,
    tags: dict[str, str] | None = None,
) -> Iterator[Session]:
    """Begin a run, start its cluster, and when the block ends stop it and keep the run.

    However the block ends, no process of the cluster is left and the run is in the workspace: FINISHED, FAILED with its
    reason, or KILLED if it was interrupted.

    Args:
        modules: What the tasks will need first; importing them belongs to the cluster's start.

    Yields:
        A session whose ``result`` and ``accuracy`` the block fills in.
    """
    run = workspace.create_run(
        command, cluster, scenario=scenario, experiment=experiment, tags=tags, provenance=provenance()
    )
    session = Session(run, workspace.run_dir(run.run_id), create_engine(cluster), progress)
    status, error = RunStatus.FINISHED, None
    try:
        session.start(modules)
        yield session
    except BaseException as raised:
        status, error = _judge(raised)
        raise
    finally:
        try:
            session.stop()
        finally:
            _keep(workspace, session, status, error, price)


def _keep(
    workspace: Workspace,
    session: Session,
    status: RunStatus,
    error: dict[str, str | None] | None,
    price: Price | None,
) -> None:
    """Store what happened in the run, and how it ended."""
    run, cluster_s = session.run, session.cluster_s
    workspace.write_tasks(run.run_id, session.tasks)
    session.run = replace(
        run,
        status=status,
        cluster_s=cluster_s,
        start_up_s=session.start_up_s,
        cost_usd=None if price is None else cost_usd(price.usd_per_node_hour, run.cluster.nodes, cluster_s),
        accuracy=session.accuracy,
        stages=tuple(session.stages),
        error=error,
        result=session.result,
    )
    workspace.finish_run(session.run)


def _judge(raised: BaseException) -> tuple[RunStatus, dict[str, str | None]]:
    if isinstance(raised, NodewiseError):
        return RunStatus.FAILED, raised.to_json()
    if isinstance(raised, Exception):
        return RunStatus.FAILED, {"code": "internal", "message": f"{type(raised).__name__}: {raised}", "hint": None}
    return RunStatus.KILLED, {"code": "interrupted", "message": "interrupted by the user", "hint": "run it again"}


@contextmanager
def _following(path: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Call ``tell`` with every whole line that somebody else writes to the file during the block."""
    over = threading.Event()

    def follow() -> None:
        told = 0
        while True:
            last_look = over.wait(WATCH_S)
            with suppress(OSError):
                lines = path.read_text().split("\n")[:-1]
                # A gang that was started again begins a new file.
                told = told if told <= len(lines) else 0
                for line in lines[told:]:
                    tell(line)
                told = len(lines)
            if last_look:
                return

    follower = threading.Thread(target=follow, name="follow-epochs", daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()


def _describe_epoch(line: str) -> str:
    epoch = json.loads(line)
    accuracy = epoch["test_accuracy"] if epoch["test_accuracy"] is not None else epoch["train_accuracy"]
    return f"loss {epoch['loss']:.3f}, accuracy {accuracy:.1%}"
