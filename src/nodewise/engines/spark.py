"""Engine ``spark``: an application of pyspark against a local, an emulated or any other master."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from nodewise.core.errors import InputError, NodewiseError
from nodewise.core.java import require_java
from nodewise.core.spark_classes import java_options, spark_conf_dir, spark_home
from nodewise.engines.attempts import Attempts, first_failure, has_lost_member
from nodewise.engines.base import MAX_TASK_FAILURES, CrewFunction, GangFunction, TaskFunction, TaskResult
from nodewise.engines.crew import CrewPlan
from nodewise.engines.spark_crew import run_crew
from nodewise.engines.spark_stage import POLL_S, ListParam, SparkJob, SparkStage, node_name
from nodewise.engines.worker import run_member, warm_up
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.gang import GangContext
from nodewise.specs.place import NODE_VARIABLE

__all__ = ["SparkEngine"]

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0
GRACE_S = 5.0

LOG_CONFIG = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
"""


class SparkEngine:
    """A Spark application on an emulated cluster, on any other one, or, one node without limits, on ``local[cores]``.

    The driver's JVM is ended with the engine, so that the next one starts as cold as this one did.
    """

    name = "spark"

    def __init__(self, cluster: ClusterSpec, access: ClusterAccess | None = None) -> None:
        self._cluster = cluster
        self._access = access
        self._folder: Path | None = None
        self._gateway: Any = None
        self._context: Any = None

    def start(self, modules: Sequence[str] = ()) -> None:
        require_java()
        home = spark_home()
        self._folder = Path(tempfile.mkdtemp(prefix="nodewise-spark-"))
        environment = {"PYSPARK_PYTHON": sys.executable, "SPARK_HOME": str(home)}
        master = self._cluster.address or f"local[{self._cluster.cores_per_node}]"
        if self._access is not None:
            environment |= self._access.environment
            master = str(self._access.address)
        elif master.startswith("local"):
            environment |= self._local_environment(self._folder)
        if self._cluster.emulated:
            environment |= _fast_start(Path(environment["SPARK_CONF_DIR"]))
        settings = self._settings()
        self._context = self._connect(self._folder, _with_attempts(master), settings, environment)
        # The first job waits until all nodes have registered, so this returns when the cluster is whole.
        slots = self._slots_now()
        self._context.parallelize(range(slots), slots).foreach(lambda _slot: warm_up(modules))

    def _slots_now(self) -> int:
        if self._access is None or not self._access.is_autoscaled:
            return self._cluster.slots
        return len(self._access.places) * self._cluster.cores_per_node

    def _settings(self) -> dict[str, str]:
        settings = {
            "spark.app.name": "nodewise",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            # The process of a cancelled task ends when Spark looks, every two seconds; by default it has two more.
            "spark.python.task.killTimeout": "0",
            "spark.task.maxFailures": str(MAX_TASK_FAILURES),
        }
        # On a cluster that autoscales there is no number of cores to wait for, and none not to exceed.
        if self._access is not None and not self._access.is_autoscaled:
            settings |= {
                "spark.cores.max": str(self._cluster.slots),
                "spark.scheduler.maxRegisteredResourcesWaitingTime": f"{START_TIMEOUT_S:.0f}s",
                "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            }
        return settings

    def _local_environment(self, folder: Path) -> dict[str, str]:
        """What ``local[...]`` reads before there is a context: where to write, and how little to log."""
        (folder / "log4j2.properties").write_text(LOG_CONFIG)
        (folder / "spark-defaults.conf").write_text(f"spark.local.dir {folder / 'local'}\n")
        return {
            NODE_VARIABLE: "node-0",
            "OMP_NUM_THREADS": str(self._cluster.cores_per_node),
            "SPARK_CONF_DIR": str(folder),
            "SPARK_LOCAL_IP": HOST,
        }

    def _connect(self, folder: Path, master: str, settings: dict[str, str], environment: dict[str, str]) -> Any:
        from pyspark import SparkConf, SparkContext
        from pyspark.java_gateway import launch_gateway

        log_path = folder / "driver.log"
        with _environment(environment), _own_ctrl_c(), log_path.open("wb") as log, warnings.catch_warnings():
            # Of pandas 3 itself, when it first hands a value to Java; nothing here uses pandas through Spark.
            warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
            try:
                self._gateway = launch_gateway(popen_kwargs={"stdout": log, "stderr": log})
                conf = SparkConf().setMaster(master).setAll(list(settings.items()))
                return SparkContext(conf=conf, gateway=self._gateway)
            except NodewiseError:
                raise
            except Exception as error:
                lines = log_path.read_text(errors="replace").strip().splitlines()
                reason = lines[-1] if lines else str(error).splitlines()[0]
                raise NodewiseError(f"Spark did not start with master {master}: {reason}") from error

    def map(self, stage: str, function: TaskFunction, partitions: Sequence[Any]) -> Generator[TaskResult]:
        if partitions:
            yield from self.keep(stage, function, partitions, persist=False).results()

    def keep(self, stage: str, function: TaskFunction, partitions: Sequence[Any], *, persist: bool) -> SparkStage:
        """As :meth:`map`, of at least one partition; what it comes to stays with Spark for more actions."""
        return SparkStage(self._context, stage, function, partitions, persist=persist)

    def gang(
        self, stage: str, function: GangFunction, payload: Any, max_restarts: int = MAX_TASK_FAILURES - 1
    ) -> list[TaskResult]:
        self._require_fixed_size(stage)
        nodes = self._cluster.nodes
        ranks = self._context.parallelize(range(nodes), nodes).barrier()
        attempts = Attempts(stage, max_restarts + 1)
        while True:
            # Spark does not repeat a barrier stage that is the last of its job, so the driver does.
            cores, retries = self._cluster.cores_per_node, attempts.retries(0)
            # As in map: of a member that fails we hear while the others, which wait for it, still run.
            finished = self._context.accumulator([], ListParam())
            member = partial(_run_member, function, payload, stage, finished, cores, retries)
            job = SparkJob(ranks.mapPartitions(member).collect)
            try:
                while True:
                    ended = job.ended()
                    failure = first_failure(finished.value)
                    if failure is not None:
                        raise failure
                    if ended:
                        break
                    job.wait(POLL_S)
            finally:
                job.cancel(self._context)
            if job.error is None and not has_lost_member(finished.value):
                return sorted(finished.value, key=lambda result: result.index)
            attempts.lose([0])

    def crew(
        self, stage: str, function: CrewFunction, payload: Any, members_per_node: int = 1
    ) -> Generator[TaskResult]:
        self._require_fixed_size(stage)
        return run_crew(self._context, stage, function, payload, CrewPlan(self._cluster, members_per_node))

    def _require_fixed_size(self, stage: str) -> None:
        if self._access is not None and self._access.is_autoscaled:
            raise InputError(
                f"{stage} needs all nodes at once, which Spark does not do on a cluster that autoscales",
                hint="run it on a cluster with a fixed number of workers, or with engine ray",
            )

    def stop(self) -> None:
        if self._context is not None:
            # A driver that is gone already cannot be asked to stop.
            with contextlib.suppress(Exception):
                self._context.stop()
            self._context = None
        if self._gateway is not None:
            _end_gateway(self._gateway)
            self._gateway = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _fast_start(conf_dir: Path) -> dict[str, str]:
    """What spark-submit hands to its JVM, which runs before any setting of the application is read.

    The settings in the folder are named one by one, for the classes that are kept fit no other ``SPARK_CONF_DIR``.
    """
    ours, users = java_options(conf_dir / "log4j2.properties"), os.environ.get("SPARK_SUBMIT_OPTS", "")
    defaults, arguments = conf_dir / "spark-defaults.conf", os.environ.get("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
    return {
        "PYSPARK_SUBMIT_ARGS": f"--properties-file {shlex.quote(str(defaults))} {arguments}",
        "SPARK_CONF_DIR": str(spark_conf_dir()),
        "SPARK_SUBMIT_OPTS": f"{ours} {users}",
    }


def _with_attempts(master: str) -> str:
    """``local``, ``local[4]`` or ``local[*]`` with the number of attempts, which local mode reads from nowhere else."""
    threads = re.fullmatch(r"local(?:\[(\d+|\*)\])?", master)
    return f"local[{threads.group(1) or 1},{MAX_TASK_FAILURES}]" if threads else master


def _run_member(
    function: GangFunction, payload: Any, stage: str, finished: Any, threads: int, retries: int, _ranks: Iterator[int]
) -> Iterator[None]:
    from pyspark import BarrierTaskContext

    context = BarrierTaskContext.get()
    gang = _SparkGang(context, threads)
    result = run_member(function, payload, gang, stage=stage, node=node_name(), retries=retries)
    finished.add([result])
    return iter(())


class _SparkGang(GangContext):
    """Members of a barrier stage."""

    def __init__(self, context: Any, threads: int) -> None:
        infos = context.getTaskInfos()
        self.rank = context.partitionId()
        self.world_size = len(infos)
        self.threads = threads
        self.host = infos[self.rank].address.rpartition(":")[0]
        self._context = context

    def all_gather(self, message: str) -> list[str]:
        messages: list[str] = self._context.allGather(message)
        return messages


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    # pyspark hands its own environment to the JVM and offers no other way.
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def _own_ctrl_c() -> Iterator[None]:
    # A new SparkContext takes SIGINT for itself; what Ctrl-C means is for the caller to say.
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _end_gateway(gateway: Any) -> None:
    """End the driver's JVM. pyspark keeps one for the life of the process and has no call for this."""
    from pyspark import SparkContext

    with contextlib.suppress(Exception):
        gateway.shutdown()
    if gateway.proc is not None:
        gateway.proc.stdin.close()
        with contextlib.suppress(psutil.NoSuchProcess):
            _end(psutil.Process(gateway.proc.pid))
        gateway.proc.wait()
    SparkContext._gateway = None
    SparkContext._jvm = None


def _end(process: psutil.Process) -> None:
    """End a process and its children: first asked, then killed."""
    family = [*process.children(recursive=True), process]
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for one in family:
            with contextlib.suppress(psutil.Error):
                ask(one)
        _, family = psutil.wait_procs(family, timeout=GRACE_S)
