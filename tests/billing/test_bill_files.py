"""Bills as clouds export them: their columns are the real ones, their figures are made up."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nodewise.billing.bill_files import import_bill
from nodewise.billing.focus import focus_csv
from nodewise.core.errors import CorruptFileError, InputError
from nodewise.specs.costs import BillRow, ImportResult
from nodewise.workspace import Workspace

from .bills import entry

VM = "/subscriptions/0/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/etl"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def csv_text(columns: str, *rows: Sequence[str]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows([columns.split(","), *rows])
    return stream.getvalue()


def take(workspace: Workspace, content: str | bytes, name: str = "bill.csv") -> ImportResult:
    path = workspace.root.parent / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return import_bill(workspace, path)


def facts(row: BillRow) -> tuple[Any, ...]:
    return row.day.isoformat(), row.service, row.resource, row.cost, row.currency, row.quantity, row.unit, row.tags


# The columns of a cost and usage export of a Microsoft Customer Agreement.
MCA = (
    "invoiceId,billingAccountId,billingPeriodEndDate,billingPeriodStartDate,date,serviceFamily,consumedService,meterId,"
    "meterName,meterCategory,meterSubCategory,SubscriptionId,resourceGroupName,ResourceId,resourceLocation,"
    "effectivePrice,quantity,unitOfMeasure,chargeType,billingCurrency,pricingCurrency,costInBillingCurrency,"
    "costInPricingCurrency,costInUsd,additionalInfo,tags"
)
# The older columns of usage details.
OLD = "UsageDateTime,MeterCategory,MeterName,InstanceId,UsageQuantity,ResourceRate,PreTaxCost,Currency,Tags"
# And those of an Enterprise Agreement.
EA = "Date,MeterCategory,ResourceId,Quantity,UnitOfMeasure,CostInBillingCurrency,BillingCurrencyCode,Tags"


def mca_row(**changes: str) -> list[str]:
    values = {
        "date": "11/21/2026",
        "meterCategory": "Virtual Machines",
        "ResourceId": VM,
        "quantity": "24",
        "unitOfMeasure": "1 Hour",
        "billingCurrency": "EUR",
        "costInBillingCurrency": "7.032",
        "costInUsd": "7.5",
        "tags": '"ClusterName": "etl","team": "vision, and more"',
    }
    values |= changes
    return [values.get(name, "x") for name in MCA.split(",")]


def test_azures_cost_and_usage_export(workspace: Workspace) -> None:
    result = take(workspace, "\ufeff" + csv_text(MCA, mca_row()))

    (row,) = workspace.bills.rows()
    assert facts(row) == (
        "2026-11-21",
        "Virtual Machines",
        VM,
        Decimal("7.032"),
        "EUR",
        Decimal(24),
        "1 Hour",
        {"ClusterName": "etl", "team": "vision, and more"},
    )
    assert (result.kind, result.rows, result.added, result.bad_rows) == ("azure", 1, 1, 0)
    assert (result.totals, result.first_day, result.last_day) == ({"EUR": "7.032"}, "2026-11-21", "2026-11-21")


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (OLD, ["2026-11-21", "Virtual Machines", "DS3 v2", VM, "24", "0.293", "7.032", "EUR", '{"team":"vision"}']),
        (EA, ["11/21/2026", "Virtual Machines", VM, "24", "1 Hour", "7.032", "EUR", '"team": "vision"']),
        (EA.lower(), ["2026-11-21T00:00:00Z", "Virtual Machines", VM, "24", "", "7.032", "eur", '"team": "vision"']),
    ],
    ids=["usage details", "enterprise agreement", "small letters"],
)
def test_azures_other_names_for_the_same_columns(workspace: Workspace, columns: str, row: list[str]) -> None:
    assert take(workspace, csv_text(columns, row)).kind == "azure"

    (kept,) = workspace.bills.rows()
    assert (kept.day, kept.cost, kept.currency, kept.quantity) == (date(2026, 11, 21), Decimal("7.032"), "EUR", 24)
    assert (kept.resource, kept.tags) == (VM, {"team": "vision"})


@pytest.mark.parametrize("text", ["", "{}", "  "])
def test_no_tags_are_no_fault(workspace: Workspace, text: str) -> None:
    take(workspace, csv_text(MCA, mca_row(tags=text)))

    assert workspace.bills.rows()[0].tags == {}


FOCUS = (
    "BilledCost,BillingAccountId,BillingCurrency,ChargeCategory,ChargePeriodEnd,ChargePeriodStart,ConsumedQuantity,"
    "ConsumedUnit,EffectiveCost,ProviderName,ResourceId,ResourceName,ServiceCategory,ServiceName,Tags"
)


def focus_row(cost: str = "1.25", quantity: str = "2", tags: str = '{"team": "vision", "spot": true}') -> list[str]:
    start, end = "2026-11-20T23:00:00Z", "2026-11-21T00:00:00Z"
    head = [cost, "b-1", "USD", "Usage", end, start, quantity, "Hours", "1.1", "AWS"]
    return [*head, "i-1", "etl", "Compute", "Amazon Elastic Compute Cloud", tags]


def test_a_focus_export(workspace: Workspace) -> None:
    result = take(workspace, csv_text(FOCUS, focus_row(), focus_row("-0.25", "")))

    assert (result.kind, result.totals) == ("focus", {"USD": "1.00"})
    assert facts(workspace.bills.rows()[0]) == (
        "2026-11-20",
        "Amazon Elastic Compute Cloud",
        "etl",
        Decimal("1.25"),
        "USD",
        Decimal(2),
        "Hours",
        {"team": "vision", "spot": "true"},
    )
    assert workspace.bills.rows()[1].quantity is None


def test_what_nodewise_wrote_itself_is_no_bill(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="written by nodewise itself"):
        take(workspace, focus_csv([entry()])[0])


def usage(**changes: Any) -> dict[str, Any]:
    return {
        "record_id": "11e22ba4-87b9-4cc2-9770-d10b894b7118",
        "account_id": "a",
        "workspace_id": "1234567890123456",
        "sku_name": "PREMIUM_JOBS_COMPUTE",
        "cloud": "AZURE",
        "usage_start_time": "2026-11-21 10:00:00.000+00:00",
        "usage_end_time": "2026-11-21 11:00:00.000+00:00",
        "usage_date": "2026-11-21",
        "custom_tags": {"ClusterName": "etl", "team": "vision"},
        "usage_unit": "DBU",
        "usage_quantity": Decimal("259.2958"),
        "usage_metadata": {"cluster_id": "0406-020048-brave", "job_id": None},
        "record_type": "ORIGINAL",
    } | changes


USAGE_FACTS = (
    "2026-11-21",
    "Databricks PREMIUM_JOBS_COMPUTE",
    "0406-020048-brave",
    Decimal("77.788740"),  # 259.2958 x 0.30
    "USD",
    Decimal("259.2958"),
    "DBU",
    {"ClusterName": "etl", "team": "vision"},
)


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    cells = [[json.dumps(value) if isinstance(value, dict) else str(value) for value in row.values()] for row in rows]
    return csv_text(",".join(rows[0]), *cells).encode()


def as_json(rows: list[dict[str, Any]]) -> bytes:
    return json.dumps(rows, default=float).encode()


def as_json_lines(rows: list[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(row, default=float).encode() for row in rows)


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    columns = {name: pa.array([row[name] for row in rows]) for name in rows[0]}
    columns["custom_tags"] = pa.array(
        [list(row["custom_tags"].items()) for row in rows], pa.map_(pa.string(), pa.string())
    )
    columns["usage_start_time"] = pa.array([datetime.fromisoformat(row["usage_start_time"]) for row in rows])
    columns["usage_quantity"] = pa.array([row["usage_quantity"] for row in rows], pa.decimal128(38, 18))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@pytest.mark.parametrize("write", [as_csv, as_json, as_json_lines, as_parquet])
def test_databricks_usage_is_priced_by_list(workspace: Workspace, write: Any) -> None:
    result = take(workspace, write([usage()]), "usage")

    (row,) = workspace.bills.rows()
    assert facts(row) == USAGE_FACTS
    assert (result.kind, result.added, result.unpriced) == ("databricks", 1, 0)


@pytest.mark.parametrize(
    ("changes", "cost"),
    [
        ({"sku_name": "STANDARD_ALL_PURPOSE_COMPUTE", "usage_quantity": 10}, "4.00"),
        ({"sku_name": "PREMIUM_ALL_PURPOSE_COMPUTE_(PHOTON)", "usage_quantity": 10}, "5.50"),
        ({"sku_name": "PREMIUM_JOBS_LIGHT_COMPUTE", "usage_quantity": -10}, "-2.20"),
        ({"sku_name": "PREMIUM_JOBS_SERVERLESS_COMPUTE_US_EAST"}, None),
        ({"sku_name": "ENTERPRISE_JOBS_COMPUTE"}, None),
        ({"cloud": "AWS"}, None),
        ({"usage_unit": "GB"}, None),
    ],
)
def test_units_without_a_known_price_are_a_quantity_only(
    workspace: Workspace, changes: dict[str, Any], cost: str | None
) -> None:
    result = take(workspace, as_json([usage(**changes)]), "usage.json")

    (row,) = workspace.bills.rows()
    assert row.cost == (None if cost is None else Decimal(cost))
    assert result.unpriced == (cost is None)


def test_the_same_file_twice_adds_nothing(workspace: Workspace) -> None:
    content = csv_text(MCA, mca_row(), mca_row(), mca_row(date="11/22/2026"))

    first, second = take(workspace, content), take(workspace, content, "again.csv")

    # Two lines that are the same stand for two charges.
    assert (first.added, first.known, second.added, second.known) == (3, 0, 0, 3)
    assert len(workspace.bills.rows()) == 3
    assert second.totals == {}


def test_a_longer_export_adds_what_is_new(workspace: Workspace) -> None:
    take(workspace, csv_text(MCA, mca_row()))
    result = take(workspace, csv_text(MCA, mca_row(), mca_row(date="11/22/2026")))

    assert (result.added, result.known) == (1, 1)


def test_a_record_of_databricks_is_known_by_its_number(workspace: Workspace) -> None:
    take(workspace, as_json([usage(), usage()]), "one.json")
    result = take(workspace, as_csv([usage(record_id="other"), usage()]), "two.csv")

    assert (result.added, result.known, len(workspace.bills.rows())) == (1, 1, 2)


def test_compressed_files_are_read(workspace: Workspace) -> None:
    content = gzip.compress(csv_text(MCA, mca_row()).encode())

    assert take(workspace, content, "bill.csv.gz").added == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"date": "21.11.2026"}, "'21.11.2026' is no date"),
        ({"date": "21/11/2026"}, "'21/11/2026' is no date"),
        ({"costInBillingCurrency": "1.500,00"}, "cost '1.500,00' is no number"),
        ({"costInBillingCurrency": "NaN"}, "cost 'NaN' is no amount"),
        ({"costInBillingCurrency": "1e99"}, "cost '1e99' is no amount"),
        ({"costInBillingCurrency": ""}, "cost '' is no number"),
        ({"billingCurrency": ""}, "'' is no currency"),
        ({"tags": '"team": '}, "are not JSON"),
        ({"tags": "[1]"}, "are not JSON"),
    ],
)
def test_a_bad_line_is_told_and_the_others_are_taken(
    workspace: Workspace, changes: dict[str, str], reason: str
) -> None:
    result = take(workspace, csv_text(MCA, mca_row(), mca_row(**changes), mca_row()))

    assert (result.rows, result.added, result.bad_rows) == (3, 2, 1)
    assert result.bad[0].startswith("line 3: ")
    assert reason in result.bad[0]


def test_a_line_of_another_length_is_bad(workspace: Workspace) -> None:
    result = take(
        workspace, csv_text(EA, ["11/21/2026", "VM"], ["11/21/2026", "VM", VM, "1", "h", "1", "USD", "", "x"])
    )

    assert result.bad == ("line 2: 2 cells instead of 8", "line 3: 9 cells instead of 8")


def test_of_many_bad_lines_twenty_are_told(workspace: Workspace) -> None:
    result = take(workspace, csv_text(MCA, *[mca_row(date="?")] * 25))

    assert (result.bad_rows, len(result.bad)) == (25, 20)


def test_small_costs_may_be_written_with_an_exponent(workspace: Workspace) -> None:
    take(workspace, csv_text(MCA, mca_row(costInBillingCurrency="1.2E-05")))

    assert workspace.bills.rows()[0].cost == Decimal("0.000012")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"a,b\n1,2\n", InputError, "is no bill that nodewise knows .its columns begin 'a, b'"),
        (b"", InputError, "is no bill"),
        (b"[]", InputError, "is no bill"),
        (b"[1]", InputError, "is no bill"),
        (b"[{]", CorruptFileError, "not JSON"),
        (b"{\n}", InputError, "is no bill"),
        (b"\xff\xfe\x00\x01\x02", CorruptFileError, "not text in UTF-8"),
        (b"PAR1 and no more", CorruptFileError, "not a Parquet file"),
        # Without the time: its name has to be the same in every process that collects it.
        (gzip.compress(b"Date,MeterCategory" * 100, mtime=0)[:-9], CorruptFileError, "not whole"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(
    workspace: Workspace, content: bytes, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        take(workspace, content)
    assert "\n" not in str(caught.value)
    assert workspace.bills.rows() == []


def test_a_file_cut_anywhere_gives_our_error_or_fewer_lines(workspace: Workspace) -> None:
    whole = as_parquet([usage(record_id=str(number)) for number in range(3)])
    compressed = gzip.compress(csv_text(MCA, *[mca_row()] * 3).encode())
    for content in (whole, compressed):
        for length in range(0, len(content), 97):
            try:
                assert take(workspace, content[:length], "cut").added <= 3
            except (InputError, CorruptFileError):
                continue


def test_a_path_that_is_no_file_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        import_bill(workspace, tmp_path / "none.csv")
    with pytest.raises(InputError, match="is a folder"):
        import_bill(workspace, tmp_path)


def test_an_instant_belongs_to_its_day_in_utc(workspace: Workspace) -> None:
    late = datetime(2026, 11, 21, 23, 30, tzinfo=UTC).isoformat().replace("+00:00", "-05:00")

    take(workspace, as_json([usage(usage_start_time=late)]), "usage.json")

    assert workspace.bills.rows()[0].day == date(2026, 11, 22)
