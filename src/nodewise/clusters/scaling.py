"""Gives a cluster that autoscales the nodes that its engine asks for: what a cloud or Kubernetes would do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nodewise.clusters.nodes import Nodes
from nodewise.core.errors import InputError, NodewiseError

__all__ = ["Scaler"]

LOOK_S = 1.0
PAUSE_S = 30.0


class Scaler:
    """Adds and removes nodes within the limits of the cluster's definition. Used by the cluster's supervisor.

    Args:
        least, most: Nodes.
        note: Is called with a kind of event and its message after every change.
    """

    def __init__(self, nodes: Nodes, least: int, most: int, note: Callable[[str, str], None]) -> None:
        self._nodes = nodes
        self._least, self._most = least, most
        self._note = note
        self._next_look = 0.0
        self._asked = 0

    def watch(self) -> None:
        """Do what the engine would have done, if it does not ask for it by itself."""
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK_S
        scaling = self._nodes.scaling()
        if scaling is None:
            return
        # What is asked for grows by steps, and nodes that start together are up sooner.
        is_settled = scaling.add == self._asked
        self._asked = scaling.add
        count = min(scaling.add, self._most - len(self._nodes.names))
        if count > 0 and is_settled:
            try:
                self.add(count)
            except NodewiseError:
                # A cloud without capacity: the cluster goes on with what it has, and asks again.
                self._next_look = time.monotonic() + PAUSE_S
        for name in self._nodes.names_at(scaling.idle)[: max(0, len(self._nodes.names) - self._least)]:
            self.remove(name)

    def add(self, count: int) -> list[str]:
        """Add nodes; their names.

        Raises:
            InputError: The cluster would have more than it may.
            NodewiseError: They did not come up; none of them is left.
        """
        there = len(self._nodes.names)
        if there + count > self._most:
            raise InputError(f"the cluster has {there} nodes and may have {self._most}, so not {count} more")
        try:
            names = self._nodes.add(count)
        except NodewiseError as error:
            self._note("NODE_FAILED", error.message)
            raise
        self._tell_all("NODE_ADDED", names, "tasks wait")
        return names

    def remove(self, name: str) -> None:
        """Remove a node; it need not be there any more."""
        if name in self._nodes.names:
            self._nodes.remove([name])
            self._tell_all("NODE_REMOVED", [name], "it had nothing to do")

    def _tell_all(self, kind: str, names: Sequence[str], why: str) -> None:
        now = len(self._nodes.names)
        self._note(kind, f"{', '.join(names)}: {why}; {now} node{'s' if now > 1 else ''} now")
