"""What a cluster costs: nodes x price x billed time. Money is exact, never a float."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from nodewise.metering.prices import databricks_usd_per_hour, find_node_type
from nodewise.metering.pricing import Pricing, price_parts
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


def price_cluster(cluster: ClusterSpec, pricing: Pricing | None = None) -> Price | None:
    """The price of one node of the cluster, with the platform's fee where one applies.

    None where the cluster names no node type, or no public source gives a price: unknown is not zero.

    Raises:
        UnknownNameError: The node type does not exist.
        SpecError: A fee is asked for, and the node type's Databricks units are not known.
    """
    if cluster.node_type is None:
        return None
    pricing = pricing or Pricing()
    if isinstance(pricing.platform, DatabricksFee):
        # A comparison that asks for a fee which nobody knows is refused; a ledger would note it as unknown.
        databricks_usd_per_hour(find_node_type(cluster.node_type).name, pricing.platform)
    parts = price_parts(cluster.node_type, pricing)
    prices = [part.per_hour for part in parts if part.per_hour is not None]
    if len(prices) < len(parts):
        return None
    return Price(usd_per_node_hour=sum(prices, Decimal(0)), note=" + ".join(part.note for part in parts))


def cost_usd(usd_per_node_hour: Decimal, node_s: float) -> Decimal:
    """US dollars for the billed time of nodes.

    cost = usd_per_node_hour * node_s / 3600

    Args:
        usd_per_node_hour: As :func:`price_cluster` gives it.
        node_s: Of all workers together, each from its start to its stop, taken to the millisecond; the driver runs on
            the machine that started it.

    Returns:
        Rounded half-even to six places, a ten-thousandth of a cent.
    """
    milliseconds = round(node_s * 1000)
    cost = usd_per_node_hour * milliseconds / (3600 * 1000)
    return cost.quantize(Decimal("0.000001"), rounding=ROUND_HALF_EVEN)
