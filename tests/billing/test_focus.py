from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from nodewise.billing.focus import COLUMNS, csv_cell, focus_csv

from .bills import NOON, entry

# Of FOCUS 1.2: columns that must be there, and may never be empty.
MANDATORY = {
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeDescription",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "ServiceCategory",
    "ServiceName",
}
DECIMALS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost", "ListUnitPrice", "ContractedUnitPrice")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_mandatory_column_is_there_and_filled() -> None:
    (row,) = rows_of(focus_csv([entry()])[0])

    assert tuple(row) == COLUMNS
    assert row.keys() >= MANDATORY
    assert {name for name in MANDATORY if not row[name]} == set()
    assert row["ChargeClass"] == ""  # must be empty unless the row corrects an earlier one
    # FOCUS's own columns come first, those of others begin with x_.
    assert [name.startswith("x_") for name in COLUMNS] == sorted(name.startswith("x_") for name in COLUMNS)


def test_a_row_says_what_was_used_and_at_which_price() -> None:
    one = entry(hours=2, tags={"team": "vision"}, run_id="r-1", job="train")
    (row,) = rows_of(focus_csv([one])[0])

    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2026-11-21T12:00:00Z", "2026-11-21T14:00:00Z")
    assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    assert {Decimal(row[name]) for name in ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")} == {
        Decimal("1.2")
    }
    assert (Decimal(row["ListUnitPrice"]), Decimal(row["PricingQuantity"])) == (Decimal("0.6"), 2)
    assert (row["ConsumedUnit"], row["PricingUnit"], row["BillingCurrency"]) == ("Hours", "Hours", "USD")
    assert (row["ProviderName"], row["ServiceName"], row["RegionId"]) == ("Microsoft", "Virtual Machines", "eastus")
    assert (row["SkuId"], row["SkuPriceId"]) == (
        "azure/eastus/Standard_DS3_v2/compute",
        "azure/eastus/Standard_DS3_v2/compute/list",
    )
    assert (row["ChargeCategory"], row["ServiceCategory"], row["PricingCategory"]) == ("Usage", "Compute", "Standard")
    assert json.loads(row["Tags"]) == {"team": "vision"}
    assert (row["ResourceName"], row["x_RunId"], row["x_Job"], row["x_Estimate"]) == (
        "etl/node-0",
        "r-1",
        "train",
        "true",
    )


def test_an_emulated_node_has_a_list_price_and_is_owed_by_nobody() -> None:
    (row,) = rows_of(focus_csv([entry(emulated=True)])[0])

    assert {name: Decimal(row[name]) for name in DECIMALS} == {
        "BilledCost": 0,
        "EffectiveCost": 0,
        "ContractedCost": 0,
        "ContractedUnitPrice": 0,
        "ListCost": Decimal("0.6"),
        "ListUnitPrice": Decimal("0.6"),
    }
    assert row["x_Emulated"] == "true"


def test_a_row_is_cut_at_midnight_so_that_it_lies_in_one_billing_period() -> None:
    one = entry(started_at=datetime(2026, 12, 31, 23, tzinfo=UTC), hours=3)
    first, second = rows_of(focus_csv([one])[0])

    assert (first["ChargePeriodEnd"], first["BillingPeriodEnd"]) == ("2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z")
    assert (second["BillingPeriodStart"], Decimal(second["ListCost"])) == ("2027-01-01T00:00:00Z", Decimal("1.2"))


def test_price_times_quantity_is_the_cost_as_far_as_anybody_counts() -> None:
    (row,) = rows_of(focus_csv([entry(price_per_hour=Decimal("0.293"), hours=1 / 3)])[0])

    product = Decimal(row["ListUnitPrice"]) * Decimal(row["PricingQuantity"])
    assert abs(product - Decimal(row["ListCost"])) < Decimal("0.00000000001")
    assert "E" not in row["ListCost"]


def test_spot_and_platform_have_words_of_their_own() -> None:
    spot = entry(price_note="Standard_DS3_v2: $0.03/h in azure eastus, spot (somewhere)")
    fee = entry(charge="platform", node_type="n2-standard-4")
    other = entry(node_type=None)
    first, second, third = rows_of(focus_csv([spot, fee, other])[0])

    assert (first["PricingCategory"], first["SkuPriceId"].rsplit("/", 1)[1]) == ("Dynamic", "spot")
    assert (second["ServiceCategory"], second["ServiceName"], second["ProviderName"]) == (
        "Analytics",
        "Dataproc",
        "Google Cloud",
    )
    assert (third["ProviderName"], third["RegionId"], third["ResourceType"]) == ("nodewise", "", "node")


def test_what_has_no_price_is_left_out_and_counted() -> None:
    text, left_out = focus_csv([entry(price_per_hour=None, hours=2), entry()], NOON, None)

    assert (len(rows_of(text)), left_out) == (1, 2)


def test_the_bounds_cut_entries() -> None:
    text, _ = focus_csv([entry(hours=2)], NOON.replace(hour=13), NOON.replace(hour=20))

    assert [row["ChargePeriodStart"] for row in rows_of(text)] == ["2026-11-21T13:00:00Z"]
    assert rows_of(focus_csv([entry()], NOON.replace(hour=14))[0]) == []


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_name_becomes_a_formula(name: str) -> None:
    (row,) = rows_of(focus_csv([entry(user=name, job=name, cluster=name, cluster_id=name)])[0])

    assert csv_cell(name) == f"'{name}"
    assert [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))] == []
    assert row["SubAccountId"] == f"'{name}"


def test_an_ordinary_cell_is_left_alone() -> None:
    assert csv_cell("a-b=c") == "a-b=c"
    assert csv_cell(Decimal("-1.5")) == "-1.5"
    assert csv_cell(None) == ""
