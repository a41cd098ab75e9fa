"""A Spark script through ``spark-submit``; its event log tells when it is up and what it did."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.core.files import atomic_writer
from nodewise.core.secrets import redact, secret_values
from nodewise.engines.base import MAX_TASK_FAILURES
from nodewise.engines.spark import LOG_CONFIG
from nodewise.eventlogs.reader import read_application
from nodewise.eventlogs.records import stage_records, task_record
from nodewise.jobs.command import Program, spark_command
from nodewise.runs.launch import FIRST_NODE, Outcome, Surroundings
from nodewise.runs.program import ProgramEnd
from nodewise.specs.place import NODE_VARIABLE
from nodewise.specs.run import TaskRecord

__all__ = ["SparkLaunch"]

UP_TIMEOUT_S = 60.0
"""After so long the nodes are held to their share, whatever of the program is up."""
EVENT_LOGS = "eventlog"
_ADDED = b'{"Event":"SparkListenerExecutorAdded"'
_SETTINGS = b'{"Event":"SparkListenerEnvironmentUpdate"'


class SparkLaunch:
    """A Spark application; its stages and tasks are those of its event log, as far as that goes."""

    def __init__(self, program: Program, around: Surroundings) -> None:
        self._around = around
        self._log_dir = around.folder / EVENT_LOGS
        self._log_dir.mkdir(parents=True, exist_ok=True)
        self._earlier = set(self._log_dir.iterdir())
        self._deadline = time.monotonic() + UP_TIMEOUT_S
        cluster, access = around.cluster, around.access
        self.environment = {"PYSPARK_PYTHON": sys.executable}
        self._settings = {"spark.ui.enabled": "false", "spark.ui.showConsoleProgress": "false"}
        if access is not None:
            self._master = str(access.address)
            self.environment = {}
            # One that autoscales has as many nodes as Spark asks for.
            self._settings |= (
                {}
                if access.is_autoscaled
                else {
                    "spark.cores.max": str(cluster.slots),
                    "spark.scheduler.maxRegisteredResourcesWaitingTime": f"{UP_TIMEOUT_S:.0f}s",
                    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
                }
            )
        elif cluster.address is not None:
            self._master = cluster.address
            self._settings |= {"spark.cores.max": str(cluster.slots)}
        else:
            self._master = f"local[{cluster.cores_per_node},{MAX_TASK_FAILURES}]"
            self.environment |= {NODE_VARIABLE: FIRST_NODE, "SPARK_LOCAL_IP": "127.0.0.1"}
            if "SPARK_CONF_DIR" not in os.environ:
                # Else Spark tells of each task, as it does not on a cluster of nodewise either.
                (self._log_dir.parent / "log4j2.properties").write_text(LOG_CONFIG)
                self.environment["SPARK_CONF_DIR"] = str(self._log_dir.parent)
        home = around.environment.get("SPARK_HOME") or os.environ.get("SPARK_HOME") or _pyspark_home()
        self.command = spark_command(program, Path(home), self._master, self._settings, self._log_dir)

    def is_up(self) -> bool:
        """Whether all executors have registered, which Spark writes to its log at once; or it took too long."""
        if time.monotonic() > self._deadline:
            return True
        wanted = max(1, len(self._around.places))
        # Spark renames its log at the end.
        with suppress(FileNotFoundError):
            log = self._log()
            return log is not None and log.read_bytes().count(_ADDED) >= wanted
        return True

    def outcome(self, end: ProgramEnd | None, _started_at: float) -> Outcome:
        log = self._log()
        if log is None:
            return Outcome(notes=("Spark wrote no event log: the program did not come to start it",))
        _redact(log)
        try:
            application = read_application(log)
        except InputError as error:
            return Outcome(notes=(f"the event log cannot be read: {error.message}",), event_log_path=log)
        labels = {(stage.stage_id, stage.attempt): stage.label for stage in application.stages}
        tasks = [
            self._named(task_record(task, labels[task.stage_id, task.stage_attempt]))
            for task in application.tasks
            if task.outcome == "succeeded"
        ]
        notes = []
        master = application.properties.get("spark.master")
        if master is not None and master != self._master:
            notes.append(f"the script chose the master {master} itself, so it did not run on the cluster")
        if application.unreadable_lines:
            notes.append(f"{application.unreadable_lines} lines of the event log could not be read")
        if not application.is_complete and end is not None:
            notes.append("the event log lacks the application's end")
        return Outcome(
            stages=stage_records(application),
            tasks=tasks,
            failed_tasks=application.task_counts.failed,
            notes=tuple(notes),
            event_log_path=log,
            shares_cpu=True,
        )

    def _named(self, task: TaskRecord) -> TaskRecord:
        alone = self._around.access is None and self._around.cluster.emulated
        return replace(task, node=FIRST_NODE if alone else self._around.node_at(task.node))

    def _log(self) -> Path | None:
        """The log of the last application that the program started."""
        logs = [path for path in set(self._log_dir.iterdir()) - self._earlier if path.name[0] != "."]
        return max(logs, key=lambda path: path.stat().st_mtime, default=None)


def _redact(log: Path) -> None:
    """Take the secrets out of the settings in a log, where Spark has the command line of its process, too."""
    known = secret_values(os.environ)
    with atomic_writer(log) as whole, log.open("rb") as lines:
        for line in lines:
            if not line.startswith(_SETTINGS):
                whole.write(line)
                continue
            event = json.loads(line)
            for name, section in event.items():
                if isinstance(section, dict):
                    event[name] = {key: redact(str(value), known=known) for key, value in section.items()}
            whole.write(json.dumps(event, separators=(",", ":")).encode() + b"\n")


def _pyspark_home() -> str:
    found = find_spec("pyspark")
    if found is None or found.origin is None:
        raise InputError("there is no spark-submit", hint="pip install 'nodewise[spark]', or set SPARK_HOME")
    return str(Path(found.origin).parent)
