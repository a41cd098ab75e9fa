"""What clusters have on this machine, whoever made it, and how to remove what is left of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nodewise.isolation import hierarchies, network
from nodewise.isolation.scope import SCOPES

__all__ = ["Leftover", "leftovers", "remove_leftovers"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Leftover:
    """One thing of a cluster.

    Attributes:
        kind: ``control group``, ``network link`` or ``network namespace``.
        name: The group's folder, or the name of the link or namespace.
    """

    cluster_id: str
    kind: str
    name: str


def leftovers() -> list[Leftover]:
    """All control groups, links and namespaces of clusters on this machine, also of those that are running."""
    found = {
        "control group": hierarchies.clusters_in(_hierarchies()),
        "network link": network.links(),
        "network namespace": network.namespaces(),
    }
    return sorted(
        Leftover(cluster_id=cluster_id, kind=kind, name=name)
        for kind, things in found.items()
        for cluster_id, name in things
    )


def remove_leftovers(cluster_id: str) -> None:
    """Kill every process in a cluster's nodes and remove what it has on this machine; none need be there.

    Raises:
        NodewiseError: Something cannot be removed.
    """
    hierarchies.release(_hierarchies(), cluster_id)
    network.remove_cluster(cluster_id)


def _hierarchies() -> Sequence[hierarchies.Hierarchy]:
    """The machine's, and those that begin at an ordinary user's scope."""
    found = hierarchies.find_hierarchies()
    scopes = [
        replace(hierarchy, root=scope)
        for hierarchy in found
        if hierarchy.version == 2
        for scope in hierarchy.root.glob(SCOPES)
    ]
    return [*found, *scopes]
