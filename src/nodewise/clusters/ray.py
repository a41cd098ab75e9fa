"""A Ray head and its nodes as the nodes of an emulated cluster."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from importlib.util import find_spec

from nodewise.clusters.daemons import require_free_port
from nodewise.clusters.ray_scaling import HEAD, autoscaler_environment, write_autoscaling_config
from nodewise.clusters.software import START_TIMEOUT_S, ClusterSetting, Scaling
from nodewise.core.errors import MissingDependencyError
from nodewise.specs.place import NodePlace

__all__ = ["RaySoftware"]

OBJECT_STORE_BYTES = 80 * 2**20
"""Per node; the built-in jobs move file names and counts, and Ray asks for at least 75 MiB."""
MAX_TASKS_TOLD = 100_000


class RaySoftware:
    """A head without CPUs outside the nodes' limits, which the driver connects through, and one raylet per node.

    All ask each other for a token that stands only in a file that the user alone may read. Some of Ray's servers listen
    on every address, which no setting changes; none answers without the token.
    """

    def __init__(self, setting: ClusterSetting) -> None:
        if find_spec("ray") is None:
            raise MissingDependencyError("engine 'ray' needs the package ray", hint="pip install 'nodewise[ray]'")
        self._setting = setting
        self.address: str | None = None
        self.job_server: str | None = None
        self.environment = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(setting.folder / "ray-token"),
            # Else the address of this cluster would become the machine's "current" one, also after its end.
            "RAY_TMPDIR": str(setting.scratch),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._daemon_environment = {
            **self.environment,
            "OMP_NUM_THREADS": str(setting.cluster.cores_per_node),
            # Tasks that are told of at once, as many as the head keeps.
            "RAY_MAX_LIMIT_FROM_API_SERVER": str(MAX_TASKS_TOLD),
            "RAY_task_events_report_interval_ms": "250",
        }

    def start_driver(self) -> None:
        setting = self._setting
        require_free_port(setting.driver_host, setting.cluster.port)
        token = setting.folder / "ray-token"
        token.unlink(missing_ok=True)
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        head = ["--head", f"--port={setting.cluster.port or 0}", "--num-cpus=0"]
        server = [f"--include-dashboard={str(setting.job_server).lower()}", "--dashboard-port=0"]
        server += [f"--dashboard-host={setting.driver_host}", *self._autoscaling()]
        command = self._command("head", setting.driver_host, *head, *server)
        setting.daemons.start("head", command, {**os.environ, **self._environment_of(HEAD)}, essential=True)
        told = setting.daemons.wait_for_text("head", r"ray start --address='([^']+)'", START_TIMEOUT_S)
        self.address = told.split("'")[1]
        if setting.job_server:
            told = setting.daemons.wait_for_text("head", r"RAY_API_SERVER_ADDRESS='([^']+)'", START_TIMEOUT_S)
            self.job_server = told.split("'")[1]

    def start_node(self, place: NodePlace) -> int:
        setting = self._setting
        cpus = f"--num-cpus={setting.cluster.cores_per_node}"
        command = self._command(place.name, place.host, f"--address={self.address}", cpus)
        return setting.start_on(place, command, self._environment_of(place.name))

    def wait_for_node(self, place: NodePlace) -> None:
        self._setting.daemons.wait_for_text(place.name, "Ray runtime started", START_TIMEOUT_S)

    def scaling(self, _places: Sequence[NodePlace]) -> Scaling | None:
        # Its autoscaler asks the supervisor.
        return None

    def _autoscaling(self) -> list[str]:
        setting = self._setting
        if setting.autoscale is None:
            return []
        path = setting.folder / "ray-autoscaling.json"
        least, most = setting.autoscale
        write_autoscaling_config(
            path,
            control=setting.control,
            head_host=setting.driver_host,
            least=least,
            most=most,
            cores_per_node=setting.cluster.cores_per_node,
        )
        return [f"--autoscaling-config={path}"]

    def _environment_of(self, name: str) -> dict[str, str]:
        scaling = {} if self._setting.autoscale is None else autoscaler_environment(name)
        return {**self._daemon_environment, **scaling}

    def _command(self, name: str, host: str, *arguments: str) -> list[str]:
        # A folder for each: two that start at once would else choose the same names for their sockets.
        folder = f"--temp-dir={self._setting.scratch / name}"
        # Any free ports for the workers: the default range would be shared by all nodes on one address.
        ports = ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        common = [f"--node-ip-address={host}", f"--object-store-memory={OBJECT_STORE_BYTES}", *ports]
        ray = [self._setting.python, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", folder]
        return [*ray, *common, *arguments]
