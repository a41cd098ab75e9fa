"""Which cluster a test runs on: marks that start each emulated cluster once and keep its tests together."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from nodewise.core.errors import MissingDependencyError
from nodewise.engines.spark import require_java
from nodewise.specs.cluster import ClusterSpec, EngineName

__all__ = ["cluster_param", "on_cluster", "on_no_cluster", "requires_java"]


def _missing_java() -> str:
    try:
        require_java()
    except MissingDependencyError as error:
        return f"{error.message}; {error.hint}"
    return ""


requires_java = pytest.mark.skipif(bool(_missing_java()), reason=_missing_java())


def cluster_param(name: EngineName, nodes: int) -> Any:
    """A value of the fixture ``engine``, with the marks that its tests need.

    All tests on one engine run in one process of pytest-xdist, so that its clusters are started once.
    """
    return pytest.param(_spec(name, nodes), id=f"{name}-{nodes}", marks=_marks(name))


def on_cluster(name: EngineName, nodes: int) -> Callable[[Any], Any]:
    """Run a test, or all tests of a class, on this emulated cluster."""
    return pytest.mark.parametrize("engine", [cluster_param(name, nodes)], indirect=True)


def on_no_cluster(name: EngineName) -> Callable[[Any], Any]:
    """Run a test, or all tests of a class, in the process of an engine's tests while none of its clusters is up."""
    param = pytest.param(None, id=name, marks=_marks(name))
    return pytest.mark.parametrize("engine", [param], indirect=True)


def _marks(name: EngineName) -> list[pytest.MarkDecorator]:
    return [pytest.mark.xdist_group(name), *([requires_java] if name == "spark" else [])]


@cache
def _spec(name: EngineName, nodes: int) -> ClusterSpec:
    # pytest starts a fixture anew unless its parameter is the same object.
    return ClusterSpec(engine=name, nodes=nodes, cores_per_node=1)
