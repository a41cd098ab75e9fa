"""Engine ``local``."""

from .clusters import on_cluster
from .contract import EngineContract


@on_cluster("local", 3)
class TestLocalEngine(EngineContract):
    """Three processes."""
