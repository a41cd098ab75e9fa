"""``nodewise run``: a program on a session's cluster, with what it did as stages and tasks of the run."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from nodewise.clusters.daemons import log_tail
from nodewise.core.errors import ProgramFailedError
from nodewise.core.secrets import redact_arguments
from nodewise.core.units import format_bytes
from nodewise.jobs.command import Program
from nodewise.runs.launch import Launch, NotebookLaunch, Outcome, ProgramLaunch, RayLaunch, Surroundings
from nodewise.runs.node_cpu import NodeCpu
from nodewise.runs.program import SIGNALLED, Output, ProgramEnd, running
from nodewise.runs.session import Session
from nodewise.runs.spark_program import SparkLaunch
from nodewise.specs.codec import to_json
from nodewise.specs.results import CommandResult
from nodewise.specs.run import StageRecord

__all__ = ["STDERR_LOG", "STDOUT_LOG", "run_program"]

STDOUT_LOG, STDERR_LOG = "stdout.log", "stderr.log"

_LAUNCHES: dict[str, Callable[[Program, Surroundings], Launch]] = {
    "spark": SparkLaunch,
    "ray": RayLaunch,
    "notebook": NotebookLaunch,
    "program": ProgramLaunch,
}


def run_program(
    session: Session, program: Program, folder: Path, *, stdout: BinaryIO, stderr: BinaryIO
) -> CommandResult:
    """Run a program on the cluster of a session that is not connected, and keep what is known of it in the session.

    When this returns or raises, nothing of the program is left.

    Args:
        folder: For its logs and what else is kept of it; the program finds it as ``NODEWISE_OUTPUT``.
        stdout, stderr: Take its output as it comes.

    Raises:
        ProgramFailedError: It ended with another status than 0.
        OSError: Its output could not be passed on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    link = session.hold.link
    around = Surroundings(cluster=session.run.cluster, access=link.access if link else None, folder=folder)
    launch = _LAUNCHES[program.kind](program, around)
    output = Output(stdout=stdout, stderr=stderr, stdout_path=folder / STDOUT_LOG, stderr_path=folder / STDERR_LOG)
    environment = {**os.environ, **around.environment, **launch.environment}
    work = _Work(session, launch, around)
    kills_before = session.hold.memory_kills()
    end: ProgramEnd | None = None
    try:
        with running(launch.command, environment, program.folder, output) as process:
            end = process.wait(work.look)
    finally:
        seconds = work.seconds
        # What happened is kept also of a program that was cut off; its end is the more important news then.
        outcome = launch.outcome(end, work.started_at) if end is not None else _salvage(launch, work.started_at)
        _keep(session, program, work, outcome, seconds)
    result = CommandResult(
        run_id=session.run.run_id,
        kind=program.kind,
        command=tuple(redact_arguments(program.command)),
        exit_status=end.exit_status,
        seconds=seconds,
        start_up_seconds=session.start_up_s,
        stages=len(outcome.stages),
        tasks=len(outcome.tasks),
        failed_tasks=outcome.failed_tasks,
        stdout_path=str(output.stdout_path),
        stderr_path=str(output.stderr_path),
        event_log_path=_text(outcome.event_log_path),
        notebook_path=_text(outcome.notebook_path),
        cluster=session.run.cluster_name,
        engine=session.run.cluster.engine,
        nodes=session.run.cluster.nodes,
        notes=outcome.notes,
    )
    session.result["command"] = to_json(result)
    if end.exit_status:
        raise _failure(session, program, result, session.hold.memory_kills() - kills_before)
    return result


class _Work:
    """When the program's start is over, and what the nodes have used since."""

    def __init__(self, session: Session, launch: Launch, around: Surroundings) -> None:
        self._session = session
        self._launch = launch
        self._around = around
        self._is_up = False
        self._began = time.perf_counter()
        self.started_at = time.time()
        self.cpu = NodeCpu(around.places)
        session.start_up_s = session.hold.cluster_s

    def look(self) -> None:
        """Hold the nodes to their share from when the program is up."""
        if not self._is_up and self._launch.is_up():
            self._is_up = True
            self._session.begin_work()
            self.cpu = NodeCpu(self._around.places)
            self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began


def _salvage(launch: Launch, started_at: float) -> Outcome:
    # Of files that were cut off anything may be missing.
    with suppress(Exception):
        return launch.outcome(None, started_at)
    return Outcome()


def _keep(session: Session, program: Program, work: _Work, outcome: Outcome, seconds: float) -> None:
    session.tasks += work.cpu.shared(outcome.tasks) if outcome.shares_cpu else outcome.tasks
    # A program that ran without its engine is a stage all the same, or a comparison would have nothing to show.
    whole = StageRecord(name=program.name, wall_s=seconds, records=0, started_at=work.started_at)
    session.stages += outcome.stages or [whole]


def _failure(session: Session, program: Program, result: CommandResult, memory_kills: int) -> ProgramFailedError:
    logs = [result.stderr_path, result.stdout_path]
    if program.kind in ("spark", "ray"):
        # Both give the script's errors to its standard output.
        logs.reverse()
    log = next((path for path in logs if log_tail(Path(path))), logs[0])
    last = log_tail(Path(log)) or "it wrote nothing"
    message = f"{program.name} {_ending(result.exit_status)}: {last}"
    limit = session.run.cluster.limits.memory_bytes
    if memory_kills and limit is not None:
        message = f"{message} ({memory_kills} processes were ended at the node's memory limit of {format_bytes(limit)})"
    return ProgramFailedError(message, result, hint=f"its output: {log}")


def _ending(exit_status: int) -> str:
    with suppress(ValueError):
        return f"was ended by {signal.Signals(exit_status - SIGNALLED).name}"
    return f"ended with exit status {exit_status}"


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
