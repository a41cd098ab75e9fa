"""Engine ``spark``: pyspark against a local master, a standalone cluster emulated on this machine, or any master."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from nodewise.core.errors import MissingDependencyError, NodewiseError
from nodewise.engines.attempts import Attempts, first_failure, has_lost_member
from nodewise.engines.base import MAX_TASK_FAILURES, GangFunction, TaskFunction, TaskResult
from nodewise.engines.daemons import Daemons, end_processes, require_free_port, wait_for_text
from nodewise.engines.spark_stage import POLL_S, ListParam, SparkJob, SparkStage, node_name
from nodewise.engines.worker import NODE_VARIABLE, run_metered, warm_up
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.gang import GangContext

__all__ = ["SparkEngine", "require_java"]

MIN_JAVA = 17
HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0

# Nodes are JVMs that only hand work to Python: a small heap and the client compiler start in half the time.
DAEMON_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto"
EXECUTOR_JAVA = "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -XX:-UsePerfData -Xshare:auto"
DRIVER_JAVA = "-XX:+UseSerialGC -XX:-UsePerfData -Xshare:auto"

LOG_CONFIG = """\
rootLogger.level = warn
rootLogger.appenderRef.stderr.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.target = SYSTEM_ERR
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
logger.master.name = org.apache.spark.deploy.master
logger.master.level = info
"""


class SparkEngine:
    """One node is ``local[cores]``; several are a standalone master and one worker process per node, on loopback.

    The emulated cluster asks for a secret (``spark.authenticate``) that stands only in files that the user alone may
    read. The driver's JVM is ended with the engine, so that the next one starts as cold as this one did.
    """

    name = "spark"

    def __init__(self, cluster: ClusterSpec) -> None:
        self._cluster = cluster
        self._folder: Path | None = None
        self._daemons: Daemons | None = None
        self._gateway: Any = None
        self._context: Any = None

    def start(self, modules: Sequence[str] = ()) -> None:
        require_java()
        try:
            import pyspark
        except ImportError:
            raise MissingDependencyError(
                "engine 'spark' needs the package pyspark", hint="pip install 'nodewise[spark]'"
            ) from None
        require_free_port(HOST, self._cluster.port)
        self._folder = Path(tempfile.mkdtemp(prefix="nodewise-spark-"))
        environment = self._write_configuration(self._folder, Path(pyspark.__file__).parent)
        master = self._cluster.address
        if master is None and self._cluster.nodes > 1:
            master = self._start_cluster(self._folder, environment)
        elif master is None or master.startswith("local"):
            environment[NODE_VARIABLE] = "node-0"
            master = _local_master(master or f"local[{self._cluster.cores_per_node}]")
        self._context = self._connect(self._folder, master, environment)
        # The first job waits until all nodes have registered, so this returns when the cluster is whole.
        slots = self._cluster.slots
        self._context.parallelize(range(slots), slots).foreach(lambda _slot: warm_up(modules))

    def _write_configuration(self, folder: Path, home: Path) -> dict[str, str]:
        settings = {
            "spark.app.name": "nodewise",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.task.maxFailures": str(MAX_TASK_FAILURES),
            "spark.driver.extraJavaOptions": DRIVER_JAVA,
        }
        if self._cluster.emulated:
            settings |= {
                "spark.authenticate": "true",
                "spark.authenticate.secret": secrets.token_hex(32),
                "spark.cores.max": str(self._cluster.slots),
                "spark.driver.bindAddress": HOST,
                "spark.driver.host": HOST,
                "spark.executor.cores": str(self._cluster.cores_per_node),
                "spark.executor.extraJavaOptions": EXECUTOR_JAVA,
                "spark.executor.memory": "512m",
                "spark.local.dir": str(folder / "local"),
                "spark.master.rest.enabled": "false",
                "spark.scheduler.maxRegisteredResourcesWaitingTime": f"{START_TIMEOUT_S:.0f}s",
                "spark.scheduler.minRegisteredResourcesRatio": "1.0",
            }
        defaults = folder / "spark-defaults.conf"
        defaults.touch(mode=0o600)
        defaults.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        (folder / "log4j2.properties").write_text(LOG_CONFIG)
        return {
            "OMP_NUM_THREADS": str(self._cluster.cores_per_node),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_CONF_DIR": str(folder),
            "SPARK_DAEMON_JAVA_OPTS": DAEMON_JAVA,
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_HOME": str(home),
            **({"SPARK_LOCAL_IP": HOST} if self._cluster.emulated else {}),
        }

    def _start_cluster(self, folder: Path, environment: dict[str, str]) -> str:
        self._daemons = daemons = Daemons(folder)
        launch = [
            str(Path(environment["SPARK_HOME"]) / "bin" / "spark-class"),
            "org.apache.spark.deploy.master.Master",
        ]
        common = ["--host", HOST, "--webui-port", "0", "--properties-file", str(folder / "spark-defaults.conf")]
        inherited = {**os.environ, **environment}
        daemons.start("master", [*launch, "--port", str(self._cluster.port or 0), *common], inherited)
        url = wait_for_text(daemons.log_path("master"), rf"spark://{HOST}:\d+", daemons, START_TIMEOUT_S)
        launch[1] = "org.apache.spark.deploy.worker.Worker"
        for node in range(self._cluster.nodes):
            name = f"node-{node}"
            size = ["--cores", str(self._cluster.cores_per_node), "--memory", "1g", "--work-dir", str(folder / name)]
            daemons.start(name, [*launch, *size, *common, url], {**inherited, NODE_VARIABLE: name})
        return url

    def _connect(self, folder: Path, master: str, environment: dict[str, str]) -> Any:
        from pyspark import SparkConf, SparkContext
        from pyspark.java_gateway import launch_gateway

        with _environment(environment), _own_ctrl_c(), (folder / "driver.log").open("wb") as log:
            try:
                self._gateway = launch_gateway(popen_kwargs={"stdout": log, "stderr": log})
                return SparkContext(conf=SparkConf().setMaster(master), gateway=self._gateway)
            except NodewiseError:
                raise
            except Exception as error:
                lines = (folder / "driver.log").read_text(errors="replace").strip().splitlines()
                reason = lines[-1] if lines else str(error).splitlines()[0]
                raise NodewiseError(f"Spark did not start with master {master}: {reason}") from error

    def map(self, stage: str, function: TaskFunction, partitions: Sequence[Any]) -> Generator[TaskResult]:
        if partitions:
            yield from self.keep(stage, function, partitions, persist=False).results()

    def keep(self, stage: str, function: TaskFunction, partitions: Sequence[Any], *, persist: bool) -> SparkStage:
        """As :meth:`map`, of at least one partition; what it comes to stays with Spark for more actions."""
        return SparkStage(self._context, stage, function, partitions, persist=persist)

    def gang(self, stage: str, function: GangFunction, payload: Any) -> list[TaskResult]:
        nodes = self._cluster.nodes
        ranks = self._context.parallelize(range(nodes), nodes).barrier()
        attempts = Attempts(stage)
        while True:
            # Spark does not repeat a barrier stage that is the last of its job, so the driver does.
            cores, retries = self._cluster.cores_per_node, attempts.retries(0)
            # As in map: of a member that fails we hear while the others, which wait for it, still run.
            finished = self._context.accumulator([], ListParam())
            member = partial(_run_member, function, payload, stage, finished, cores, retries)
            job = SparkJob(ranks.mapPartitions(member).collect)
            while True:
                ended = job.ended()
                failure = first_failure(finished.value)
                if failure is not None:
                    self._context.cancelAllJobs()
                    job.wait()
                    raise failure
                if ended:
                    break
                job.wait(POLL_S)
            if job.error is None and not has_lost_member(finished.value):
                return sorted(finished.value, key=lambda result: result.index)
            attempts.lose([0])

    def stop(self) -> None:
        if self._context is not None:
            # A driver that is gone already cannot be asked to stop.
            with contextlib.suppress(Exception):
                self._context.stop()
            self._context = None
        if self._gateway is not None:
            _end_gateway(self._gateway)
            self._gateway = None
        if self._daemons is not None:
            self._daemons.stop()
            self._daemons = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _local_master(master: str) -> str:
    """``local``, ``local[4]`` or ``local[*]`` with the number of attempts, which local mode reads from nowhere else."""
    threads = re.fullmatch(r"local(?:\[(\d+|\*)\])?", master)
    return f"local[{threads.group(1) or 1},{MAX_TASK_FAILURES}]" if threads else master


def require_java() -> None:
    """Check that Spark will find a Java that is new enough.

    Raises:
        MissingDependencyError: There is none, or it is too old; the hint names the package to install.
    """
    hint = f"install Java {MIN_JAVA} or later, such as the package openjdk-{MIN_JAVA}-jre-headless, or set JAVA_HOME"
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not os.access(java, os.X_OK):
        place = f"JAVA_HOME is {home}, which has no bin/java" if home else "no java on the PATH"
        raise MissingDependencyError(f"engine 'spark' needs Java {MIN_JAVA} or later: {place}", hint=hint)
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(?:1\.)?(\d+)', shown)
    if found is None or int(found.group(1)) < MIN_JAVA:
        version = found.group(1) if found else "of unknown version"
        raise MissingDependencyError(f"engine 'spark' needs Java {MIN_JAVA} or later: {java} is {version}", hint=hint)


def _run_member(
    function: GangFunction, payload: Any, stage: str, finished: Any, threads: int, retries: int, _ranks: Iterator[int]
) -> Iterator[None]:
    from pyspark import BarrierTaskContext

    context = BarrierTaskContext.get()
    gang = _SparkGang(context, threads)
    result = run_metered(
        lambda meter: function(payload, meter, gang), stage=stage, index=gang.rank, node=node_name(), retries=retries
    )
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
            end_processes([psutil.Process(gateway.proc.pid)])
        gateway.proc.wait()
    SparkContext._gateway = None
    SparkContext._jvm = None
