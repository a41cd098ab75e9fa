"""Meters the nodes that come and go while a run has a cluster that autoscales."""

from __future__ import annotations

import threading

from nodewise.clusters.plan import access_from_json
from nodewise.metering.sampler import Sampler
from nodewise.specs.place import NodePlace
from nodewise.workspace.clusters import ClusterStore

__all__ = ["NodeFollower"]

LOOK_S = 1.0


class NodeFollower:
    """A thread that tells a sampler which nodes a cluster has, as its supervisor notes them, until :meth:`stop`.

    Args:
        cluster: Name or id.
        places: The nodes that the sampler knows.
    """

    def __init__(self, clusters: ClusterStore, cluster: str, sampler: Sampler, places: tuple[NodePlace, ...]) -> None:
        self._clusters = clusters
        self._cluster = cluster
        self._sampler = sampler
        self._names = {place.name for place in places}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="follow-nodes", daemon=True)

    def start(self) -> None:
        """Begin; may be called once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(LOOK_S):
            access = self._clusters.get(self._cluster).access
            if access is None:
                continue
            places = {place.name: place for place in access_from_json(access).places}
            for name in self._names - places.keys():
                self._sampler.remove(name)
            for name in places.keys() - self._names:
                self._sampler.add(places[name])
            self._names = set(places)
