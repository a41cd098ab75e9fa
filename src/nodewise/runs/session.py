"""One run: a cluster is started, jobs are carried out on it, the cluster is stopped, and what happened is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from nodewise.billing.budgets import enforce_budgets
from nodewise.core.errors import NodewiseError
from nodewise.core.progress import Progress
from nodewise.core.secrets import redact, secret_values
from nodewise.core.spark_classes import keep_classes
from nodewise.engines.base import CrewFunction, Engine, GangFunction, TaskFunction, TaskResult
from nodewise.engines.registry import create_engine
from nodewise.metering.cost import cost_usd, price_cluster
from nodewise.metering.pricing import Pricing
from nodewise.runs.epoch_log import telling_epochs
from nodewise.runs.hold import ClusterHold
from nodewise.runs.machine import provenance
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.tracking.facts import JOBS
from nodewise.tracking.record import record_run
from nodewise.workspace.store import Workspace

__all__ = ["Session", "Stage", "open_session"]


class Session:
    """A started cluster within a run; made by :func:`open_session`."""

    def __init__(
        self,
        run: RunRecord,
        workspace: Workspace,
        pricing: Pricing | None,
        progress: Progress,
        *,
        connect: bool = True,
    ) -> None:
        self.run = run
        self.folder = workspace.run_dir(run.run_id)
        self.result: dict[str, Any] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.accuracy: float | None = None
        self.start_up_s = 0.0
        self.stages: list[StageRecord] = []
        self.tasks: list[TaskRecord] = []
        self.hold = ClusterHold(workspace, run, pricing, job_server=not connect)
        self._connect = connect
        self._progress = progress
        self._engine: Engine | None = None

    @property
    def emulation_tier(self) -> str | None:
        """How far the emulated nodes are kept apart; None where there are none."""
        return None if self.hold.tier is None else self.hold.tier.value

    @property
    def last_stage(self) -> StageRecord:
        return self.stages[-1]

    def start(self, modules: Sequence[str]) -> None:
        """Start the cluster and import the modules on it; from then on time is billed."""
        cluster, nodes = self.run.cluster, self.run.cluster.nodes
        if cluster.engine == "spark" and cluster.emulated:
            keep_classes(self._progress.note)
        self._progress.stage(f"start {cluster.engine}, {nodes} node{'s' if nodes > 1 else ''}")
        access = self.hold.open()
        if self._connect:
            self._engine = create_engine(cluster, access)
            self._engine.start(modules)
            self.begin_work()
        self._progress.done()

    def begin_work(self) -> None:
        """The start is over. Called by whoever runs a program on a cluster that the session is not connected to."""
        self.hold.begin_work()
        self.start_up_s = self.hold.cluster_s

    def disconnect(self) -> None:
        """End the engine's own part; the cluster stays."""
        if self._engine is not None:
            self._engine.stop()

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Meter a part of the run: its wall time is that of the block."""
        if self._engine is None:
            raise RuntimeError("the session is not started")
        stage = Stage(name, self._engine, self._progress)
        started_at, began, kills_before = time.time(), time.perf_counter(), self.hold.memory_kills()
        try:
            yield stage
        except BaseException as raised:
            explained = self.hold.explain(raised, self.hold.memory_kills() - kills_before)
            if explained is not raised:
                raise explained from raised
            raise
        finally:
            wall_s = time.perf_counter() - began
            self.tasks += stage.tasks
        kills = self.hold.memory_kills() - kills_before
        record = StageRecord(
            name=name,
            wall_s=wall_s,
            records=stage.records,
            num_tasks=len(stage.tasks),
            started_at=started_at,
            memory_kills=kills,
        )
        if kills:
            self._progress.note(f"{name}: the kernel ended {kills} processes at their node's memory limit")
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

    def gang(self, function: GangFunction, payload: Any, *, steps: int, log: Path, max_restarts: int) -> list[Any]:
        """The function's value on every node, in order of rank.

        Args:
            max_restarts: How often all of them start again when one is lost.
            steps: How many lines the function writes to ``log``, one after each step, for the progress display.
        """
        self._progress.stage(self.name, steps)
        with telling_epochs(log, self._progress):
            results = self.engine.gang(self.name, function, payload, max_restarts)
        self.tasks += [result.record for result in results]
        return [result.value for result in results]

    def crew(
        self, function: CrewFunction, payload: Any, *, members_per_node: int = 1, steps: int, log: Path
    ) -> list[Any]:
        """As :meth:`gang`, of members that go on without one another: so many on every node."""
        values: dict[int, Any] = {}
        self._progress.stage(self.name, steps)
        members = self.engine.crew(self.name, function, payload, members_per_node)
        with telling_epochs(log, self._progress), closing(members):
            for result in members:
                self.tasks.append(result.record)
                values[result.index] = result.value
        return [values[rank] for rank in sorted(values)]


@contextmanager
def open_session(
    workspace: Workspace,
    command: str,
    cluster: ClusterSpec,
    progress: Progress,
    *,
    modules: Sequence[str] = (),
    pricing: Pricing | None = None,
    scenario: str | None = None,
    experiment: str | None = None,
    tags: dict[str, str] | None = None,
    cluster_name: str | None = None,
    connect: bool = True,
) -> Iterator[Session]:
    """Begin a run, start its cluster, and when the block ends stop it and keep the run.

    However the block ends, no process of the cluster is left and the run is in the workspace: FINISHED, FAILED with its
    reason, or KILLED if it was interrupted.

    Args:
        modules: What the tasks will need first; importing them belongs to the cluster's start.
        pricing: Which price of the node type applies; None: its list price.
        cluster_name: An all-purpose cluster to run on, which then stays up; None: one of the run's own.
        connect: Whether the session itself runs tasks there; False: a program will be handed to the cluster.

    Yields:
        A session whose ``jobs`` (their settings, by name), ``result`` and ``accuracy`` the block fills in.
    """
    for finding in enforce_budgets(workspace, tags or {}):
        progress.note(finding.message)
    run = workspace.create_run(
        command,
        cluster,
        scenario=scenario,
        experiment=experiment,
        tags=tags,
        cluster_name=cluster_name,
        provenance=provenance(),
    )
    session = Session(run, workspace, pricing, progress, connect=connect)
    status, error = RunStatus.FINISHED, None
    try:
        session.start(modules)
        yield session
    except BaseException as raised:
        explained = session.hold.explain(raised, 0)
        status, error = _judge(explained)
        if explained is not raised:
            raise explained from raised
        raise
    finally:
        try:
            session.disconnect()
        finally:
            samples = session.hold.close()
            cluster_s = session.hold.cluster_s
            workspace.write_tasks(run.run_id, session.tasks)
            workspace.write_usage(run.run_id, samples)
            session.run = replace(
                run,
                status=status,
                emulation_tier=session.hold.tier,
                cluster_s=cluster_s,
                start_up_s=session.start_up_s,
                cost_usd=_cost_usd(run.cluster, pricing, session.hold.node_s(samples)),
                accuracy=session.accuracy,
                stages=tuple(session.stages),
                error=error,
                result=session.result,
                provenance={**run.provenance, JOBS: session.jobs},
            )
            workspace.finish_run(session.run)
            # The cluster is gone, so loading MLflow is not billed.
            record_run(workspace, session.run, progress)


def _cost_usd(cluster: ClusterSpec, pricing: Pricing | None, node_s: float) -> Decimal | None:
    price = price_cluster(cluster, pricing)
    return None if price is None else cost_usd(price.usd_per_node_hour, node_s)


def _judge(raised: BaseException) -> tuple[RunStatus, dict[str, str | None]]:
    if isinstance(raised, NodewiseError):
        return RunStatus.FAILED, _redacted(raised.to_json())
    if isinstance(raised, Exception):
        text = f"{type(raised).__name__}: {raised}"
        return RunStatus.FAILED, _redacted({"code": "internal", "message": text, "hint": None})
    return RunStatus.KILLED, {"code": "interrupted", "message": "interrupted by the user", "hint": "run it again"}


def _redacted(facts: dict[str, str | None]) -> dict[str, str | None]:
    known = secret_values(os.environ)
    return {key: redact(text, known=known) if text is not None else None for key, text in facts.items()}
