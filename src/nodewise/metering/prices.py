"""The table of node types with their list prices, and the Databricks units that can be added to them.

The table is ``prices.csv`` in this package: rows of kind ``instance`` are node types, of kind ``fee`` what platforms
add, and of kind ``source`` say where a figure was read, and when. USD, Linux, on demand.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

from nodewise.core.errors import SpecError, UnknownNameError
from nodewise.specs.cluster import NodeType
from nodewise.specs.scenario import DatabricksFee

__all__ = ["databricks_usd_per_hour", "find_node_type", "node_type_names", "node_types"]

_DBU_RATE = "databricks DBU rate "


def node_types(cloud: str | None = None, vcpus: float | None = None) -> list[NodeType]:
    """The node types of one cloud, or with so many vCPUs, or all; by cloud, then price, then name.

    Raises:
        UnknownNameError: No node type is of that cloud.
    """
    rows = _node_types()
    clouds = {row.cloud for row in rows}
    if cloud is not None and cloud not in clouds:
        raise UnknownNameError("cloud", cloud, clouds)
    return [row for row in rows if cloud in (None, row.cloud) and vcpus in (None, row.vcpus)]


def node_type_names() -> frozenset[str]:
    """Every name that :func:`find_node_type` finds."""
    return frozenset(row.name for row in _node_types())


def find_node_type(name: str, where: str | None = None) -> NodeType:
    """The node type of that name.

    Should several clouds or regions have one of that name, it is the first in the order of :func:`node_types`: by
    cloud, then the cheapest.

    Args:
        name: As the cloud writes it, upper and lower case included.
        where: What named it, for the message.

    Raises:
        UnknownNameError: There is none; the hint gives the nearest names.
    """
    for row in _node_types():
        if row.name == name:
            return row
    raise UnknownNameError("node type", name, node_type_names(), where=where)


def databricks_usd_per_hour(node_type: str, fee: DatabricksFee) -> tuple[Decimal, str]:
    """What Databricks adds to the price of one node, and where that was read.

    usd_per_hour = units (DBU) per hour of the node type * US dollars per unit of the tier and kind of compute

    Raises:
        SpecError: No public source gives the units of this node type.
    """
    fees = _fees()
    rate = fees.get(_DBU_RATE + node_type)
    if rate is None:
        known = sorted(name.removeprefix(_DBU_RATE) for name in fees if name.startswith(_DBU_RATE))
        raise SpecError(
            f"no Databricks unit rate is known for node type {node_type!r}",
            hint=f"leave out `databricks`, or take one of {', '.join(known)}",
        )
    plan = f"databricks {fee.tier} {fee.compute} compute"
    price = fees[plan]
    rate_note = f"{rate.value} DBU/h ({rate.note}; {_cite(rate.source)})"
    return rate.value * price.value, f"{plan}: {rate_note} x ${price.value}/DBU ({_cite(price.source)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    text: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fee:
    value: Decimal
    source: _Source
    note: str


def _cite(source: _Source) -> str:
    # What follows the first clause is detail for whoever checks the table.
    first_clause = re.split(r"[;(]", source.text)[0].strip()
    return f"{first_clause}, {source.date or 'no date given'}"


@cache
def _table() -> tuple[dict[str, str], ...]:
    text = files("nodewise.metering").joinpath("prices.csv").read_text(encoding="utf-8")
    return tuple(csv.DictReader(io.StringIO(text)))


@cache
def _sources() -> dict[str, _Source]:
    rows = [row for row in _table() if row["kind"] == "source"]
    return {row["name"]: _Source(text=row["value"], date=_iso_date(row["note"])) for row in rows}


def _iso_date(note: str) -> str:
    found = re.search(r"\b\d{4}-\d{2}-\d{2}\b", note)
    return found.group() if found else ""


@cache
def _fees() -> dict[str, _Fee]:
    return {
        row["name"]: _Fee(
            value=Decimal(row["value"]), source=_sources()[row["src_price"] or row["src_spec"]], note=row["note"]
        )
        for row in _table()
        if row["kind"] == "fee"
    }


@cache
def _node_types() -> tuple[NodeType, ...]:
    rows = [_node_type(row) for row in _table() if row["kind"] == "instance"]
    return tuple(sorted(rows, key=lambda row: (row.cloud, row.price_usd_per_hour or Decimal("Infinity"), row.name)))


def _node_type(row: dict[str, str]) -> NodeType:
    source = _sources().get(row["src_price"], _Source(text="", date=""))
    return NodeType(
        name=row["name"],
        cloud=row["cloud"],
        region=row["region"],
        vcpus=float(row["vcpus"]),
        memory_gib=float(row["memory_gib"]),
        accelerator=row["accelerator"] or None,
        accelerator_count=int(row["accelerator_count"] or 0),
        price_usd_per_hour=Decimal(row["on_demand_usd_h"]) if row["on_demand_usd_h"] else None,
        price_source=source.text,
        price_date=source.date,
    )
