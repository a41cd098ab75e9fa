from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tests.billing.bills import entry
from tests.metering.price_server import PriceServer, item, price_server

import nodewise
from nodewise.workspace import Workspace

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Where the commands work, with two hours on a cluster of a cloud and one on an emulated one."""
    workspace = Workspace(tmp_path / "ws")
    start = datetime(2026, 11, 20, 23, tzinfo=UTC)
    workspace.ledger.add(
        [
            entry(started_at=start, hours=2, tags={"team": "vision"}, run_id="r-1", job="train"),
            entry(cluster="try-out", emulated=True, price_per_hour=Decimal("4.50")),
            entry(cluster="=cmd()", node_type=None, price_per_hour=None, price_date="", hours=3),
        ]
    )
    return workspace


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout)
    assert content["ok"]
    result: dict[str, Any] = content["result"]
    return result


def test_money_is_text_in_json_and_rows_add_up(cli: Cli, workspace: Workspace) -> None:
    result = result_of(cli("costs", "--by", "cluster", "--json", "-"))

    assert result["total_usd"] == "5.70"
    assert [(row["key"], row["usd"], row["node_hours"]) for row in result["rows"]] == [
        ("try-out", "4.50", 1.0),
        ("etl", "1.20", 2.0),
        ("=cmd()", "0.00", 3.0),
    ]
    assert (result["real_usd"], result["emulated_usd"], result["unpriced_node_hours"]) == ("1.20", "4.50", 3.0)


@pytest.mark.parametrize("columns", ["80", "120"])
def test_people_see_what_was_owed_and_what_would_have_been(cli: Cli, workspace: Workspace, columns: str) -> None:
    done = cli("costs", env={"COLUMNS": columns})

    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert lines[0].split() == ["CLUSTER", "ESTIMATE", "$", "WOULD", "HAVE", "COST", "$", "NODE-HOURS", "UNPRICED"]
    assert lines[1].split() == ["try-out", "0.00", "4.50", "1.00", "0.00"]
    assert lines[3].split() == ["=cmd()", "unknown", "unknown", "3.00", "3.00"]
    assert lines[4].split() == ["total", "1.20", "4.50", "6.00", "3.00"]
    assert "prices read on 2026-06-18" in done.stdout
    assert "nobody billed it" in done.stdout


def test_small_sums_are_shown_finer_than_cents(cli: Cli, tmp_path: Path) -> None:
    Workspace(tmp_path / "ws").ledger.add([entry(emulated=True, hours=1 / 900)])

    lines = cli("costs").stdout.splitlines()

    assert lines[0].split() == ["CLUSTER", "WOULD", "HAVE", "COST", "$", "NODE-HOURS"]
    assert lines[1].split() == ["etl", "0.000667", "0.0011"]


def test_no_name_can_write_over_the_terminal(cli: Cli, tmp_path: Path) -> None:
    Workspace(tmp_path / "ws").ledger.add([entry(cluster="a\x1b[2Jb")])

    assert cli("costs").stdout.splitlines()[1].startswith("a\\x1b[2Jb ")


def test_days_and_bounds(cli: Cli, workspace: Workspace) -> None:
    by_day = result_of(cli("costs", "--by", "day", "--json", "-"))
    one_day = result_of(
        cli("costs", "show", "--by", "tag:team", "--from", "2026-11-20", "--to", "2026-11-20", "--json", "-")
    )

    assert [(row["key"], row["usd"]) for row in by_day["rows"]] == [("2026-11-20", "0.60"), ("2026-11-21", "5.10")]
    assert (one_day["rows"][0]["key"], one_day["total_usd"]) == ("vision", "0.60")
    assert (one_day["since"], one_day["until"]) == ("2026-11-20T00:00:00+00:00", "2026-11-21T00:00:00+00:00")


def test_csv_adds_up_and_has_no_formula(cli: Cli, workspace: Workspace) -> None:
    done = cli("costs", "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["key"] for row in rows] == ["try-out", "etl", "'=cmd()"]
    assert sum(Decimal(row["usd"]) for row in rows) == Decimal("5.70")


def test_focus_goes_to_a_file_and_says_what_it_leaves_out(cli: Cli, workspace: Workspace, tmp_path: Path) -> None:
    done = cli("costs", "--format", "focus", "--output", "focus.csv", "--from", "2026-11-21")

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "3.00 node-hours without a known price are left out: FOCUS has no word for them\n"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "focus.csv").read_text())))
    assert [(row["ResourceName"], Decimal(row["BilledCost"]), Decimal(row["ListCost"])) for row in rows] == [
        ("etl/node-0", Decimal("0.6"), Decimal("0.6")),
        ("try-out/node-0", 0, Decimal("4.5")),
    ]


def test_the_json_format_is_the_result(cli: Cli, workspace: Workspace) -> None:
    assert json.loads(cli("costs", "--format", "json").stdout)["total_usd"] == "5.70"


def test_the_table_can_go_to_a_file(cli: Cli, workspace: Workspace, tmp_path: Path) -> None:
    assert cli("costs", "--output", "costs.txt").stdout == ""
    assert "WOULD HAVE COST" in (tmp_path / "costs.txt").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--by", "colour"), "error: unknown grouping 'colour'; expected one of 'cluster', 'day', 'job'"),
        (("--from", "yesterday"), "error: Invalid value for '--from'"),
        (("--from", "2026-11-02", "--to", "2026-11-01"), "error: the time from 2026-11-02 to 2026-11-01 is empty"),
        (("--format", "csv", "--json", "-"), "error: --json - and --format csv both go to standard output"),
        (("--format", "xml"), "error: Invalid value for '--format'"),
        (("import", "none.csv"), "error: none.csv does not exist"),
        (("budget", "set", "team"), "error: 'team' is not a tag with its value"),
        (("budget", "set", "tag:a=b", "--stop", "ten"), "error: 'ten' is not an amount of money"),
        (("budget", "remove", "tag:a=b"), "error: unknown budget 'a=b'"),
    ],
)
def test_what_cannot_be_asked_is_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli("costs", *arguments)

    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert "Traceback" not in done.stderr


def test_an_empty_ledger_says_so(cli: Cli, tmp_path: Path) -> None:
    done = cli("costs")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", f"nothing in the ledger of {tmp_path / 'ws'}\n")
    assert not (tmp_path / "ws").exists()


def test_help_shows_the_commands(cli: Cli) -> None:
    assert "nodewise costs show --help" in cli("costs", "--help").stdout
    assert "--by" in cli("costs", "show", "--help").stdout


BILL = (
    "Date,MeterCategory,ResourceId,Quantity,UnitOfMeasure,CostInBillingCurrency,BillingCurrencyCode,Tags\n"
    '11/21/2026,Virtual Machines,/vm/etl,1,1 Hour,1.50,USD,"""team"": ""vision"""\n'
    "21/11/2026,Virtual Machines,/vm/etl,1,1 Hour,1.50,USD,\n"
    "11/21/2026,Storage,/disk,1,GB,0.40,EUR,\n"
)


def test_a_bill_stands_beside_the_estimate(cli: Cli, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "bill.csv").write_text(BILL)

    done = cli("costs", "import", "bill.csv", "--json", "import.json")
    again = cli("costs", "import", "bill.csv")
    table = cli("costs")

    assert done.stdout.splitlines() == [
        "azure: 2 of 3 lines added, 0.40 EUR, 1.50 USD, 2026-11-21 to 2026-11-21",
        "lines that cannot be read: 1",
    ]
    assert done.stderr == "bill.csv: line 3: '21/11/2026' is no date\n"
    assert json.loads((tmp_path / "import.json").read_text())["result"]["totals"] == {"EUR": "0.40", "USD": "1.50"}
    assert again.stdout.splitlines()[0] == "azure: 0 of 3 lines added, no money, 2026-11-21 to 2026-11-21"
    etl = next(line for line in table.stdout.splitlines() if line.startswith("etl"))
    assert etl.split() == ["etl", "1.20", "0.00", "1.50", "0.30", "2.00", "0.00"]
    assert "In EUR, not added to the above" in table.stdout
    assert max(map(len, table.stdout.splitlines())) <= 100


def test_budgets_are_set_listed_and_removed(cli: Cli, workspace: Workspace) -> None:
    now = datetime.now(UTC)
    workspace.ledger.add([entry(started_at=now - timedelta(hours=1), tags={"team": "vision"})])

    shown = cli("costs", "budget", "set", "tag:team=vision", "--warn", "1", "--stop", "$10", "--period", "total")
    listed = result_of(cli("costs", "budget", "list", "--json", "-"))
    removed = cli("costs", "budget", "remove", "tag:team=vision")
    empty = cli("costs", "budget", "list")

    assert shown.stdout.splitlines()[1].split() == ["team=vision", "$1.80", "$1.00", "$10.00", "total", "warn"]
    assert listed["budgets"] == [
        {
            "tag": "team=vision",
            "currency": "USD",
            "warn": "1",
            "stop": "10",
            "period": "total",
            "spent": "1.800000",
            "emulated": "0.000000",
            "unpriced_node_hours": 0.0,
            "level": "warn",
        }
    ]
    assert removed.stderr == "removed the budget of team=vision\n"
    assert empty.stderr == f"no budgets in {workspace.root}\n"


@pytest.fixture
def server() -> Iterator[PriceServer]:
    with price_server() as running:
        yield running


def test_prices_are_refreshed_and_listed(cli: Cli, server: PriceServer, tmp_path: Path) -> None:
    server.items = [
        item("Standard_DS3_v2", 0.3),
        item("Standard_DS3_v2", 0.05, spot=True),
        item("Standard_DS4_v2", 58.5),
    ]
    variables = {
        "NODEWISE_PRICES": str(tmp_path / "prices"),
        "NODEWISE_AZURE_PRICES_URL": server.url,
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "200",
    }

    done = cli("nodes", "refresh", env=variables)
    listed = cli("nodes", "list", "--cloud", "azure", "--vcpus", "4", env=variables)

    today = f"{datetime.now(UTC):%Y-%m-%d}"
    first = f"azure eastus, {today}: 1 of the table's node types priced, 1 at spot too; 1 list prices changed"
    assert done.stdout.splitlines()[0] == first
    assert "Standard_DS4_v2: not taken: $7.3125 per vCPU and hour" in done.stderr
    row = next(line for line in listed.stdout.splitlines() if line.startswith("Standard_DS3_v2 "))
    assert row.split()[-2:] == ["0.3000", "0.0500"]
    assert f"azure eastus: {today}, Azure Retail Prices API" in listed.stdout


def test_refreshing_offline_is_one_line(cli: Cli, tmp_path: Path) -> None:
    variables = {"NODEWISE_PRICES": str(tmp_path / "prices"), "NODEWISE_AZURE_PRICES_URL": "http://127.0.0.1:1/"}

    done = cli("nodes", "refresh", "--json", "-", env=variables | {"NO_PROXY": "127.0.0.1"})

    assert done.returncode == 1
    error = next(line for line in done.stderr.splitlines() if line.startswith("error:"))
    assert "could not be fetched" in error
    assert json.loads(done.stdout)["error"]["code"] == "download_failed"


def test_the_same_from_python(workspace: Workspace) -> None:
    result = nodewise.costs("job", workspace=workspace.root)

    assert {row.key: row.usd for row in result.rows} == {"(none)": "4.50", "train": "1.20"}
