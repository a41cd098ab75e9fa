"""The table of node types with their prices, and the fees that platforms add to them.

The table is ``prices.csv`` in this package: rows of kind ``instance`` are node types, of kind ``fee`` what platforms
add, and of kind ``source`` say where a figure was read, and when. USD, Linux. What ``nodewise nodes refresh`` has
fetched (:mod:`nodewise.metering.price_files`) wins over it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files

from nodewise.core.errors import SpecError, UnknownNameError
from nodewise.metering.price_files import PriceFile, price_file_stamps, read_price_file
from nodewise.specs.cluster import NodeType
from nodewise.specs.scenario import DatabricksFee

__all__ = [
    "databricks_usd_per_hour",
    "databricks_usd_per_unit",
    "dataproc_usd_per_hour",
    "find_node_type",
    "node_type_names",
    "node_types",
    "packaged_node_types",
]

_DBU_RATE = "databricks DBU rate "
_DATAPROC = "dataproc on Compute Engine"


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
    return frozenset(_by_name(price_file_stamps()))


def find_node_type(name: str, where: str | None = None) -> NodeType:
    """The node type of that name, in the region that the packaged table has of its cloud.

    One whose prices were fetched for another region is found as ``NAME@REGION``.

    Args:
        name: As the cloud writes it, upper and lower case included.
        where: What named it, for the message.

    Raises:
        UnknownNameError: There is none; the hint gives the nearest names.
    """
    known = _by_name(price_file_stamps())
    if name not in known:
        raise UnknownNameError("node type", name, known, where=where)
    return known[name]


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
    usd_per_unit, source = databricks_usd_per_unit(fee)
    rate_note = f"{rate.value} DBU/h ({rate.note}; {_cite(rate.source)})"
    note = f"databricks {fee.tier} {fee.compute} compute: {rate_note} x ${usd_per_unit}/DBU ({source})"
    return rate.value * usd_per_unit, note


def databricks_usd_per_unit(fee: DatabricksFee) -> tuple[Decimal, str]:
    """The list price of one Databricks unit (DBU) in Azure's US regions, and where it was read."""
    price = _fees()[f"databricks {fee.tier} {fee.compute} compute"]
    return price.value, _cite(price.source)


def dataproc_usd_per_hour(node_type: NodeType) -> tuple[Decimal, str]:
    """What Dataproc adds to the price of one node, and where that was read: its fee is per vCPU, any node's alike.

    Raises:
        SpecError: The node type is not of Google's cloud.
    """
    if node_type.cloud != "gcp":
        raise SpecError(
            f"Dataproc does not run on {node_type.name}, which is of {node_type.cloud}",
            hint="leave out `dataproc`, or take a node type of gcp",
        )
    fee = _fees()[_DATAPROC]
    note = f"Dataproc: ${fee.value} per vCPU-hour x {node_type.vcpus:g} ({_cite(fee.source)})"
    return fee.value * Decimal(str(node_type.vcpus)), note


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
def packaged_node_types() -> tuple[NodeType, ...]:
    """The node types of the packaged table alone, in the order of :func:`node_types`."""
    return _ordered(_node_type(row) for row in _table() if row["kind"] == "instance")


def _node_type(row: dict[str, str]) -> NodeType:
    nowhere = _Source(text="", date="")
    source = _sources().get(row["src_price"], nowhere)
    spot = _sources().get(row["src_spot"], nowhere) if row["spot_usd_h"] else nowhere
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
        price_usd_per_hour_spot=Decimal(row["spot_usd_h"]) if row["spot_usd_h"] else None,
        spot_source=spot.text,
        spot_date=spot.date,
    )


def _node_types() -> tuple[NodeType, ...]:
    return _merged(price_file_stamps())


@lru_cache(maxsize=4)
def _merged(stamps: tuple[tuple[str, int, int], ...]) -> tuple[NodeType, ...]:
    """The packaged table with the prices of the files; ``stamps`` changes with any of them."""
    packaged = {(row.cloud, row.region, row.name): row for row in packaged_node_types()}
    sizes = {(row.cloud, row.name): row for row in packaged_node_types()}
    merged = dict(packaged)
    for price_file in (read_price_file(path) for path, *_ in stamps):
        for name, (usd, spot_usd) in price_file.prices.items():
            size = sizes.get((price_file.cloud, name))
            if size is not None:
                key = (price_file.cloud, price_file.region, name)
                merged[key] = _repriced(merged.get(key, size), price_file, usd, spot_usd)
    return _ordered(merged.values())


def _repriced(row: NodeType, fetched: PriceFile, usd: Decimal | None, spot_usd: Decimal | None) -> NodeType:
    if fetched.region != row.region:
        row = NodeType(
            name=row.name,
            cloud=row.cloud,
            region=fetched.region,
            vcpus=row.vcpus,
            memory_gib=row.memory_gib,
            accelerator=row.accelerator,
            accelerator_count=row.accelerator_count,
        )
    if usd is not None:
        row = replace(row, price_usd_per_hour=usd, price_source=fetched.source, price_date=fetched.date)
    if spot_usd is not None:
        row = replace(row, price_usd_per_hour_spot=spot_usd, spot_source=fetched.source, spot_date=fetched.date)
    return row


def _ordered(rows: Iterable[NodeType]) -> tuple[NodeType, ...]:
    return tuple(sorted(rows, key=lambda row: (row.cloud, row.price_usd_per_hour or Decimal("Infinity"), row.name)))


@lru_cache(maxsize=4)
def _by_name(stamps: tuple[tuple[str, int, int], ...]) -> dict[str, NodeType]:
    home = {row.cloud: row.region for row in packaged_node_types()}
    return {row.name if row.region == home[row.cloud] else f"{row.name}@{row.region}": row for row in _merged(stamps)}
