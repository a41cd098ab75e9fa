"""Reading Amazon's price list, from a server on this machine that has one as Amazon publishes it."""

from __future__ import annotations

import csv
import http.server
import io
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nodewise.core.errors import DownloadError, UnknownNameError
from nodewise.metering.prices import find_node_type
from nodewise.metering.refresh import RefreshResult, refresh_prices

ABOUT = (
    '"FormatVersion","v1.0"\n"Disclaimer","This pricing list is for informational purposes only."\n'
    '"Publication Date","2026-11-20T22:08:10Z"\n"Version","20261120220810"\n"OfferCode","AmazonEC2"\n'
)
COLUMNS = [
    "SKU",
    "OfferTermCode",
    "RateCode",
    "TermType",
    "PriceDescription",
    "EffectiveDate",
    "StartingRange",
    "EndingRange",
    "Unit",
    "PricePerUnit",
    "Currency",
    "LeaseContractLength",
    "PurchaseOption",
    "Product Family",
    "Location",
    "Instance Type",
    "vCPU",
    "Memory",
    "Tenancy",
    "Operating System",
    "License Model",
    "CapacityStatus",
    "MarketOption",
    "Pre Installed S/W",
    "Region Code",
]


def row(name: str, usd: str, **changes: str) -> dict[str, str]:
    plain = {
        "SKU": "2223B6PCG6QAUYY6",
        "TermType": "OnDemand",
        "PriceDescription": f'${usd} per On Demand Linux {name} "Instance" Hour',
        "EffectiveDate": "2026-11-01",
        "Unit": "Hrs",
        "PricePerUnit": usd,
        "Currency": "USD",
        "Product Family": "Compute Instance",
        "Instance Type": name,
        "Tenancy": "Shared",
        "Operating System": "Linux",
        "CapacityStatus": "Used",
        "MarketOption": "OnDemand",
        "Pre Installed S/W": "NA",
    }
    return plain | changes


def price_list(*rows: dict[str, str]) -> bytes:
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, COLUMNS, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return (ABOUT + stream.getvalue()).encode()


class Server:
    """``answers``: body, or status, of each request in turn; then 404."""

    def __init__(self) -> None:
        self.answers: list[bytes | int] = []
        self.paths: list[str] = []
        self.cut_bytes = 0


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.paths.append(self.path)
            answer = state.answers.pop(0) if state.answers else 404
            if isinstance(answer, int):
                self.send_error(answer)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer[: len(answer) - state.cut_bytes])

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("NODEWISE_AWS_PRICES_URL", f"http://127.0.0.1:{running.server_port}/current")
        monkeypatch.setenv("NODEWISE_PRICES", str(tmp_path / "prices"))
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            running.shutdown()
            thread.join()


def refresh(region: str | None = None) -> RefreshResult:
    return refresh_prices("aws", region, pause_s=0)


def test_the_plain_on_demand_price_of_linux_is_taken(server: Server) -> None:
    server.answers = [
        price_list(
            row("m5.large", "0.2", **{"Operating System": "Windows"}),
            row("m5.large", "0.3", Tenancy="Dedicated"),
            row("m5.large", "0.4", TermType="Reserved"),
            row("m5.large", "0.5", CapacityStatus="AllocatedCapacityReservation"),
            row("m5.large", "0.6", **{"Pre Installed S/W": "SQL Std"}),
            row("m5.large", "0.7", Unit="Quantity"),
            row("m5.large", "0.8", Currency="CNY"),
            row("m5.large", "0.9", MarketOption="CapacityBlock"),
            row("m5.large", "0.0000000000"),
            row("m5.large", "free"),
            row("", "0.05"),
            row("m5.large", "0.0970000000"),
            row("z9.huge", "1.0"),
        )
    ]

    result = refresh()

    found = find_node_type("m5.large")
    assert (found.price_usd_per_hour, found.region, found.price_usd_per_hour_spot) == (
        Decimal("0.097"),
        "us-east-1",
        None,
    )
    assert found.price_source.startswith("AWS Price List, http://127.0.0.1")
    assert server.paths == ["/current/us-east-1/index.csv"]
    assert (result.priced, result.with_spot, result.changed, result.unknown) == (1, 0, 1, 1)


def test_another_region_is_another_file(server: Server) -> None:
    server.answers = [price_list(row("m5.large", "0.115"))]

    refresh("eu-central-1")

    assert server.paths == ["/current/eu-central-1/index.csv"]
    assert find_node_type("m5.large@eu-central-1").price_usd_per_hour == Decimal("0.115")
    assert find_node_type("m5.large").price_usd_per_hour == Decimal("0.096")


def test_a_list_that_breaks_off_is_fetched_again_and_never_taken_in_part(server: Server) -> None:
    whole = price_list(row("m5.large", "0.097"), row("m5.xlarge", "0.194"))
    server.answers, server.cut_bytes = [whole, whole, whole], 20

    with pytest.raises(DownloadError, match=r"could not be fetched: .*tried 3 times"):
        refresh()

    assert len(server.paths) == 3
    assert find_node_type("m5.large").price_usd_per_hour == Decimal("0.096")


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "the server answered 404"),
        ([503, 503, 503], "the server answered 503"),
        ([b"<html></html>"], "is not a price list of Amazon EC2"),
        ([b""], "is not a price list of Amazon EC2"),
        ([(ABOUT + '"SKU","OfferTermCode"\n').encode()], "is not a price list of Amazon EC2"),
        ([price_list()], "has no prices of machines in region 'us-east-1'"),
    ],
)
def test_what_is_no_price_list_is_refused(server: Server, answers: list[bytes | int], message: str) -> None:
    server.answers = answers

    with pytest.raises(DownloadError, match=message):
        refresh()


def test_a_cloud_without_a_public_list_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown price list 'gcp'; expected one of 'aws', 'azure'"):
        refresh_prices("gcp")
