"""A server that speaks the protocol of the Azure Retail Prices API: a filter, a hundred items a page, links onward."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

PAGE = 100
FILTER = re.compile(r"serviceName eq '([^']*)' and armRegionName eq '([^']*)' and priceType eq '([^']*)'")


def item(name: str, price: float | str, **changes: Any) -> dict[str, Any]:
    """A price as the API gives it; ``spot=True`` and ``windows=True`` write it as the API names such prices."""
    short = name.removeprefix("Standard_").replace("_", " ")
    sku = (
        short + (" Spot" if changes.pop("spot", False) else "") + (" Low Priority" if changes.pop("low", False) else "")
    )
    product = "Virtual Machines Series" + (" Windows" if changes.pop("windows", False) else "")
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "unitPrice": price,
        "armRegionName": "eastus",
        "location": "US East",
        "effectiveStartDate": "2026-06-01T00:00:00Z",
        "meterId": "000a794b-bdb0-58be-a0cd-0c3a0f222923",
        "meterName": sku,
        "productId": "DZH318Z0BQPS",
        "skuId": "DZH318Z0BQPS/00TG",
        "productName": product,
        "skuName": sku,
        "serviceName": "Virtual Machines",
        "serviceId": "DZH313Z7MMC8",
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": name,
    } | changes


class PriceServer:
    """``script`` says what happens to each request in turn (a status, or what to answer); then all go well."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.script: list[int | bytes | dict[str, Any]] = []
        self.requests: list[str] = []
        self.url = ""

    def answer(self, path: str) -> bytes:
        query = parse_qs(urlsplit(path).query)
        found = FILTER.fullmatch(query["$filter"][0])
        assert found is not None
        wanted = dict(zip(("serviceName", "armRegionName", "type"), found.groups(), strict=True))
        items = [one for one in self.items if all(one[name] == value for name, value in wanted.items())]
        skip = int(query.get("$skip", ["0"])[0])
        more = skip + PAGE < len(items)
        onward = urlencode({"$filter": query["$filter"][0], "$skip": skip + PAGE})
        content = {
            "BillingCurrency": query.get("currencyCode", ["USD"])[0],
            "CustomerEntityId": "Default",
            "CustomerEntityType": "Retail",
            "Items": items[skip : skip + PAGE],
            "NextPageLink": f"{self.url}?{onward}" if more else None,
            "Count": len(items[skip : skip + PAGE]),
        }
        return json.dumps(content).encode()


@contextmanager
def price_server() -> Iterator[PriceServer]:
    state = PriceServer()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            step = state.script.pop(0) if state.script else None
            if isinstance(step, int):
                self.send_response(step)
                self.send_header("Location", "http://192.0.2.1/")
                self.end_headers()
                return
            body = step if isinstance(step, bytes) else json.dumps(step).encode() if step else state.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}/api/retail/prices"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
