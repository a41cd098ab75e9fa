"""Which machines a job runs on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from nodewise.specs.place import NodeLimits

__all__ = ["ClusterSpec", "EngineName", "NodeType"]

EngineName = Literal["local", "spark", "ray"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeType:
    """A kind of machine that a cloud rents out, with its list price.

    Attributes:
        price_usd_per_hour: Linux, on demand, list; None where no public source gives one.
        price_source: Where the price was read.
        price_date: When, ISO 8601; empty where the source does not say.
        price_usd_per_hour_spot: What it cost when the cloud had capacity to spare; None where no public source says.
        spot_source, spot_date: Of the spot price.
    """

    name: str
    cloud: str
    region: str
    vcpus: float
    memory_gib: float
    accelerator: str | None = None
    accelerator_count: int = 0
    price_usd_per_hour: Decimal | None = None
    price_source: str = ""
    price_date: str = ""
    price_usd_per_hour_spot: Decimal | None = None
    spot_source: str = ""
    spot_date: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSpec:
    """So many equal nodes under one engine.

    Attributes:
        nodes: Workers. With no ``address`` they are emulated on this machine: separate processes (local), Spark workers
            or Ray nodes, each with ``cores_per_node`` slots.
        cores_per_node: Task slots per node, and threads of a training worker.
        node_type: Name in the table of node types, for the price; None: no price.
        address: A cluster that exists already, a Spark master URL or a Ray address; or one of Spark's ``local[...]``.
        port: Port of the emulated cluster's Spark master or Ray head; None: any free one.
        limits: What each emulated node may use.
    """

    engine: EngineName
    nodes: int = 1
    cores_per_node: int = 1
    node_type: str | None = None
    address: str | None = None
    port: int | None = None
    limits: NodeLimits = NodeLimits()

    @property
    def emulated(self) -> bool:
        """Whether this machine stands in for the nodes, which is so unless a cluster's address is given.

        Spark's ``local[...]`` masters are this machine too.
        """
        return self.address is None or self.address.startswith("local")

    @property
    def slots(self) -> int:
        """Tasks that can run at the same time."""
        return self.nodes * self.cores_per_node
