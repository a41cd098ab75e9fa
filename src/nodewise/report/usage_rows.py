"""What the charts and the terminal show of the nodes' utilisation: which rows, and lines of how many points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nodewise.specs.results import NodeUsage, UsageResult
from nodewise.specs.usage import DRIVER, MACHINE

__all__ = ["Line", "NodeRow", "mean", "node_rows", "thinned"]

NODES_SHOWN = 8

Line = Sequence[float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node, or the mean of several; ``apart`` are the driver and the machine, for which no limit holds."""

    name: str
    nodes: tuple[NodeUsage, ...]
    apart: bool = False


def node_rows(usage: UsageResult) -> list[NodeRow]:
    """The first nodes each, the rest, if there are more than :data:`NODES_SHOWN`, as one; then driver and machine."""
    nodes = [node for node in usage.nodes if node.node not in (DRIVER, MACHINE)]
    shown = len(nodes) if len(nodes) <= NODES_SHOWN else NODES_SHOWN - 1
    rows = [NodeRow(name=node.node, nodes=(node,)) for node in nodes[:shown]]
    if nodes[shown:]:
        rows.append(NodeRow(name=f"{len(nodes) - shown} others, mean", nodes=tuple(nodes[shown:])))
    rows += [NodeRow(name=node.node, nodes=(node,), apart=True) for node in usage.nodes if node not in nodes]
    return rows


def mean(values: Line) -> float | None:
    """Of those that are known; None if none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def thinned(line: Line, points: int) -> list[float | None]:
    """The line with no more than so many points, each the mean of its neighbours."""
    if len(line) <= points:
        return list(line)
    edges = [round(number * len(line) / points) for number in range(points + 1)]
    return [mean(line[start:end]) for start, end in pairwise(edges)]
