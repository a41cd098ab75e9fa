"""Fetching prices, from a server on this machine that speaks the protocol of the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.core.errors import CorruptFileError, DownloadError, InputError, UnknownNameError
from nodewise.metering.prices import find_node_type, node_type_names, node_types
from nodewise.metering.pricing import Pricing, price_parts
from nodewise.metering.refresh import RefreshResult, refresh_prices

from .price_server import PriceServer, item, price_server

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
DS3 = "Standard_DS3_v2"


@pytest.fixture
def prices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "prices"
    monkeypatch.setenv("NODEWISE_PRICES", str(folder))
    return folder


@pytest.fixture
def server(prices: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PriceServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with price_server() as running:
        monkeypatch.setenv("NODEWISE_AZURE_PRICES_URL", running.url)
        yield running


def refresh(region: str | None = None) -> RefreshResult:
    return refresh_prices("azure", region, now=NOW, pause_s=0)


def price_of(name: str) -> tuple[Decimal | None, Decimal | None]:
    row = find_node_type(name)
    return row.price_usd_per_hour, row.price_usd_per_hour_spot


def test_fetched_prices_win_over_the_table_with_date_and_source(server: PriceServer) -> None:
    server.items = [item(DS3, 0.3), item(DS3, 0.05, spot=True)]

    result = refresh()

    row = find_node_type(DS3)
    assert (row.price_usd_per_hour, row.price_usd_per_hour_spot) == (Decimal("0.3"), Decimal("0.05"))
    assert (row.price_date, row.spot_date) == ("2026-11-21", "2026-11-21")
    assert row.price_source == row.spot_source == f"Azure Retail Prices API, {server.url}"
    assert (row.vcpus, row.memory_gib, row.region) == (4, 14, "eastus")
    assert (result.priced, result.with_spot, result.changed, result.date) == (1, 1, 1, "2026-11-21")
    assert len(node_types()) == 272
    (part,) = price_parts(DS3, Pricing(market="spot"))
    assert (part.per_hour, part.date) == (Decimal("0.05"), "2026-11-21")


def test_what_is_not_offered_keeps_its_price(server: PriceServer) -> None:
    server.items = [item(DS3, 0.3)]

    result = refresh()

    assert price_of("Standard_DS4_v2") == (Decimal("0.585"), Decimal("0.06435"))
    # Only the list price came: the spot price stays what and when it was.
    assert price_of(DS3) == (Decimal("0.3"), Decimal("0.03223"))
    assert find_node_type(DS3).spot_date == ""
    assert "Standard_DS4_v2" in result.missing
    assert DS3 not in result.missing


def test_other_prices_of_the_same_machine_are_told_apart(server: PriceServer) -> None:
    server.items = [
        item(DS3, 0.4, windows=True),
        item(DS3, 0.06, low=True),
        item(DS3, 0.07, windows=True, spot=True),
        item(DS3, 0.08, productName="Virtual Machines DSv2 Series CloudServices"),
        item(DS3, 0.09, productName="DSv2 Series Dedicated Host"),
        item(DS3, 0.1, unitOfMeasure="1 Month"),
        item(DS3, 0.11, currencyCode="EUR"),
        item(DS3, 0.12, type="DevTestConsumption"),
        item(DS3, 0.13, type="Reservation"),
        item(DS3, 0.14, serviceName="Cloud Services"),
        item(DS3, 0.15, armRegionName="westeurope"),
        item(DS3, "0.16"),
        item(DS3, -1),
        item("", 0.17),
        item("Standard_DS4_v2", 0.6),
        item(DS3, 0.3),
        item(DS3, 0.05, spot=True),
    ]

    result = refresh()

    assert price_of(DS3) == (Decimal("0.3"), Decimal("0.05"))
    assert (result.priced, result.unknown, result.quarantined) == (2, 0, ())


def test_all_pages_are_fetched(server: PriceServer) -> None:
    server.items = [item(f"Standard_X{number}", 1) for number in range(250)] + [item(DS3, 0.31)]

    result = refresh()

    assert price_of(DS3)[0] == Decimal("0.31")
    assert (result.unknown, len(server.requests)) == (250, 3)


def test_the_price_that_began_last_holds(server: PriceServer) -> None:
    server.items = [
        item(DS3, 0.35, effectiveStartDate="2026-07-01T00:00:00Z"),
        item(DS3, 0.33, effectiveStartDate="2025-01-01T00:00:00Z"),
        item(DS3, 0.9, effectiveStartDate="2026-08-01T00:00:00Z", isPrimaryMeterRegion=False),
    ]

    refresh()

    assert price_of(DS3)[0] == Decimal("0.35")


def test_a_price_that_cannot_be_right_is_quarantined_and_said(server: PriceServer) -> None:
    # 4 vCPUs; the family's median is about 0.05 per vCPU and hour.
    server.items = [
        item(DS3, 29.3),
        item("Standard_DS4_v2", 0.0067),
        item("Standard_DS5_v2", 1.2),
        item("Standard_DS5_v2", 1.3, spot=True),
        item("Standard_D4s_v3", 0.19),
        item("Standard_D4s_v3", 0.21),
        item("Standard_D8s_v3", 0.39),
    ]

    result = refresh()

    reasons = {one.name: one.reason for one in result.quarantined}
    assert set(reasons) == {DS3, "Standard_DS4_v2", "Standard_DS5_v2", "Standard_D4s_v3"}
    assert "$7.3250 per vCPU and hour, but its family's median is $0.0" in reasons[DS3]
    assert reasons["Standard_DS5_v2"] == "spot $1.3/h against list $1.2/h"
    assert reasons["Standard_D4s_v3"] == "list prices $0.19 and $0.21 per hour at once"
    assert (price_of(DS3)[0], price_of("Standard_D8s_v3")[0]) == (Decimal("0.293"), Decimal("0.39"))


def test_another_region_has_names_of_its_own(server: PriceServer) -> None:
    server.items = [item(DS3, 0.229, armRegionName="westus2")]

    result = refresh("westus2")

    assert (result.region, result.changed) == ("westus2", 0)
    assert price_of(DS3)[0] == Decimal("0.293")
    row = find_node_type(f"{DS3}@westus2")
    assert (row.price_usd_per_hour, row.price_usd_per_hour_spot, row.region) == (Decimal("0.229"), None, "westus2")
    assert f"{DS3}@westus2" in node_type_names()
    with pytest.raises(UnknownNameError):
        find_node_type(f"{DS3}@eastus")


def test_a_server_that_is_busy_is_asked_again(server: PriceServer) -> None:
    server.items = [item(DS3, 0.3)]
    server.script = [503, 429]

    refresh()

    assert (price_of(DS3)[0], len(server.requests)) == (Decimal("0.3"), 3)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ([503, 503, 503], "could not be fetched: the server answered 503 .* .tried 3 times."),
        ([404], "the server answered 404"),
        ([302], "the server answered 302"),
        ([b"<html>"], "what came is not JSON"),
        ([b"[1]"], "is not a page of the Azure Retail Prices API"),
        ([{"Items": [], "NextPageLink": "http://192.0.2.1/next"}], "its next page lies on another host, 192.0.2.1"),
        ([{"Items": [], "NextPageLink": "https://127.0.0.1/next"}], "lies on another host"),
    ],
)
def test_what_fails_is_one_line_and_changes_nothing(
    server: PriceServer, prices: Path, script: list[int | bytes | dict[str, object]], message: str
) -> None:
    server.items = [item(DS3, 0.3)]
    refresh()
    before = {path.name: path.read_bytes() for path in prices.iterdir()}
    server.script = script

    with pytest.raises(DownloadError, match=message) as caught:
        refresh()

    assert "\n" not in caught.value.message
    assert caught.value.hint == "check the network and try again; the prices that were there before still hold"
    assert {path.name: path.read_bytes() for path in prices.iterdir()} == before


def test_a_failure_on_a_later_page_changes_nothing(server: PriceServer, prices: Path) -> None:
    first = {"Items": [item(DS3, 0.3)], "NextPageLink": f"{server.url}?page=2"}
    server.script = [first, 500, 500, 500]

    with pytest.raises(DownloadError):
        refresh()

    assert not prices.exists()


def test_pages_that_go_round_end(server: PriceServer) -> None:
    page = {"Items": [], "NextPageLink": f"{server.url}?page=2"}
    server.script = [page, page]

    with pytest.raises(DownloadError, match="its pages do not end"):
        refresh()


def test_the_port_of_the_scheme_may_be_written_out(prices: Path) -> None:
    import httpx

    from nodewise.metering.azure_prices import _origin

    assert _origin(httpx.URL("https://prices.azure.com:443/a?b")) == _origin(httpx.URL("https://prices.azure.com/c"))


def test_offline_is_one_line(prices: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("NODEWISE_AZURE_PRICES_URL", "http://127.0.0.1:1/api")

    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1/api could not be fetched: .*refused.*tried 3 times"):
        refresh()


def test_a_region_without_prices_and_one_that_is_none_are_refused(server: PriceServer, prices: Path) -> None:
    with pytest.raises(DownloadError, match="no prices of machines in region 'atlantis'"):
        refresh("atlantis")
    for wrong in ("../x", "East US", "a' or 'b"):
        with pytest.raises(InputError, match="is not the name of a region"):
            refresh(wrong)
    assert not prices.exists()


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"prices": {"a": ["x", null]}}', '{"prices": {"a": [1]}}'])
def test_a_damaged_price_file_is_named(prices: Path, content: str) -> None:
    prices.mkdir()
    (prices / "azure-eastus.json").write_text(content)

    with pytest.raises(CorruptFileError, match="not a price file") as caught:
        find_node_type(DS3)
    assert caught.value.hint == "remove it, or run `nodewise nodes refresh`"


def test_the_price_file_holds_exact_text(server: PriceServer, prices: Path) -> None:
    server.items = [item(DS3, 0.1)]
    result = refresh()

    assert result.path == str(prices / "azure-eastus.json")
    content = json.loads((prices / "azure-eastus.json").read_text())
    assert content["prices"] == {DS3: ["0.1", None]}
