"""The ledger in the columns of FOCUS 1.2, the FinOps Open Cost and Usage Specification.

https://focus.finops.org/focus-specification/v1-2/

One row per entry and day (UTC), of category Usage. FOCUS has no word for what was not billed, so: every row has its
list price and ``ListCost``; of an emulated node ``BilledCost``, ``EffectiveCost`` and ``ContractedCost`` are 0, because
nobody owes it, and ``x_Emulated`` is true. Of other nodes they equal ``ListCost``, which is an estimate without
discounts (``x_Estimate``). FOCUS has no word for an unknown price either: such entries are left out and counted.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, localcontext
from fractions import Fraction

from nodewise.billing.amounts import Piece, clip, hours, split_by_day, utc_midnight
from nodewise.core.errors import UnknownNameError
from nodewise.metering.prices import find_node_type
from nodewise.specs.cluster import NodeType
from nodewise.specs.ledger import LedgerEntry

__all__ = ["COLUMNS", "OWN_COLUMN", "VERSION", "csv_cell", "focus_csv"]

VERSION = "1.2"
OWN_COLUMN = "x_Emulated"

COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    OWN_COLUMN,
    "x_Estimate",
    "x_PriceDate",
    "x_RunId",
    "x_Job",
)
"""In the order of the file: FOCUS's own by name, then nodewise's."""

_DIGITS = 12
_CLOUDS = {
    "aws": ("Amazon Web Services", "Amazon Elastic Compute Cloud"),
    "azure": ("Microsoft", "Virtual Machines"),
    "gcp": ("Google Cloud", "Compute Engine"),
}
_PLATFORMS = {"aws": "Databricks", "azure": "Azure Databricks", "gcp": "Dataproc"}


def focus_csv(
    entries: Iterable[LedgerEntry], since: datetime | None = None, until: datetime | None = None
) -> tuple[str, Fraction]:
    """The entries as a CSV file in UTF-8, and how many node-hours were left out because their price is unknown.

    Costs have twelve decimals, so that a row's cost is its price times its quantity as far as anybody counts.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    left_out = Fraction(0)
    for entry in entries:
        piece = clip(entry, since, until)
        if entry.price_per_hour is None:
            left_out += hours(piece)
            continue
        for part in split_by_day(piece):
            row = _row(entry, entry.price_per_hour, part)
            writer.writerow({name: csv_cell(value) for name, value in row.items()})
    return stream.getvalue(), left_out


def csv_cell(value: str | Decimal | None) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula: text that begins like one gets an apostrophe."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return format(value, "f")
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def _row(entry: LedgerEntry, price: Decimal, piece: Piece) -> dict[str, str | Decimal | None]:
    quantity = _decimal(hours(piece))
    list_cost = _decimal(Fraction(price) * hours(piece))
    owed_price, owed = (Decimal(0), Decimal(0)) if entry.emulated else (price, list_cost)
    node_type = _node_type(entry)
    cloud = "" if node_type is None else node_type.cloud
    provider, service = _CLOUDS.get(cloud, ("nodewise", "Nodes"))
    is_platform = entry.charge == "platform"
    if is_platform:
        service = _PLATFORMS.get(cloud, "Platform")
    is_spot = ", spot (" in entry.price_note
    place = "unknown" if node_type is None else f"{cloud}/{node_type.region}"
    sku = f"{place}/{entry.node_type or 'unknown'}/{entry.charge}"
    month = utc_midnight(piece[0]).replace(day=1)
    return {
        "BilledCost": owed,
        "BillingAccountId": "nodewise",
        "BillingAccountName": "nodewise ledger",
        "BillingCurrency": entry.currency,
        "BillingPeriodEnd": _instant(_next_month(month)),
        "BillingPeriodStart": _instant(month),
        "ChargeCategory": "Usage",
        "ChargeClass": None,
        "ChargeDescription": f"{entry.charge} of node {entry.node} of cluster {entry.cluster}: {entry.price_note}",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodEnd": _instant(piece[1]),
        "ChargePeriodStart": _instant(piece[0]),
        "ConsumedQuantity": quantity,
        "ConsumedUnit": "Hours",
        "ContractedCost": owed,
        "ContractedUnitPrice": owed_price,
        "EffectiveCost": owed,
        "InvoiceIssuerName": provider,
        "ListCost": list_cost,
        "ListUnitPrice": price,
        "PricingCategory": "Dynamic" if is_spot else "Standard",
        "PricingQuantity": quantity,
        "PricingUnit": "Hours",
        "ProviderName": provider,
        "PublisherName": provider,
        "RegionId": None if node_type is None else node_type.region,
        "RegionName": None if node_type is None else node_type.region,
        "ResourceId": f"{entry.cluster_id}/{entry.node}",
        "ResourceName": f"{entry.cluster}/{entry.node}",
        "ResourceType": entry.node_type or "node",
        "ServiceCategory": "Analytics" if is_platform else "Compute",
        "ServiceName": service,
        "ServiceSubcategory": "Data Processing" if is_platform else "Virtual Machines",
        "SkuId": sku,
        "SkuPriceId": f"{sku}/{'spot' if is_spot else 'list'}",
        "SubAccountId": entry.user,
        "SubAccountName": entry.user,
        "Tags": json.dumps(entry.tags, sort_keys=True),
        OWN_COLUMN: "true" if entry.emulated else "false",
        "x_Estimate": "true",
        "x_PriceDate": entry.price_date or None,
        "x_RunId": entry.run_id,
        "x_Job": entry.job,
    }


def _node_type(entry: LedgerEntry) -> NodeType | None:
    try:
        return None if entry.node_type is None else find_node_type(entry.node_type)
    except UnknownNameError:  # it was in a price file that is gone
        return None


def _decimal(number: Fraction) -> Decimal:
    with localcontext(prec=50):
        return round(Decimal(number.numerator) / Decimal(number.denominator), _DIGITS)


def _instant(instant: datetime) -> str:
    # FOCUS knows whole seconds only; quantities stay exact.
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _next_month(month: datetime) -> datetime:
    year, number = (month.year + 1, 1) if month.month == 12 else (month.year, month.month + 1)
    return month.replace(year=year, month=number)
