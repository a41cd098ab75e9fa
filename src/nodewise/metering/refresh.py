"""Fetches a cloud's current prices and keeps those that can be right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from nodewise.core.errors import DownloadError, InputError, UnknownNameError
from nodewise.core.progress import SILENT, Progress
from nodewise.metering import aws_prices, azure_prices
from nodewise.metering.offers import Offer
from nodewise.metering.price_files import PriceFile, price_file_path, write_price_file
from nodewise.metering.prices import node_types, packaged_node_types
from nodewise.metering.sanity import implausible
from nodewise.specs.cluster import NodeType

__all__ = ["Quarantined", "RefreshResult", "refresh_prices"]

# Google's list cannot be read without a key.
_LISTS = {
    "aws": ("AWS Price List", aws_prices.aws_url, aws_prices.fetch_offers),
    "azure": ("Azure Retail Prices API", azure_prices.azure_url, azure_prices.fetch_offers),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A node type whose fetched prices were not taken."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshResult:
    """What came of fetching prices.

    Attributes:
        path: The price file.
        date: Of the prices: now.
        priced: Node types of the table that have fetched prices now.
        with_spot: Of these, with a spot price.
        changed: Of these, with another list price than before, in this region.
        missing: Node types of the table that were not offered; they keep the price that they had.
        unknown: Offered, but not in the table, whose sizes the API does not give.
    """

    cloud: str
    region: str
    source: str
    date: str
    path: str
    priced: int
    with_spot: int
    changed: int
    missing: tuple[str, ...]
    unknown: int
    quarantined: tuple[Quarantined, ...]


def refresh_prices(
    cloud: str = "azure",
    region: str | None = None,
    *,
    progress: Progress = SILENT,
    now: datetime | None = None,
    pause_s: float = 1.0,
) -> RefreshResult:
    """Fetch the prices of a cloud's Linux machines in a region and keep them as its price file.

    Of several prices of one machine the one that began last is taken. What :func:`implausible` finds is left out and
    said, as is a machine with two prices at once. The file changes only when the whole list has come.

    Args:
        cloud: ``azure`` (list and spot) or ``aws`` (list).
        region: By default the one that the packaged table has.

    Raises:
        UnknownNameError: There is no public list of the cloud.
        InputError: The region's name is not one.
        DownloadError: The prices could not be fetched, or there are none for the region. Nothing was changed.
    """
    if cloud not in _LISTS:
        raise UnknownNameError("price list", cloud, _LISTS)
    title, find_url, fetch = _LISTS[cloud]
    table = {row.name: row for row in packaged_node_types() if row.cloud == cloud}
    region = region or next(iter(table.values())).region
    try:
        price_file_path(cloud, region)
    except ValueError as error:
        raise InputError(str(error), hint="write it as the cloud does, such as westeurope or eu-west-1") from None
    url = find_url()
    offers = fetch(region, url=url, progress=progress, pause_s=pause_s)
    if not offers:
        raise DownloadError(f"{url} has no prices of machines in region {region!r}", hint="check the region's name")
    before = {row.name: row.price_usd_per_hour for row in node_types(cloud) if row.region == region}
    prices, quarantined = _settle(offer for offer in offers if offer.name in table)
    quarantined |= implausible(_priced(table, prices), table.values())
    kept = {name: pair for name, pair in prices.items() if name not in quarantined}
    date, source = f"{now or datetime.now(UTC):%Y-%m-%d}", f"{title}, {url}"
    path = write_price_file(PriceFile(cloud=cloud, region=region, source=source, date=date, prices=kept))
    return RefreshResult(
        cloud=cloud,
        region=region,
        source=source,
        date=date,
        path=str(path),
        priced=len(kept),
        with_spot=sum(spot is not None for _, spot in kept.values()),
        changed=sum(name in before and usd is not None and before[name] != usd for name, (usd, _) in kept.items()),
        missing=tuple(sorted(table.keys() - prices.keys() - quarantined.keys())),
        unknown=len({offer.name for offer in offers} - table.keys()),
        quarantined=tuple(Quarantined(name=name, reason=reason) for name, reason in sorted(quarantined.items())),
    )


_Pair = tuple[Decimal | None, Decimal | None]


def _settle(offers: Iterable[Offer]) -> tuple[dict[str, _Pair], dict[str, str]]:
    """One list and one spot price per name, and the names for which the offers contradict each other."""
    groups: dict[tuple[str, bool], list[Offer]] = {}
    for offer in offers:
        groups.setdefault((offer.name, offer.is_spot), []).append(offer)
    prices: dict[str, _Pair] = {}
    doubtful: dict[str, str] = {}
    for (name, is_spot), group in groups.items():
        best = max((offer.is_primary, offer.starts_at) for offer in group)
        amounts = sorted({offer.usd_per_hour for offer in group if (offer.is_primary, offer.starts_at) == best})
        if len(amounts) > 1:
            listed = " and ".join(f"${usd}" for usd in amounts)
            doubtful[name] = f"{'spot' if is_spot else 'list'} prices {listed} per hour at once"
        usd, spot_usd = prices.get(name, (None, None))
        prices[name] = (usd, amounts[0]) if is_spot else (amounts[0], spot_usd)
    return {name: pair for name, pair in prices.items() if name not in doubtful}, doubtful


def _priced(table: dict[str, NodeType], prices: dict[str, _Pair]) -> list[NodeType]:
    return [
        replace(table[name], price_usd_per_hour=usd, price_usd_per_hour_spot=spot_usd)
        for name, (usd, spot_usd) in prices.items()
    ]
