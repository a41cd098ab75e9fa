"""Finds prices that cannot be right: far from what a node type's family asks per vCPU, or per accelerator."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from statistics import median

from nodewise.specs.cluster import NodeType

__all__ = ["HIGHEST", "LOWEST", "implausible"]

LOWEST = Decimal("0.2")
HIGHEST = Decimal(5)
"""Times the family's median that a price may be."""


def implausible(rows: Iterable[NodeType], known: Iterable[NodeType]) -> dict[str, str]:
    """The node types of ``rows`` whose list or spot price should not be used, by name, each with its reason.

    A list price must lie within :data:`LOWEST` and :data:`HIGHEST` times the median of its family among ``known``, per
    accelerator where the node type has some, else per vCPU; and a spot price must be above zero and not above list.
    """
    medians = _medians(known)
    reasons: dict[str, str] = {}
    for row in rows:
        usd, spot_usd = row.price_usd_per_hour, row.price_usd_per_hour_spot
        if usd is not None:
            middle = medians.get((row.cloud, _family(row)))
            each = usd / _units(row)
            if middle is not None and not LOWEST * middle <= each <= HIGHEST * middle:
                unit = row.accelerator or "vCPU"
                reasons[row.name] = f"${each:.4f} per {unit} and hour, but its family's median is ${middle:.4f}"
        if spot_usd is not None and (spot_usd <= 0 or (usd is not None and spot_usd > usd)):
            reasons.setdefault(row.name, f"spot ${spot_usd}/h against list ${usd}/h")
    return reasons


def _medians(known: Iterable[NodeType]) -> dict[tuple[str, str], Decimal]:
    families: dict[tuple[str, str], list[Decimal]] = {}
    for row in known:
        if row.price_usd_per_hour is not None:
            families.setdefault((row.cloud, _family(row)), []).append(row.price_usd_per_hour / _units(row))
    return {family: median(prices) for family, prices in families.items()}


def _units(row: NodeType) -> Decimal:
    return Decimal(row.accelerator_count) if row.accelerator else Decimal(str(row.vcpus))


def _family(row: NodeType) -> str:
    """The accelerator's name, or the letter that a cloud begins the names of like machines with: c5, c6i."""
    return row.accelerator or row.name.removeprefix("Standard_")[:1].lower()
