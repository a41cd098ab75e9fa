"""What a cluster costs: nodes x price x billed time. Money is exact, never a float."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from nodewise.metering.prices import databricks_usd_per_hour, find_node_type
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.scenario import DatabricksFee

__all__ = ["Price", "cost_usd", "price_cluster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What one node costs.

    Attributes:
        usd_per_node_hour: Platform fee included.
        note: Where it was read, and when.
    """

    usd_per_node_hour: Decimal
    note: str


def price_cluster(cluster: ClusterSpec, fee: DatabricksFee | None = None) -> Price | None:
    """The price of one node of the cluster, with the Databricks units where a fee is given.

    None where the cluster names no node type, or no public source gives a price: unknown is not zero.

    Raises:
        UnknownNameError: The node type does not exist.
        SpecError: A fee is asked for, and the node type's Databricks units are not known.
    """
    if cluster.node_type is None:
        return None
    node_type = find_node_type(cluster.node_type)
    added, added_note = (Decimal(0), "") if fee is None else databricks_usd_per_hour(node_type.name, fee)
    if node_type.price_usd_per_hour is None:
        return None
    date = node_type.price_date or "no date given"
    place = f"{node_type.cloud} {node_type.region}"
    note = f"{node_type.name}: ${node_type.price_usd_per_hour}/h in {place}, list ({node_type.price_source}, {date})"
    return Price(
        usd_per_node_hour=node_type.price_usd_per_hour + added,
        note=f"{note} + {added_note}" if added_note else note,
    )


def cost_usd(usd_per_node_hour: Decimal, num_nodes: int, billed_s: float) -> Decimal:
    """US dollars for so many nodes over the billed time.

    cost = num_nodes * usd_per_node_hour * billed_s / 3600

    Args:
        usd_per_node_hour: As :func:`price_cluster` gives it.
        num_nodes: Workers; the driver runs on the machine that started it.
        billed_s: From the start of the cluster to its stop, taken to the millisecond.

    Returns:
        Rounded half-even to six places, a ten-thousandth of a cent.
    """
    milliseconds = round(billed_s * 1000)
    cost = usd_per_node_hour * num_nodes * milliseconds / (3600 * 1000)
    return cost.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)
