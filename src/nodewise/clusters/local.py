"""Engine ``local`` on emulated nodes: they are places only; the driver's own worker processes enter them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from nodewise.clusters.software import ClusterSetting, Scaling
from nodewise.core.errors import InputError
from nodewise.specs.place import NodePlace

__all__ = ["LocalSoftware"]


class LocalSoftware:
    """Nothing is started, so nothing is waited for.

    Raises:
        InputError: The nodes are to have something of their own, which the driver's processes would not have.
    """

    def __init__(self, setting: ClusterSetting) -> None:
        if setting.environment or setting.init_script or setting.python != sys.executable:
            raise InputError(
                "nodes of engine 'local' run the command's own processes: they take no libraries, environment or "
                "init_script",
                hint="take engine spark or ray, or leave these out of the definition",
            )
        self.address: str | None = None
        self.job_server: str | None = None
        self.environment: dict[str, str] = {}

    def start_driver(self) -> None:
        """There is no daemon."""

    def start_node(self, _place: NodePlace) -> int:
        return 0

    def wait_for_node(self, _place: NodePlace) -> None:
        """There is nothing to wait for."""

    def scaling(self, _places: Sequence[NodePlace]) -> Scaling | None:
        return None
