"""Samples what nodes use, once a second, from a thread of the process that runs the job."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from nodewise.metering.counters import Counters, MachineCounters, NodeCounters, Totals
from nodewise.metering.processes import ProcessTable
from nodewise.specs.place import NodePlace
from nodewise.specs.usage import MACHINE, UsageSample

__all__ = ["Sampler"]

_LEAST_INTERVAL_S = 0.01
"""Rates over less than this are noise: CPU time comes in steps as long."""


@dataclass(slots=True)
class _Metered:
    counters: Counters
    totals: Totals
    at_s: float


class Sampler:
    """One row per node and interval: what it used during the interval, never since some start.

    Beside the nodes, the node ``machine`` is the whole machine: all its CPU time, whoever used it, its storage, its
    GPUs, and its network but for the bridges that carry the nodes' links, loopback included.

    Counting begins with ``start`` for the places known by then, with ``add`` for others. A place that tells neither
    control group nor processes has no rows, and one whose group or link is gone none from then on. ``remove`` and
    ``stop`` take a last row, shorter than the interval. Its methods may be called from any thread.

    Example:
        >>> sampler = Sampler([NodePlace(name="driver", host="127.0.0.1", pids=(os.getpid(),))])
        >>> sampler.start()
        >>> ...
        >>> samples = sampler.stop()
    """

    def __init__(self, places: Sequence[NodePlace], *, interval_s: float = 1.0) -> None:
        self._interval_s = interval_s
        self._waiting = list(places)
        self._table = ProcessTable()
        self._metered: dict[str, _Metered] = {}
        self._samples: list[UsageSample] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage-sampler", daemon=True)

    @property
    def samples(self) -> list[UsageSample]:
        """All rows so far, in order of time."""
        with self._lock:
            return list(self._samples)

    def start(self) -> None:
        """Begin; may be called once."""
        with self._lock:
            self._begin(MACHINE, MachineCounters())
            self._begin_nodes(self._waiting)
        self._thread.start()

    def add(self, place: NodePlace) -> None:
        """Count a further node; one of the same name is removed first."""
        self.remove(place.name)
        with self._lock:
            if not self._over.is_set():
                self._begin_nodes([place])

    def remove(self, name: str) -> None:
        """Take a last row of a node and count it no longer; nothing happens if it is not counted."""
        with self._lock:
            if name in self._metered:
                self._table.refresh()
                self._take(name)
                self._end(name)

    def stop(self) -> list[UsageSample]:
        """End the thread after a last row of every node, and return all rows. May be called again."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            if self._metered:
                self._take_all()
            for name in list(self._metered):
                self._end(name)
            return list(self._samples)

    def _run(self) -> None:
        due_s = time.monotonic() + self._interval_s
        while not self._over.wait(max(0.0, due_s - time.monotonic())):
            with self._lock:
                self._take_all()
            # Rows that come late do not shift the following ones; those that were missed altogether are left out.
            late_s = max(0.0, time.monotonic() - due_s)
            due_s += self._interval_s * (1 + late_s // self._interval_s)

    def _begin_nodes(self, places: Sequence[NodePlace]) -> None:
        counters: dict[str, NodeCounters] = {}
        for place in places:
            if not (place.cgroup_dirs or place.pids):
                continue
            with suppress(OSError):
                counters[place.name] = NodeCounters(place, self._table)
        # Only now: what is another node's is known when all are.
        self._table.refresh()
        for name, of_node in counters.items():
            self._begin(name, of_node)

    def _begin(self, name: str, counters: Counters) -> None:
        try:
            self._metered[name] = _Metered(counters, counters.read(), time.monotonic())
        except OSError:
            counters.close()

    def _end(self, name: str) -> None:
        self._metered.pop(name).counters.close()

    def _take_all(self) -> None:
        self._table.refresh()
        for name in list(self._metered):
            self._take(name)

    def _take(self, name: str) -> None:
        metered = self._metered[name]
        now_s = time.monotonic()
        if now_s - metered.at_s < _LEAST_INTERVAL_S:
            return
        try:
            totals = metered.counters.read()
        except OSError:
            self._end(name)
            return
        self._samples.append(_sample(name, metered.totals, totals, now_s - metered.at_s))
        metered.totals, metered.at_s = totals, now_s


def _sample(node: str, before: Totals, now: Totals, interval_s: float) -> UsageSample:
    return UsageSample(
        node=node,
        at=time.time(),
        interval_s=interval_s,
        cpu_cores=max(0.0, now.cpu_s - before.cpu_s) / interval_s,
        # Of several cores, each on which the node was held back is counted.
        throttled_s=None
        if now.throttled_s is None or before.throttled_s is None
        else min(interval_s, max(0.0, now.throttled_s - before.throttled_s)),
        memory_bytes=now.memory_bytes,
        read_bytes=max(0, now.read_bytes - before.read_bytes),
        written_bytes=max(0, now.written_bytes - before.written_bytes),
        received_bytes=_grown(before.received_bytes, now.received_bytes),
        sent_bytes=_grown(before.sent_bytes, now.sent_bytes),
        gpu_fraction=now.gpu_fraction,
        gpu_memory_bytes=now.gpu_memory_bytes,
        memory_kills=max(0, now.memory_kills - before.memory_kills),
    )


def _grown(before: int | None, now: int | None) -> int | None:
    return None if before is None or now is None else max(0, now - before)
