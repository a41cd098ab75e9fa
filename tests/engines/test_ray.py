"""Engine ``ray``."""

from .clusters import on_cluster
from .contract import EngineContract


@on_cluster("ray", 3)
class TestRayEngine(EngineContract):
    """Three raylets."""
