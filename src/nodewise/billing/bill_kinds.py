"""The kinds of bills that nodewise reads, told by their columns, and what a line of each says.

Azure Cost Management: https://learn.microsoft.com/azure/cost-management-billing/dataset-schema/schema-index, whose
columns are written in several ways (``Date``, ``date``, ``UsageDateTime``), so capitals do not matter.
FOCUS 1.0 to 1.2: https://focus.finops.org/focus-specification/
Databricks: https://docs.databricks.com/admin/system-tables/billing
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from nodewise.billing.focus import OWN_COLUMN
from nodewise.core.errors import InputError
from nodewise.metering.prices import databricks_usd_per_unit
from nodewise.specs.scenario import DatabricksFee

__all__ = ["KINDS", "BadRowError", "Cells", "Fact", "Kind"]

Cells = dict[str, Any]


class BadRowError(Exception):
    """A line of a bill that cannot be read, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """What a line of a bill says.

    Attributes:
        identity: The line's own number, where the bill has one.
        cost: None: not said, and no price is known.
    """

    identity: str | None = None
    day: date
    service: str
    resource: str
    cost: Decimal | None
    currency: str
    quantity: Decimal | None
    unit: str
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of bill.

    Attributes:
        recognises: Whether columns of these names are of this kind.
        read: What a line says; raises :class:`BadRowError`.
    """

    name: str
    recognises: Callable[[Iterable[str]], bool]
    read: Callable[[Cells], Fact]


# --- Azure Cost Management -------------------------------------------------------------------------------------------

_AZURE = {
    "day": ("date", "usagedate", "usagedatetime"),
    "cost": ("costinbillingcurrency", "cost", "pretaxcost", "extendedcost"),
    "currency": ("billingcurrency", "billingcurrencycode", "currency"),
    "service": ("metercategory", "consumedservice"),
    "resource": ("resourceid", "instanceid", "instancename", "resourcename"),
    "quantity": ("quantity", "usagequantity", "consumedquantity"),
    "unit": ("unitofmeasure",),
    "tags": ("tags",),
}


def _is_azure(columns: Iterable[str]) -> bool:
    names = {name.lower() for name in columns}
    needed = ("day", "cost", "currency", "service")
    return "metercategory" in names and all(names.intersection(_AZURE[field]) for field in needed)


def _read_azure(cells: Cells) -> Fact:
    lower = {name.lower(): value for name, value in cells.items()}

    def cell(name: str) -> str:
        return next((_text(lower[one]) for one in _AZURE[name] if _text(lower.get(one))), "")

    _whole(cells)
    return Fact(
        day=_day(cell("day")),
        service=cell("service"),
        resource=cell("resource"),
        cost=_number(cell("cost"), "cost"),
        currency=_currency(cell("currency")),
        quantity=_number(cell("quantity"), "quantity") if cell("quantity") else None,
        unit=cell("unit"),
        tags=_azure_tags(cell("tags")),
    )


def _azure_tags(text: str) -> dict[str, str]:
    """Azure writes ``"a": "b","c": "d"``, with braces around it only in some exports."""
    return _tags(text if not text or text.startswith("{") else f"{{{text}}}")


# --- FOCUS -----------------------------------------------------------------------------------------------------------

_FOCUS_NEEDED = {"BilledCost", "BillingCurrency", "ChargePeriodStart", "ServiceName"}


def _is_focus(columns: Iterable[str]) -> bool:
    names = set(columns)
    if names >= _FOCUS_NEEDED and OWN_COLUMN in names:
        raise InputError(
            "this file was written by nodewise itself: it is an estimate, not a bill",
            hint="import what the cloud provider has exported",
        )
    return names >= _FOCUS_NEEDED


def _read_focus(cells: Cells) -> Fact:
    _whole(cells)
    quantity = _text(cells.get("ConsumedQuantity"))
    return Fact(
        day=_day(cells.get("ChargePeriodStart")),
        service=_text(cells.get("ServiceName")),
        resource=_text(cells.get("ResourceName")) or _text(cells.get("ResourceId")),
        cost=_number(cells.get("BilledCost"), "BilledCost"),
        currency=_currency(_text(cells.get("BillingCurrency"))),
        quantity=_number(quantity, "ConsumedQuantity") if quantity else None,
        unit=_text(cells.get("ConsumedUnit")),
        tags=_tags(cells.get("Tags")),
    )


# --- Databricks ------------------------------------------------------------------------------------------------------

_DATABRICKS_NEEDED = {"sku_name", "usage_quantity", "usage_unit", "usage_start_time"}
# PREMIUM_JOBS_COMPUTE, PREMIUM_ALL_PURPOSE_COMPUTE_(PHOTON), STANDARD_JOBS_LIGHT_COMPUTE: machines of the customer's.
_CLASSIC_SKU = re.compile(r"(STANDARD|PREMIUM)_(ALL_PURPOSE|JOBS|JOBS_LIGHT)_COMPUTE(?:_\(PHOTON\))?")


def _is_databricks(columns: Iterable[str]) -> bool:
    return set(columns) >= _DATABRICKS_NEEDED


def _read_databricks(cells: Cells) -> Fact:
    _whole(cells)
    sku, unit = _text(cells.get("sku_name")), _text(cells.get("usage_unit"))
    quantity = _number(cells.get("usage_quantity"), "usage_quantity")
    tags = _tags(cells.get("custom_tags"))
    metadata = _tags(cells.get("usage_metadata"))
    names = ("cluster_id", "warehouse_id", "job_id", "notebook_id")
    return Fact(
        identity=_text(cells.get("record_id")) or None,
        day=_day(cells.get("usage_start_time")),
        service=f"Databricks {sku}",
        resource=next((metadata[name] for name in names if metadata.get(name)), ""),
        cost=_list_cost(sku, unit, _text(cells.get("cloud")), quantity),
        currency="USD",
        quantity=quantity,
        unit=unit,
        tags=tags,
    )


def _list_cost(sku: str, unit: str, cloud: str, quantity: Decimal) -> Decimal | None:
    """Units x list price: the table of usage has no money in it."""
    found = _CLASSIC_SKU.fullmatch(sku)
    if found is None or unit != "DBU" or cloud.upper() != "AZURE":
        return None
    compute = {"ALL_PURPOSE": "all-purpose", "JOBS": "jobs", "JOBS_LIGHT": "jobs light"}[found[2]]
    fee = DatabricksFee(tier=found[1].lower(), compute=compute)  # type: ignore[arg-type]
    return quantity * databricks_usd_per_unit(fee)[0]


KINDS = (
    Kind("focus", _is_focus, _read_focus),
    Kind("databricks", _is_databricks, _read_databricks),
    Kind("azure", _is_azure, _read_azure),
)

# --- cells -----------------------------------------------------------------------------------------------------------


def _whole(cells: Cells) -> None:
    if "" in cells:
        raise BadRowError(cells[""])


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).strip()


def _number(value: Any, name: str) -> Decimal:
    try:
        number = Decimal(_text(value))
    except InvalidOperation:
        raise BadRowError(f"{name} {_text(value)[:40]!r} is no number") from None
    if not number.is_finite() or abs(number.adjusted()) > 30:
        raise BadRowError(f"{name} {_text(value)[:40]!r} is no amount")
    return number


def _currency(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{3}", text):
        raise BadRowError(f"{text[:40]!r} is no currency")
    return text.upper()


def _day(value: Any) -> date:
    """Of an instant, in UTC; Azure writes days as 2026-11-21, 2026-11-21T00:00:00Z or 11/21/2026."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    text = _text(value)
    american = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text)
    try:
        if american:
            return date(int(american[3]), int(american[1]), int(american[2]))
        instant = value if isinstance(value, datetime) else datetime.fromisoformat(text)
    except ValueError:
        raise BadRowError(f"{text[:40]!r} is no date") from None
    return (instant if instant.tzinfo is None else instant.astimezone(UTC)).date()


def _tags(value: Any) -> dict[str, str]:
    """Names and values: a mapping, pairs as Parquet has them, or either of them as JSON."""
    if isinstance(value, str):
        if value.strip() in ("", "null", "NULL"):
            return {}
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise BadRowError(f"tags {value[:40]!r} are not JSON") from None
    if value is None:
        return {}
    if isinstance(value, list) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in value):
        value = dict(value)
    if not isinstance(value, dict):
        raise BadRowError(f"tags {str(value)[:40]!r} are not names with values")
    return {str(name): _text(item) for name, item in value.items()}
