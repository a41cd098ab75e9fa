"""Price files that ``nodewise nodes refresh`` has fetched: one per cloud and region, kept for the user.

<folder>/<cloud>-<region>.json    {"cloud", "region", "source", "date", "prices": {name: [list, spot]}}

The folder is ``NODEWISE_PRICES``, else ``nodewise/prices`` in the user's cache folder: what a machine costs does not
depend on the workspace. Prices are US dollars per hour as text, null where the source gives none.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from nodewise.core.errors import CorruptFileError
from nodewise.core.files import TEMP_PREFIX, user_cache_dir, write_atomic

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "PriceFile",
    "price_file_path",
    "price_file_stamps",
    "prices_dir",
    "read_price_file",
    "write_price_file",
]

ENVIRONMENT_VARIABLE = "NODEWISE_PRICES"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceFile:
    """What one cloud asks in one region.

    Attributes:
        source: Where the prices were read.
        date: When, ISO 8601.
        prices: By name of node type, list and spot price in US dollars per hour; None where the source gives none.
    """

    cloud: str
    region: str
    source: str
    date: str
    prices: dict[str, tuple[Decimal | None, Decimal | None]]


def prices_dir() -> Path:
    """The folder; it need not be there."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    if named:
        return Path(named).expanduser().absolute()
    return user_cache_dir() / "prices"


def price_file_path(cloud: str, region: str) -> Path:
    """Where the prices of a cloud's region are kept.

    Raises:
        ValueError: The region's name is not one.
    """
    if not re.fullmatch(r"[a-z0-9-]+", region):
        raise ValueError(f"{region!r} is not the name of a region")
    return prices_dir() / f"{cloud}-{region}.json"


def price_file_stamps() -> tuple[tuple[str, int, int], ...]:
    """Path, time of change (ns) and length of every price file, in the order of their names."""
    try:
        found = sorted(prices_dir().glob("*.json"))
        files = [(path, path.stat()) for path in found if not path.name.startswith(TEMP_PREFIX)]
    except OSError:
        return ()
    return tuple((str(path), status.st_mtime_ns, status.st_size) for path, status in files)


def write_price_file(prices: PriceFile) -> Path:
    """Keep the prices, in place of those kept before; the file is whole or absent."""
    path = price_file_path(prices.cloud, prices.region)
    content = {
        "cloud": prices.cloud,
        "region": prices.region,
        "source": prices.source,
        "date": prices.date,
        "prices": {
            name: [None if usd is None else format(usd, "f") for usd in pair]
            for name, pair in sorted(prices.prices.items())
        },
    }
    write_atomic(path, json.dumps(content, indent=1) + "\n")
    return path


def read_price_file(path: str) -> PriceFile:
    """The prices that :func:`write_price_file` kept.

    Raises:
        CorruptFileError: The file holds something else; the hint says how to get rid of it.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        prices = {
            name: (None if usd is None else Decimal(usd), None if spot is None else Decimal(spot))
            for name, (usd, spot) in content["prices"].items()
        }
        texts = {name: str(content[name]) for name in ("cloud", "region", "source", "date")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        hint = "remove it, or run `nodewise nodes refresh`"
        raise CorruptFileError(path, f"not a price file: {type(error).__name__}", hint=hint) from None
    return PriceFile(**texts, prices=prices)
