"""The public Azure Retail Prices API: list and spot prices of Linux machines in one region. It takes no key.

https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import httpx

from nodewise.core.progress import SILENT, Progress
from nodewise.metering.offers import TIMEOUT, Offer, check_answer, failed, try_again

__all__ = ["ENVIRONMENT_VARIABLE", "URL", "azure_url", "fetch_offers"]

URL = "https://prices.azure.com/api/retail/prices"
ENVIRONMENT_VARIABLE = "NODEWISE_AZURE_PRICES_URL"

_MOST_PAGES = 1000
# Sold under names of their own: what is on the machine, or who else is on it, differs.
_OTHER_PRODUCTS = ("windows", "cloudservices", "cloud services", "dedicated host")


def azure_url() -> str:
    """Where the API is: ``NODEWISE_AZURE_PRICES_URL``, else Microsoft's address."""
    return os.environ.get(ENVIRONMENT_VARIABLE) or URL


def fetch_offers(region: str, *, url: str, progress: Progress = SILENT, pause_s: float = 1.0) -> list[Offer]:
    """All offers of Linux machines in a region, on demand and spot.

    Raises:
        DownloadError: A page could not be fetched or is not of the API, or the next one lies on another host.
    """
    terms = {"serviceName": "Virtual Machines", "armRegionName": region, "priceType": "Consumption"}
    condition = " and ".join(f"{name} eq '{value}'" for name, value in terms.items())
    progress.stage(f"prices of azure {region}")
    offers = []
    with httpx.Client(timeout=TIMEOUT) as client:
        first = httpx.URL(url, params={"currencyCode": "USD", "$filter": condition})
        for items in _pages(client, first, pause_s):
            offers += [offer for offer in map(_offer, items) if offer is not None]
            progress.advance()
    progress.done(f"{len(offers):,} offers")
    return offers


def _pages(client: httpx.Client, first: httpx.URL, pause_s: float) -> Iterator[list[Any]]:
    page: httpx.URL | None = first
    seen: set[str] = set()
    while page is not None:
        seen.add(str(page))
        content = _get(client, page, pause_s)
        items = content.get("Items") if isinstance(content, dict) else None
        if not isinstance(items, list):
            raise failed(first, "what came is not a page of the Azure Retail Prices API")
        yield items
        link = content.get("NextPageLink")
        page = httpx.URL(link) if isinstance(link, str) and link else None
        if page is not None and _origin(page) != _origin(first):
            raise failed(first, f"its next page lies on another host, {page.host}")
        if page is not None and (str(page) in seen or len(seen) >= _MOST_PAGES):
            raise failed(first, "its pages do not end")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"https": 443, "http": 80}.get(url.scheme)


def _get(client: httpx.Client, url: httpx.URL, pause_s: float) -> Any:
    def fetch() -> bytes:
        response = client.get(url)
        check_answer(url, response)
        return response.content

    try:
        return json.loads(try_again(url, fetch, pause_s), parse_float=Decimal)
    except ValueError:
        raise failed(url, "what came is not JSON") from None


def _offer(item: Any) -> Offer | None:
    """The offer in an item of a page, if it is one of a plain Linux machine by the hour."""
    if not isinstance(item, dict):
        return None
    texts = {name: str(item.get(name) or "") for name in ("armSkuName", "skuName", "productName", "effectiveStartDate")}
    sku = texts["skuName"].lower()
    is_plain = (
        texts["armSkuName"]
        and item.get("type") == "Consumption"
        and item.get("unitOfMeasure") == "1 Hour"
        and item.get("currencyCode") == "USD"
        and not sku.endswith("low priority")
        and not any(words in texts["productName"].lower() for words in _OTHER_PRODUCTS)
    )
    price = item.get("retailPrice")
    if not is_plain or isinstance(price, bool) or not isinstance(price, int | Decimal) or price < 0:
        return None
    return Offer(
        name=texts["armSkuName"],
        is_spot=sku.endswith("spot"),
        usd_per_hour=Decimal(price),
        starts_at=texts["effectiveStartDate"],
        is_primary=item.get("isPrimaryMeterRegion") is True,
    )
