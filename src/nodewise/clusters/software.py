"""What runs on the nodes of an emulated cluster, so that an engine can connect to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol

from nodewise.clusters.daemons import Daemons
from nodewise.isolation.places import command_in
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import NODE_VARIABLE, NodePlace

__all__ = ["START_TIMEOUT_S", "ClusterSetting", "ClusterSoftware", "Scaling", "create_software"]

INIT_TIMEOUT_S = 600.0
START_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSetting:
    """What the software of every engine is given.

    Attributes:
        folder: The cluster's folder, which the user alone may read: configuration, logs, secrets.
        scratch: Another one, with a short path, for sockets and temporary files; removed when the cluster ends.
        driver_host: Where the master or head listens.
        python: Interpreter of the nodes.
        environment: Variables of the definition, for all processes on the nodes.
        init_script: Run on every node before it joins.
        job_server: Whether programs will be handed to the cluster to run (Ray's job API).
        autoscale: Fewest and most nodes; None: there are as many as the supervisor is told.
        control: Where the supervisor listens.
    """

    cluster: ClusterSpec
    folder: Path
    scratch: Path
    daemons: Daemons
    driver_host: str
    python: str = sys.executable
    environment: dict[str, str] = field(default_factory=dict)
    init_script: Path | None = None
    job_server: bool = False
    autoscale: tuple[int, int] | None = None
    control: Path

    def start_on(self, place: NodePlace, command: Sequence[str], environment: dict[str, str]) -> int:
        """Start a program in a node's place, after its init script; the id of its first process."""
        inherited = {**os.environ, **self.environment, **environment, NODE_VARIABLE: place.name}
        if self.init_script is not None:
            script = command_in(place, ["bash", str(self.init_script)])
            self.daemons.run(f"{place.name}-init", script, inherited, INIT_TIMEOUT_S)
        return self.daemons.start(place.name, command_in(place, command), inherited)


@dataclass(frozen=True, slots=True)
class Scaling:
    """What an engine would have changed.

    Attributes:
        add: Nodes that it could use now.
        idle: Addresses of nodes that it has no use for.
    """

    add: int = 0
    idle: tuple[str, ...] = ()


class ClusterSoftware(Protocol):
    """The daemons of one engine. Used by the cluster's supervisor, from one thread.

    Attributes:
        address: What an engine connects to, once ``start_driver`` has returned; None where there are no daemons.
        environment: Variables that an engine's own process needs in order to connect; without secrets.
        job_server: URL that programs can be handed to, likewise; None: nothing takes programs.
    """

    address: str | None
    job_server: str | None
    environment: dict[str, str]

    def start_driver(self) -> None:
        """Start the master or head and wait until it listens.

        Raises:
            NodewiseError: It ended, or did not come up in time.
            PortInUseError: The port asked for is taken.
        """

    def start_node(self, place: NodePlace) -> int:
        """Begin to start a worker node; the id of its first process."""

    def wait_for_node(self, place: NodePlace) -> None:
        """Wait until a node that was begun has joined."""

    def scaling(self, places: Sequence[NodePlace]) -> Scaling | None:
        """What should change on a cluster that autoscales; None: nothing, or the engine asks for it by itself."""


SOFTWARE = {
    "local": "nodewise.clusters.local:LocalSoftware",
    "ray": "nodewise.clusters.ray:RaySoftware",
    "spark": "nodewise.clusters.spark:SparkSoftware",
}


def create_software(setting: ClusterSetting) -> ClusterSoftware:
    """The software for the engine of a cluster; nothing is started."""
    module, _, name = SOFTWARE[setting.cluster.engine].partition(":")
    software: ClusterSoftware = getattr(import_module(module), name)(setting)
    return software
