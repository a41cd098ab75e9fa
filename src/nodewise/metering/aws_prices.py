"""The public price list files of Amazon EC2: on-demand prices of Linux machines in one region. They take no key.

https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/reading-service-price-list-file-for-services.html

A file is a table of some hundred megabytes with every price of a region; it is read as it comes, and not kept. Spot
prices are not in it.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

import httpx

from nodewise.core.progress import SILENT, Progress
from nodewise.metering.offers import TIMEOUT, Offer, check_answer, failed, try_again

__all__ = ["ENVIRONMENT_VARIABLE", "URL", "aws_url", "fetch_offers"]

URL = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current"
ENVIRONMENT_VARIABLE = "NODEWISE_AWS_PRICES_URL"

# Of the dozen prices of a machine, that of the plain one: nothing on it but Linux, nobody else's, and in use.
_PLAIN = {
    "TermType": {"OnDemand"},
    "Unit": {"Hrs"},
    "Currency": {"USD"},
    "Operating System": {"Linux"},
    "Tenancy": {"Shared"},
    "CapacityStatus": {"Used"},
    "Pre Installed S/W": {"NA", ""},
    "MarketOption": {"OnDemand", ""},
}
_NEEDED = {*_PLAIN, "Instance Type", "PricePerUnit", "EffectiveDate"} - {"MarketOption"}


def aws_url() -> str:
    """Where the price lists are: ``NODEWISE_AWS_PRICES_URL``, else Amazon's address."""
    return os.environ.get(ENVIRONMENT_VARIABLE) or URL


def fetch_offers(region: str, *, url: str, progress: Progress = SILENT, pause_s: float = 1.0) -> list[Offer]:
    """All on-demand offers of plain Linux machines in a region.

    Raises:
        DownloadError: The file could not be fetched, or is no such table.
    """
    address = httpx.URL(f"{url}/{region}/index.csv")
    progress.stage(f"prices of aws {region}")

    def fetch() -> list[Offer]:
        with httpx.stream("GET", address, timeout=TIMEOUT) as response:
            check_answer(address, response)
            return list(_offers(address, response.iter_lines()))

    offers = try_again(address, fetch, pause_s)
    progress.done(f"{len(offers):,} offers")
    return offers


def _offers(address: httpx.URL, lines: Iterator[str]) -> Iterator[Offer]:
    # Five lines about the file come before the names of the columns.
    header = next((line for line in lines if line.startswith('"SKU"')), "")
    names = next(csv.reader([header]), [])
    if not set(names) >= _NEEDED:
        raise failed(address, "what came is not a price list of Amazon EC2")
    # Most of the lines are of other kinds; what cannot be one of ours is not worth taking apart.
    likely = (line for line in lines if '"OnDemand"' in line and '"Linux"' in line)
    for values in csv.reader(likely):
        row = dict(zip(names, values, strict=False))
        if row.get("Instance Type") and all(row.get(name, "") in wanted for name, wanted in _PLAIN.items()):
            usd = _price(row["PricePerUnit"])
            if usd is not None:
                yield Offer(name=row["Instance Type"], is_spot=False, usd_per_hour=usd, starts_at=row["EffectiveDate"])


def _price(text: str) -> Decimal | None:
    try:
        usd = Decimal(text)
    except InvalidOperation:
        return None
    # Capacity that is paid for otherwise is in the list at nothing.
    return usd.normalize() if usd.is_finite() and usd > 0 else None
