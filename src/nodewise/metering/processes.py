"""Counters of a family of processes, for nodes without a control group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil

__all__ = ["FamilyCounters", "FamilyTotals", "ProcessTable"]


class ProcessTable:
    """Which process is whose child, and which family it belongs to.

    ``refresh`` looks once for all families that are read after it.
    """

    def __init__(self) -> None:
        self.parents: dict[int, int] = {}
        self.children: dict[int, list[int]] = {}
        self._families: list[FamilyCounters] = []
        self._owners: dict[int, FamilyCounters] = {}

    def join(self, family: FamilyCounters) -> None:
        """Give its first processes and their descendants to a family, for as long as they live."""
        self._families.append(family)

    def refresh(self) -> None:
        """Look who is there; only of those not seen before, or who lost their parent, it asks more."""
        # First: a process that a parent has waited for by then is then seen to be gone, and not counted twice.
        for family in self._families:
            family.look()
        pids = set(psutil.pids())
        kept = {pid: parent for pid, parent in self.parents.items() if pid in pids and parent in pids}
        for pid in pids - kept.keys():
            with suppress(psutil.Error):
                kept[pid] = psutil.Process(pid).ppid()
        self.parents = kept
        children = defaultdict(list)
        for pid, parent in kept.items():
            children[parent].append(pid)
        self.children = dict(children)
        self._owners = {pid: family for family in self._families for pid in family.first_pids()}
        for pid, family in list(self._owners.items()):
            for descendant in self.descendants([pid], family):
                self._owners[descendant] = family
        for family in self._families:
            family.settle()

    def belongs(self, pid: int, family: FamilyCounters) -> bool:
        """Whether the process is none of another family's."""
        return self._owners.get(pid, family) is family

    def descendants(self, pids: Iterable[int], family: FamilyCounters) -> Iterator[int]:
        """Those of the processes that are there and what descends from them, parents first; none of other families."""
        waiting = list(pids)
        found = set()
        while waiting:
            pid = waiting.pop()
            if pid in self.parents and pid not in found and self.belongs(pid, family):
                found.add(pid)
                waiting += self.children.get(pid, [])
                yield pid

    def hand_over(self, parent: int, used: _Amounts) -> None:
        """Tell the family of a process that it has waited for one of another family, which had used so much."""
        for family in self._families:
            family.disown(parent, used)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyTotals:
    """What a family has used. Only differences mean something, but for the memory, which is that of now."""

    cpu_s: float
    memory_bytes: int
    read_bytes: int
    written_bytes: int


