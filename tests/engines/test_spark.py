"""Engine ``spark``."""

from .clusters import on_cluster
from .contract import EngineContract


@on_cluster("spark", 3)
class TestSparkEngine(EngineContract):
    """A standalone master and three workers."""
