"""What a node costs per hour: the machine itself, and what a platform adds to it. Unknown is not zero."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from nodewise.core.errors import SpecError
from nodewise.metering.prices import databricks_usd_per_hour, dataproc_usd_per_hour, find_node_type
from nodewise.specs.cluster import NodeType
from nodewise.specs.scenario import DatabricksFee

__all__ = ["PricePart", "Pricing", "price_parts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """Which of a node type's prices applies.

    Attributes:
        market: ``list``: on demand; ``spot``: a machine that the cloud may take back.
        platform: The fee on top: Databricks units, Dataproc's per vCPU, or none.
    """

    market: Literal["list", "spot"] = "list"
    platform: DatabricksFee | Literal["dataproc"] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PricePart:
    """One part of what a node costs.

    Attributes:
        charge: ``compute`` for the machine, ``platform`` for the fee.
        per_hour: None where it is not known; ``note`` says why.
        note: What it is made of and where that was read.
        date: Of the price, ISO 8601; empty where the source does not say.
    """

    charge: Literal["compute", "platform"]
    per_hour: Decimal | None
    currency: str = "USD"
    note: str
    date: str = ""


def price_parts(node_type: str | None, pricing: Pricing | None = None) -> tuple[PricePart, ...]:
    """What one node of a type costs: its compute, then its platform fee where one applies.

    Raises:
        UnknownNameError: There is no such node type.
        SpecError: The platform does not run on it.
    """
    pricing = pricing or Pricing()
    if node_type is None:
        compute = PricePart(charge="compute", per_hour=None, note="no node type was named")
        return (compute,) if pricing.platform is None else (compute, _no_fee("no node type was named"))
    row = find_node_type(node_type)
    compute = _compute(row, pricing)
    if pricing.platform is None:
        return (compute,)
    if pricing.platform == "dataproc":
        per_hour, note = dataproc_usd_per_hour(row)
        return compute, PricePart(charge="platform", per_hour=per_hour, note=note)
    try:
        per_hour, note = databricks_usd_per_hour(row.name, pricing.platform)
    except SpecError as error:
        return compute, _no_fee(error.message)
    return compute, PricePart(charge="platform", per_hour=per_hour, note=note)


def _compute(row: NodeType, pricing: Pricing) -> PricePart:
    place = f"{row.cloud} {row.region}"
    if pricing.market == "spot":
        usd, source, date = row.price_usd_per_hour_spot, row.spot_source, row.spot_date
    else:
        usd, source, date = row.price_usd_per_hour, row.price_source, row.price_date
    if usd is None:
        note = f"{row.name}: no public source gives its {pricing.market} price in {place}"
        return PricePart(charge="compute", per_hour=None, note=note)
    note = f"{row.name}: ${usd}/h in {place}, {pricing.market} ({source}, {date or 'no date given'})"
    return PricePart(charge="compute", per_hour=usd, note=note, date=date)


def _no_fee(reason: str) -> PricePart:
    return PricePart(charge="platform", per_hour=None, note=reason)