class FamilyCounters:
    """The counters of processes, of all that descend from them, and of those of them that have ended.

    A process that ends is counted by the parent that waited for it, to its last moment; where none did, what it had
    used when it was last looked at counts. So what is lost is: of a process whose parent does not wait for it, the time
    after the last look, and all of it if it began after that. Who descends from it stays in the family when the parent
    ends. A descendant that is the first of another family, with what descends from it, is counted there alone.

    Memory is resident memory: pages that processes share count for each of them. Where the system does not tell what a
    process reads and writes (macOS, processes of other users), both are 0.

    Args:
        pids: The first processes.
        more: Tells further ones at every look; it may raise OSError when there can be no more.
    """

    def __init__(self, table: ProcessTable, pids: Iterable[int], more: Callable[[], Iterable[int]] = list) -> None:
        self._table = table
        self._pids = tuple(pids)
        self._more = more
        self._members: dict[int, _Member] = {}
        self._ended = self._most = _Amounts()
        table.join(self)

    def first_pids(self) -> list[int]:
        """Those that the family begins with, whether they are there or not."""
        try:
            return [*self._pids, *self._more()]
        except OSError:
            return list(self._pids)

    def read(self) -> FamilyTotals:
        """The counters as of the table's last ``refresh``; they never go back."""
        for pid in self._table.descendants([*self._members, *self.first_pids()], self):
            if pid not in self._members:
                with suppress(psutil.Error):
                    self._members[pid] = _Member(psutil.Process(pid), parent=self._table.parents[pid])
                    self._members[pid].look()
        now = self._ended
        for member in self._members.values():
            now += member.total
        # What has ended since it was looked at may be missing until the next look.
        self._most = now.at_least(self._most)
        return FamilyTotals(
            cpu_s=self._most.cpu_s,
            memory_bytes=sum(member.memory_bytes for member in self._members.values()),
            read_bytes=round(self._most.read_bytes),
            written_bytes=round(self._most.written_bytes),
        )

    def look(self) -> None:
        """Bring what the members have used up to date."""
        for member in self._members.values():
            # One that has ended keeps what it had used.
            with suppress(psutil.Error):
                member.look()

    def settle(self) -> None:
        """Take out members that have ended, or went to another family."""
        # Children were found after their parents: the other way round, each hands over all that it was handed.
        for pid in reversed(list(self._members)):
            if pid not in self._table.parents:
                member = self._members.pop(pid)
                parent = self._members.get(member.parent)
                if parent is not None:
                    parent.ended += member.total
                else:
                    self._ended += member.total
                    self._table.hand_over(member.parent, member.total)
            elif not self._table.belongs(pid, self):
                self._ended += self._members.pop(pid).total
            else:
                self._members[pid].parent = self._table.parents[pid]

    def disown(self, pid: int, used: _Amounts) -> None:
        """Leave out what a process of another family had used, if the one that waited for it is of this family."""
        if pid in self._members:
            self._members[pid].disowned += used


@dataclass(frozen=True, slots=True)
class _Amounts:
    cpu_s: float = 0.0
    read_bytes: float = 0.0
    written_bytes: float = 0.0

    def __add__(self, other: _Amounts) -> _Amounts:
        return _Amounts(
            self.cpu_s + other.cpu_s, self.read_bytes + other.read_bytes, self.written_bytes + other.written_bytes
        )

    def __sub__(self, other: _Amounts) -> _Amounts:
        return _Amounts(
            self.cpu_s - other.cpu_s, self.read_bytes - other.read_bytes, self.written_bytes - other.written_bytes
        )

    def at_least(self, other: _Amounts) -> _Amounts:
        return _Amounts(
            max(self.cpu_s, other.cpu_s),
            max(self.read_bytes, other.read_bytes),
            max(self.written_bytes, other.written_bytes),
        )


@dataclass(slots=True)
class _Member:
    """A process of the family.

    Attributes:
        own: What it has used itself.
        waited: What the system says of the children that it has waited for; of storage, its own bytes are in there too.
        first: That, when it was first looked at.
        ended: What those of its children had used, when last looked at, that were members and have ended.
        disowned: The same of those who were members of other families.
    """

    process: psutil.Process
    parent: int
    memory_bytes: int = 0
    own: _Amounts = _Amounts()
    waited: _Amounts = _Amounts()
    first: _Amounts | None = None
    ended: _Amounts = _Amounts()
    disowned: _Amounts = _Amounts()

    @property
    def total(self) -> _Amounts:
        first = self.first or _Amounts()
        return self.own + first + (self.waited - first - self.disowned).at_least(self.ended)

    def look(self) -> None:
        """Bring it up to date.

        Raises:
            psutil.Error: It has ended, or may not be looked at.
        """
        with self.process.oneshot():
            times = self.process.cpu_times()
            with suppress(psutil.AccessDenied, psutil.ZombieProcess):
                self.memory_bytes = self.process.memory_info().rss
            read_bytes, written_bytes = self.waited.read_bytes, self.waited.written_bytes
            if hasattr(self.process, "io_counters"):
                with suppress(psutil.AccessDenied, psutil.ZombieProcess):
                    moved = self.process.io_counters()
                    read_bytes, written_bytes = moved.read_bytes, moved.write_bytes
        self.own = _Amounts(times.user + times.system)
        children_s = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        self.waited = _Amounts(children_s, read_bytes, written_bytes)
        if self.first is None:
            self.first = self.waited
