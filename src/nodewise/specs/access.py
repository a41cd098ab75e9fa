"""How a program reaches a cluster that is up."""

from __future__ import annotations

from dataclasses import dataclass, field

from nodewise.specs.place import NodePlace

__all__ = ["ClusterAccess"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """What a driver needs in order to run something on a cluster. It holds no secret, only where one is kept.

    Attributes:
        address: Spark master URL or Ray address; None: the engine has no daemons (``local``).
        driver_host: Address of this machine that the nodes reach the driver at.
        environment: Variables for the driver's process and its children.
        places: The worker nodes, in order.
        python: Interpreter of the nodes.
        log_dir: Folder with the logs of the cluster's processes.
        job_server: URL that programs can be handed to; None: there is no server for that.
        is_autoscaled: Whether the engine adds and removes nodes by itself; ``places`` are those of the moment.
    """

    address: str | None = None
    driver_host: str = "127.0.0.1"
    environment: dict[str, str] = field(default_factory=dict)
    places: tuple[NodePlace, ...] = ()
    python: str = ""
    log_dir: str = ""
    job_server: str | None = None
    is_autoscaled: bool = False
