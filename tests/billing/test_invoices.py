"""Forty-two invoices, worked out by hand: each with the sum that leads to it, to the cent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from nodewise.billing.costs import collect_costs
from nodewise.billing.meter import ClusterBill
from nodewise.metering.pricing import Pricing
from nodewise.specs.scenario import DatabricksFee
from nodewise.workspace import Workspace

from .bills import NOON, Clock


@dataclass(frozen=True)
class Up:
    """So many nodes of a type, up for so many seconds, the first of them so many seconds after noon."""

    count: int
    node_type: str | None
    seconds: int
    after: int = 0


@dataclass(frozen=True)
class Invoice:
    """What was up, at which prices, and what it comes to."""

    name: str
    ups: tuple[Up, ...]
    usd: str
    pricing: Pricing = Pricing()
    unpriced_node_hours: float = 0


MINUTE, HOUR, DAY = 60, 3600, 86_400
DS3, DS4, DS5 = (f"Standard_DS{number}_v2" for number in (3, 4, 5))
SPOT = Pricing(market="spot")
DATAPROC = Pricing(platform="dataproc")


def databricks(tier: str, compute: str, market: str = "list") -> Pricing:
    return Pricing(market=market, platform=DatabricksFee(tier=tier, compute=compute))  # type: ignore[arg-type]


JOBS = databricks("premium", "jobs")
ALL_PURPOSE = databricks("premium", "all-purpose")

INVOICES = [
    # Azure, list. DS3_v2 0.293, DS4_v2 0.585, DS5_v2 1.17 per hour.
    Invoice("one hour", (Up(1, DS3, HOUR),), "0.29"),  # 0.293
    Invoice("five nodes", (Up(5, DS3, HOUR),), "1.47"),  # 1.465: half a cent goes up
    Invoice("one second", (Up(1, DS3, 1),), "0.00"),  # 0.0000814
    Invoice("many short ones", (Up(100, DS3, 59),), "0.48"),  # 5900 s x 0.293 / 3600 = 0.48019
    Invoice("ninety minutes", (Up(1, "Standard_D4s_v3", 90 * MINUTE),), "0.29"),  # 1.5 x 0.192 = 0.288
    Invoice("three for 7 h 20", (Up(3, "Standard_E4s_v5", 7 * HOUR + 20 * MINUTE),), "5.54"),  # 22 x 0.252 = 5.544
    Invoice("a day", (Up(1, "Standard_F4s_v2", DAY),), "4.06"),  # 24 x 0.169 = 4.056
    Invoice("two with a T4", (Up(2, "Standard_NC4as_T4_v3", 5 * HOUR),), "5.26"),  # 10 x 0.526
    Invoice("a month of an A100", (Up(1, "Standard_NC24ads_A100_v4", 31 * DAY),), "2732.71"),  # 744 x 3.673 = 2732.712
    Invoice("no time at all", (Up(5, DS3, 0),), "0.00"),
    # Azure, nodes that come and go.
    Invoice("one that joins and leaves", (Up(2, DS3, HOUR), Up(1, DS3, 1800, 1200)), "0.73"),  # 2.5 x 0.293 = 0.7325
    Invoice("one lost and replaced", (Up(1, DS4, 1800), Up(1, DS4, 1800, 1800)), "0.59"),  # 1 x 0.585: half goes up
    Invoice("failed start, one came", (Up(1, DS3, 6 * MINUTE),), "0.03"),  # 0.1 x 0.293 = 0.0293
    Invoice("failed start with fee", (Up(5, DS3, 4 * MINUTE),), "0.24", ALL_PURPOSE),  # 1/3 x (0.293 + 0.4125) = 0.235
    # Databricks: DS3_v2 has 0.75 DBU per hour, DS4_v2 1.5, DS5_v2 3.
    Invoice("premium jobs", (Up(1, DS3, HOUR),), "0.52", JOBS),  # 0.293 + 0.75 x 0.30 = 0.518
    Invoice("premium jobs, 10 min", (Up(5, DS3, 10 * MINUTE),), "0.43", JOBS),  # 5/6 x 0.518 = 0.43167
    Invoice("premium all-purpose", (Up(5, DS3, 2 * HOUR + 1800),), "8.82", ALL_PURPOSE),  # 12.5 x 0.7055 = 8.81875
    Invoice("standard jobs", (Up(2, DS3, 3 * HOUR),), "2.43", databricks("standard", "jobs")),  # 6 x 0.4055 = 2.433
    Invoice(
        "standard jobs light", (Up(3, DS3, 20 * MINUTE),), "0.35", databricks("standard", "jobs light")
    ),  # 1 x (0.293 + 0.75 x 0.07) = 0.3455
    Invoice(
        "standard all-purpose", (Up(1, DS4, 8 * HOUR),), "9.48", databricks("standard", "all-purpose")
    ),  # 8 x (0.585 + 1.5 x 0.40) = 9.48
    Invoice(
        "premium jobs light", (Up(2, DS4, 45 * MINUTE),), "1.37", databricks("premium", "jobs light")
    ),  # 1.5 x (0.585 + 1.5 x 0.22) = 1.3725
    Invoice("eight large ones", (Up(8, DS5, 90 * MINUTE),), "24.84", JOBS),  # 12 x (1.17 + 3 x 0.30) = 24.84
    Invoice("a hundred seconds", (Up(1, DS5, 100),), "0.08", ALL_PURPOSE),  # (1.17 + 3 x 0.55) / 36 = 0.07833
    Invoice(
        "a larger driver", (Up(1, DS4, 2160), Up(4, DS3, 2160)), "1.86", JOBS
    ),  # 0.6 x 1.035 + 2.4 x 0.518 = 1.8642
    # Azure, spot: DS3_v2 0.03223, DS5_v2 0.1287.
    Invoice("spot", (Up(10, DS3, HOUR),), "0.32", SPOT),  # 0.3223
    Invoice(
        "spot with units", (Up(4, DS3, 6 * HOUR),), "6.17", databricks("premium", "jobs", "spot")
    ),  # 24 x (0.03223 + 0.225) = 6.17352
    Invoice("twenty at spot", (Up(20, DS5, 12 * HOUR),), "30.89", SPOT),  # 240 x 0.1287 = 30.888
    Invoice("T4 at spot", (Up(2, "Standard_NC4as_T4_v3", 5 * HOUR),), "0.63", SPOT),  # 10 x 0.062699 = 0.62699
    # Dataproc: 0.01 per vCPU and hour, the master's too.
    Invoice("Dataproc", (Up(3, "n1-standard-4", HOUR),), "0.69", DATAPROC),  # 3 x (0.189999 + 0.04) = 0.689997
    Invoice("Dataproc, two hours", (Up(5, "n2-standard-4", 2 * HOUR),), "2.34", DATAPROC),  # 10 x 0.234236 = 2.34236
    Invoice(
        "Dataproc, a quarter", (Up(2, "n2-standard-8", 900),), "0.23", DATAPROC
    ),  # 0.5 x (0.388472 + 0.08) = 0.23424
    Invoice("Dataproc, A100", (Up(1, "a2-highgpu-1g", 1800),), "1.90", DATAPROC),  # 0.5 x (3.673385 + 0.12) = 1.89669
    Invoice("Dataproc, smallest", (Up(1, "n1-standard-1", 10 * HOUR),), "0.58", DATAPROC),  # 10 x 0.0575: half goes up
    Invoice(
        "Dataproc at spot", (Up(4, "e2-standard-4", 3 * HOUR),), "1.45", Pricing(market="spot", platform="dataproc")
    ),  # 12 x (0.080424 + 0.04) = 1.445088
    # Google and Amazon without a platform.
    Invoice("L4 at spot", (Up(1, "g2-standard-4", 2 * HOUR),), "0.79", SPOT),  # 2 x 0.397336 = 0.794672
    Invoice("sixteen for 5 min", (Up(16, "c2-standard-4", 5 * MINUTE),), "0.28"),  # 4/3 x 0.208808 = 0.27841
    Invoice("five for 40 min", (Up(5, "m5.xlarge", 40 * MINUTE),), "0.64"),  # 10/3 x 0.192 = 0.64
    Invoice("a V100", (Up(1, "p3.2xlarge", 2 * HOUR + 900),), "6.89"),  # 2.25 x 3.06 = 6.885: half goes up
    Invoice("an hour and a second", (Up(7, "r5.xlarge", HOUR + 1),), "1.76"),  # 7 x 3601/3600 x 0.252 = 1.76449
    # What is not known is not zero: it is counted in hours, and in no sum.
    Invoice("no spot price", (Up(2, "Standard_D4s_v3", HOUR),), "0.00", SPOT, 2),
    Invoice("no units known", (Up(1, "Standard_D4s_v3", HOUR),), "0.19", JOBS, 1),  # 0.192 and a fee
    Invoice("no node type", (Up(1, None, 2 * HOUR), Up(1, DS3, HOUR)), "0.29", unpriced_node_hours=2),
]


@pytest.mark.parametrize("invoice", INVOICES, ids=lambda invoice: invoice.name)
def test_an_invoice_is_right_to_the_cent(invoice: Invoice, tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    clock = Clock()
    bill = ClusterBill(
        workspace.ledger,
        cluster_id="c",
        cluster="c",
        emulated=False,
        user="u",
        pricing=invoice.pricing,
        clock=clock,
    )
    nodes = [(up, number) for up in invoice.ups for number in range(up.count)]
    moments = [(up.after, True, f"node-{invoice.ups.index(up)}-{number}", up) for up, number in nodes]
    moments += [(up.after + up.seconds, False, f"node-{invoice.ups.index(up)}-{number}", up) for up, number in nodes]
    for second, starts, node, up in sorted(moments, key=lambda moment: (moment[0], not moment[1])):
        clock.now = NOON + timedelta(seconds=second)
        if starts:
            bill.node_started(node, up.node_type)
        else:
            bill.node_stopped(node)

    result = collect_costs(workspace)

    assert result.total_usd == invoice.usd
    assert result.unpriced_node_hours == invoice.unpriced_node_hours
    assert result.node_hours == round(sum(up.count * up.seconds for up in invoice.ups) / 3600, 6)
    for entry in workspace.ledger.entries():
        assert entry.price_note
        if entry.charge == "compute" and entry.price_per_hour is not None:
            assert entry.price_date in entry.price_note
            assert entry.price_date or "no date given" in entry.price_note


def test_there_are_forty_invoices_and_more() -> None:
    assert len({invoice.name for invoice in INVOICES}) == 42
