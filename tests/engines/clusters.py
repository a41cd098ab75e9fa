"""Which cluster a test runs on: marks that start each emulated cluster once and keep its tests together."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nodewise.clusters.link import needs_supervisor, start_job_cluster
from nodewise.clusters.plan import ClusterPlan
from nodewise.core.errors import MissingDependencyError
from nodewise.core.java import require_java
from nodewise.engines.base import Engine
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.workspace import Workspace

__all__ = ["cluster_param", "on_cluster", "on_no_cluster", "open_engine", "requires_java"]


def _missing_java() -> str:
    try:
        require_java()
    except MissingDependencyError as error:
        return f"{error.message}; {error.hint}"
    return ""


requires_java = pytest.mark.skipif(bool(_missing_java()), reason=_missing_java())


@contextmanager
def open_engine(cluster: ClusterSpec, root: Path) -> Iterator[Engine]:
    """A started engine on a cluster of its own, as a session has it; nothing is left when the block ends.

    Args:
        root: Folder of the workspace that the cluster belongs to.
    """
    plan = ClusterPlan(cluster=cluster)
    link = start_job_cluster(Workspace(root), uuid.uuid4().hex[:12], plan) if needs_supervisor(plan) else None
    try:
        engine = create_engine(cluster, link.access if link else None)
        try:
            engine.start()
            if link is not None:
                link.limit()
            yield engine
        finally:
            engine.stop()
    finally:
        if link is not None:
            link.close()


def cluster_param(name: EngineName, nodes: int, cores_per_node: int = 1) -> Any:
    """A value of the fixture ``engine``, with the marks that its tests need.

    All tests on one engine run in one process of pytest-xdist, so that its clusters are started once.
    """
    cores = f"x{cores_per_node}" if cores_per_node > 1 else ""
    return pytest.param(_spec(name, nodes, cores_per_node), id=f"{name}-{nodes}{cores}", marks=_marks(name))


def on_cluster(name: EngineName, nodes: int, cores_per_node: int = 1) -> Callable[[Any], Any]:
    """Run a test, or all tests of a class, on this emulated cluster."""
    return pytest.mark.parametrize("engine", [cluster_param(name, nodes, cores_per_node)], indirect=True)


def on_no_cluster(name: EngineName) -> Callable[[Any], Any]:
    """Run a test, or all tests of a class, in the process of an engine's tests while none of its clusters is up."""
    param = pytest.param(None, id=name, marks=_marks(name))
    return pytest.mark.parametrize("engine", [param], indirect=True)


def _marks(name: EngineName) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xdist_group(name), *([requires_java] if name == "spark" else [])]


@cache
def _spec(name: EngineName, nodes: int, cores_per_node: int) -> ClusterSpec:
    # pytest starts a fixture anew unless its parameter is the same object.
    return ClusterSpec(engine=name, nodes=nodes, cores_per_node=cores_per_node)
