"""How many nodes Spark's dynamic allocation asks for, and which have nothing to do.

Spark decides, and tells it in two public ways: each application's driver sends the number of executors that it wants as
a metric (its Graphite sink, once a second, over UDP), and the master's web page has, as JSON, the applications and the
cores in use on every worker. There is one executor to a node.
"""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.request import ProxyHandler, build_opener

from nodewise.clusters.software import Scaling

__all__ = ["SparkDemand"]

IDLE_S = 5.0
"""After which an executor without a task goes, and then a node without an executor."""

_METRIC = re.compile(rb"^(\S+?)\.driver\.ExecutorAllocationManager\.executors\.numberTargetExecutors (\d+) ")
_ANSWER_S = 2.0


class SparkDemand:
    """Listens for what the applications on one cluster want. Used from one thread.

    Args:
        host: Address of this machine that drivers reach.
        least, most: Nodes.
    """

    def __init__(self, host: str, least: int, most: int) -> None:
        self._least, self._most = least, most
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((host, 0))
        self._socket.setblocking(False)
        self._targets: dict[str, int] = {}
        self._idle_since: dict[str, float] = {}
        # A proxy of the user's is not for addresses of this machine.
        self._open = build_opener(ProxyHandler({})).open

    @property
    def settings(self) -> dict[str, str]:
        """What applications are to be started with."""
        host, port = self._socket.getsockname()
        sink = "spark.metrics.conf.driver.sink.graphite"
        return {
            "spark.dynamicAllocation.enabled": "true",
            "spark.dynamicAllocation.executorIdleTimeout": f"{IDLE_S:.0f}s",
            "spark.dynamicAllocation.initialExecutors": str(self._least),
            "spark.dynamicAllocation.maxExecutors": str(self._most),
            "spark.dynamicAllocation.minExecutors": str(self._least),
            # Nobody else keeps the shuffle files of an executor that goes.
            "spark.dynamicAllocation.shuffleTracking.enabled": "true",
            f"{sink}.class": "org.apache.spark.metrics.sink.GraphiteSink",
            f"{sink}.host": host,
            f"{sink}.port": str(port),
            f"{sink}.period": "1",
            f"{sink}.protocol": "udp",
            f"{sink}.regex": r".*\.ExecutorAllocationManager\.executors\.numberTargetExecutors",
        }

    def scaling(self, master_page: str, hosts: Collection[str]) -> Scaling | None:
        """What is to change on a cluster whose nodes are at these addresses; None: the master does not answer.

        Args:
            master_page: Address of the master's web page.
        """
        self._hear()
        try:
            with self._open(f"{master_page}/json/", timeout=_ANSWER_S) as answer:
                state: dict[str, Any] = json.load(answer)
        except (OSError, ValueError):
            return None
        running = {app["id"] for app in state["activeapps"]}
        self._targets = {app: target for app, target in self._targets.items() if app in running}
        wanted = min(max(sum(self._targets.values()), self._least), self._most)
        busy = {worker["host"] for worker in state["workers"] if worker["coresused"] > 0}
        now = time.monotonic()
        self._idle_since = {host: self._idle_since.get(host, now) for host in hosts if host not in busy}
        idle = [host for host, since in self._idle_since.items() if now - since >= IDLE_S]
        return Scaling(add=max(0, wanted - len(hosts)), idle=tuple(idle[: max(0, len(hosts) - wanted)]))

    def _hear(self) -> None:
        with suppress(BlockingIOError):
            while True:
                found = _METRIC.match(self._socket.recv(65536))
                if found:
                    self._targets[found.group(1).decode(errors="replace")] = int(found.group(2))
