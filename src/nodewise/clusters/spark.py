"""Spark's standalone master and its workers as the nodes of an emulated cluster."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from nodewise.clusters.daemons import require_free_port
from nodewise.clusters.software import START_TIMEOUT_S, ClusterSetting, Scaling
from nodewise.clusters.spark_demand import SparkDemand
from nodewise.core.spark_classes import java_options, spark_conf_dir, spark_home
from nodewise.specs.place import NodePlace

__all__ = ["SparkSoftware"]

EXECUTOR_BYTES = 512 * 2**20
# Executors that find less than 450 MiB usable refuse to work, and the JVM keeps some for itself.
LEAST_EXECUTOR_BYTES = 480 * 2**20
LOG_CONFIG_FILE = "log4j2.properties"
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
logger.worker.name = org.apache.spark.deploy.worker.Worker
logger.worker.level = info
"""


class SparkSoftware:
    """A master outside the nodes' limits, and one worker per node.

    They ask each other for a secret (``spark.authenticate``), which stands only in a file that the user alone may read.
    """

    def __init__(self, setting: ClusterSetting) -> None:
        self._setting = setting
        self._home = spark_home()
        self._java_options = java_options(setting.folder / LOG_CONFIG_FILE)
        self._demand = SparkDemand(setting.driver_host, *setting.autoscale) if setting.autoscale else None
        self._master_page = ""
        self.address: str | None = None
        self.job_server: str | None = None
        self.environment = {
            "SPARK_CONF_DIR": str(setting.folder),
            "SPARK_HOME": str(self._home),
            "SPARK_LOCAL_IP": setting.driver_host,
            "PYSPARK_PYTHON": setting.python,
        }
        self._daemon_environment = {
            **self.environment,
            "SPARK_CONF_DIR": str(spark_conf_dir()),
            "OMP_NUM_THREADS": str(setting.cluster.cores_per_node),
            "SPARK_DAEMON_JAVA_OPTS": self._java_options,
            "SPARK_DAEMON_MEMORY": "256m",
        }

    def start_driver(self) -> None:
        setting = self._setting
        require_free_port(setting.driver_host, setting.cluster.port)
        self._write_configuration()
        port = ["--port", str(setting.cluster.port or 0)]
        setting.daemons.start(
            "master",
            self._launch("org.apache.spark.deploy.master.Master", setting.driver_host, *port),
            {**os.environ, **self._daemon_environment},
            essential=True,
        )
        host = re.escape(setting.driver_host)
        self._master_page = setting.daemons.wait_for_text("master", rf"http://{host}:\d+", START_TIMEOUT_S)
        self.address = setting.daemons.wait_for_text("master", rf"spark://{host}:\d+", START_TIMEOUT_S)

    def start_node(self, place: NodePlace) -> int:
        setting = self._setting
        memory = max(LEAST_EXECUTOR_BYTES, place.limits.memory_bytes or 2**30) // 2**20
        size = ["--cores", str(setting.cluster.cores_per_node), "--memory", f"{memory}m"]
        folder = ["--work-dir", str(setting.scratch / place.name)]
        worker = "org.apache.spark.deploy.worker.Worker"
        command = self._launch(worker, place.host, *size, *folder, str(self.address))
        return setting.start_on(place, command, {**self._daemon_environment, "SPARK_LOCAL_IP": place.host})

    def wait_for_node(self, place: NodePlace) -> None:
        self._setting.daemons.wait_for_text(place.name, "Successfully registered with master", START_TIMEOUT_S)

    def scaling(self, places: Sequence[NodePlace]) -> Scaling | None:
        return self._demand.scaling(self._master_page, [place.host for place in places]) if self._demand else None

    def _launch(self, program: str, host: str, *arguments: str) -> list[str]:
        common = ["--host", host, "--webui-port", "0", "--properties-file", str(self._defaults)]
        return [str(self._home / "bin" / "spark-class"), program, *common, *arguments]

    @property
    def _defaults(self) -> Path:
        return self._setting.folder / "spark-defaults.conf"

    def _write_configuration(self) -> None:
        setting = self._setting
        memory = setting.cluster.limits.memory_bytes
        # Beside the executor's heap a node holds two JVMs' own memory and the Python workers.
        heap = EXECUTOR_BYTES if memory is None else min(EXECUTOR_BYTES, max(LEAST_EXECUTOR_BYTES, memory // 4))
        settings = {
            "spark.app.name": "nodewise",
            "spark.authenticate": "true",
            "spark.authenticate.secret": secrets.token_hex(32),
            "spark.driver.bindAddress": setting.driver_host,
            "spark.driver.host": setting.driver_host,
            "spark.executor.cores": str(setting.cluster.cores_per_node),
            "spark.executor.extraJavaOptions": self._java_options,
            "spark.executor.memory": f"{heap // 2**20}m",
            "spark.local.dir": str(setting.scratch / "local"),
            "spark.master.rest.enabled": "false",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            **(self._demand.settings if self._demand else {}),
        }
        self._defaults.unlink(missing_ok=True)
        self._defaults.touch(mode=0o600)
        self._defaults.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        (setting.folder / LOG_CONFIG_FILE).write_text(LOG_CONFIG)
