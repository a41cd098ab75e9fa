"""The nodes of an emulated cluster: their places, the software on them, and what they cost."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import count as count_from
from pathlib import Path

from nodewise.billing.meter import ClusterBill
from nodewise.clusters.daemons import Daemons
from nodewise.clusters.libraries import build_environment
from nodewise.clusters.plan import ClusterPlan, environments_folder, socket_path
from nodewise.clusters.software import ClusterSetting, ClusterSoftware, Scaling, create_software
from nodewise.core.errors import NodewiseError
from nodewise.core.progress import SilentProgress
from nodewise.core.units import format_bytes
from nodewise.isolation.places import Isolation
from nodewise.isolation.tiers import detect_tier
from nodewise.specs.access import ClusterAccess
from nodewise.specs.definition import resolve_environment
from nodewise.specs.place import EmulationTier, NodePlace

__all__ = ["Nodes"]

MAX_NODE_LOSSES = 4


class Nodes:
    """All nodes of one cluster; a context whose end leaves none. Used by its supervisor, from one thread."""

    def __init__(
        self,
        cluster_id: str,
        plan: ClusterPlan,
        bill: ClusterBill,
        folder: Path,
        scratch: Path,
        check: Callable[[], None],
    ) -> None:
        self._plan = plan
        self._bill = bill
        self._folder = folder
        self._daemons = Daemons(folder, check)
        self._isolation = Isolation(cluster_id, detect_tier(plan.tier).tier)
        self._places: dict[str, NodePlace] = {}
        self._begun = 0
        self._losses = 0
        self._is_limited = False
        self._scratch = scratch
        self._software: ClusterSoftware | None = None
        self._python = sys.executable

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *exc: object) -> None:
        self._daemons.kill()
        self._isolation.close()
        self._places.clear()
        self._bill.close()

    @property
    def tier(self) -> EmulationTier:
        return self._isolation.tier

    @property
    def names(self) -> list[str]:
        return list(self._places)

    @property
    def access(self) -> ClusterAccess:
        """How a driver reaches the cluster."""
        software = self._ready_software()
        return ClusterAccess(
            address=software.address,
            driver_host=self._isolation.driver_host,
            environment=software.environment,
            places=tuple(self._places.values()),
            python=self._python,
            log_dir=str(self._folder),
            job_server=software.job_server,
            is_autoscaled=self._plan.autoscale is not None,
        )

    def describe_limits(self) -> str:
        """``0.25 CPUs, 512 MiB, 100 Mbit/s per node``."""
        limits = self._plan.cluster.limits
        parts = []
        if limits.cpus is not None:
            parts.append(f"{limits.cpus:g} CPUs")
        if limits.memory_bytes is not None:
            parts.append(format_bytes(limits.memory_bytes))
        if limits.network_bits_per_s is not None:
            parts.append(f"{limits.network_bits_per_s / 1e6:g} Mbit/s")
        if limits.network_latency_s is not None:
            parts.append(f"{limits.network_latency_s * 1e3:g} ms")
        return ", ".join(parts) + " per node" if parts else "no limits per node"

    def start(self, tell: Callable[[str], None]) -> None:
        """Bring the driver's daemons and all nodes up.

        Raises:
            NodewiseError: One did not come up.
        """
        plan = self._plan
        if plan.libraries:
            workspace = self._folder.parent.parent
            self._python = str(build_environment(plan.libraries, environments_folder(workspace), _Told(tell)))
        self._software = create_software(
            ClusterSetting(
                cluster=plan.cluster,
                folder=self._folder,
                scratch=self._scratch,
                daemons=self._daemons,
                driver_host=self._isolation.driver_host,
                python=self._python,
                environment=resolve_environment(plan.environment, os.environ),
                init_script=Path(plan.init_script) if plan.init_script else None,
                job_server=plan.job_server,
                autoscale=plan.autoscale,
                control=socket_path(self._folder),
            )
        )
        self._software.start_driver()
        if plan.driver_node_type is not None:
            self._bill.node_started("driver", plan.driver_node_type)
        self.add(plan.autoscale[0] if plan.autoscale else plan.cluster.nodes, tell)

    def resize(self, num_nodes: int, tell: Callable[[str], None]) -> None:
        """Add nodes, or remove the last ones."""
        self.remove(self.names[num_nodes:])
        self.add(num_nodes - len(self._places), tell)

    def add(self, count: int, tell: Callable[[str], None] = lambda _text: None) -> list[str]:
        """Bring so many more nodes up, and return their names.

        Raises:
            NodewiseError: One did not come up; none of them is left.
        """
        names = []
        try:
            # They start side by side; waiting for one before the next would add up.
            for _ in range(count):
                names.append(self._new_name())
                self._begin(names[-1])
            for number, name in enumerate(names, start=1):
                self._ready_software().wait_for_node(self._places[name])
                tell(f"{number} of {len(names)} nodes up")
        except NodewiseError:
            self.remove(names)
            raise
        self._limit_new()
        return names

    def remove(self, names: Sequence[str]) -> None:
        """End nodes; those that are not there are left out."""
        for name in names:
            if name in self._places:
                self._remove(name)

    def scaling(self) -> Scaling | None:
        """What the engine of a cluster that autoscales would have changed."""
        return self._ready_software().scaling(list(self._places.values()))

    def names_at(self, hosts: Collection[str]) -> list[str]:
        """The nodes at these addresses."""
        return [name for name, place in self._places.items() if place.host in hosts]

    @property
    def hosts(self) -> dict[str, str]:
        """The addresses of the nodes, by name."""
        return {name: place.host for name, place in self._places.items()}

    def lost(self) -> dict[str, NodewiseError]:
        """Nodes, or the driver's daemons, that have ended by themselves."""
        return self._daemons.ended()

    def replace(self, name: str) -> bool:
        """Start a node anew that was lost; False if it is none, or too many were.

        On a cluster that autoscales it is only removed: whether it needs another one is for the engine to say.
        """
        self._losses += 1
        if name not in self._places or self._losses > MAX_NODE_LOSSES:
            return False
        self._remove(name)
        if self._plan.autoscale is not None:
            return True
        self._begin(name)
        self._ready_software().wait_for_node(self._places[name])
        self._limit_new()
        return True

    def limit(self) -> None:
        """Hold every node to its CPU share from now on."""
        for place in self._places.values():
            self._isolation.limit(place)
        self._is_limited = True

    def unlimit(self) -> None:
        """Let every node take what it can, to start the processes of the next run."""
        for place in self._places.values():
            self._isolation.unlimit(place)
        self._is_limited = False

    def taken_by(self, run_id: str, job: str, tags: dict[str, str]) -> None:
        """A run has the cluster from now on."""
        self._bill.taken_by(run_id, job, tags)

    def released(self) -> None:
        """No run has it any more."""
        self._bill.released()
        self.unlimit()

    def heartbeat(self) -> None:
        """Bring the books up to date."""
        self._bill.heartbeat()

    def _new_name(self) -> str:
        # An autoscaler knows nodes by their names, and one that has gone is never the same as one that comes.
        first = self._begun if self._plan.autoscale is not None else 0
        self._begun += 1
        return next(name for name in (f"node-{number}" for number in count_from(first)) if name not in self._places)

    def _limit_new(self) -> None:
        if self._is_limited:
            self.limit()

    def _begin(self, name: str) -> None:
        place = self._isolation.add_node(name, self._plan.cluster.limits)
        self._places[name] = place
        self._bill.node_started(name, self._plan.cluster.node_type)
        pid = self._ready_software().start_node(place)
        if pid:
            self._places[name] = replace(place, pids=(pid,))

    def _remove(self, name: str) -> None:
        self._daemons.kill([name])
        self._isolation.remove_node(self._places.pop(name))
        self._bill.node_stopped(name)

    def _ready_software(self) -> ClusterSoftware:
        if self._software is None:
            raise RuntimeError("the cluster is not started")
        return self._software


class _Told(SilentProgress):
    """Tells the stages only."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def stage(self, name: str, total: int | None = None) -> None:  # noqa: ARG002 - as the protocol has it
        self._tell(name)
