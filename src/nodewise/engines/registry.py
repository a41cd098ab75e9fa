"""Engines by name; each is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nodewise.core.errors import UnknownNameError
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec

if TYPE_CHECKING:
    from nodewise.engines.base import Engine

__all__ = ["ENGINES", "create_engine"]

ENGINES = {
    "local": "nodewise.engines.local:LocalEngine",
    "ray": "nodewise.engines.ray:RayEngine",
    "spark": "nodewise.engines.spark:SparkEngine",
}


def create_engine(cluster: ClusterSpec, access: ClusterAccess | None = None) -> Engine:
    """The engine for a cluster; nothing is started.

    Args:
        access: Of an emulated cluster that is up; None: the cluster's address, or this process's own workers.

    Raises:
        UnknownNameError: No engine has that name.
    """
    if cluster.engine not in ENGINES:
        raise UnknownNameError("engine", cluster.engine, ENGINES)
    module, _, name = ENGINES[cluster.engine].partition(":")
    engine: Engine = getattr(import_module(module), name)(cluster, access)
    return engine
