"""What the public price lists of clouds have in common: offers, and how fetching one fails."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

import httpx

from nodewise.core.errors import DownloadError

__all__ = ["ATTEMPTS", "TIMEOUT", "Offer", "check_answer", "failed", "try_again"]

ATTEMPTS = 3
TIMEOUT = httpx.Timeout(30.0, connect=10.0)

_TRANSIENT_STATUS = frozenset((408, 425, 429, 500, 502, 503, 504))
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One price of one machine with Linux.

    Attributes:
        is_spot: Else on demand.
        starts_at: Since when it holds, ISO 8601.
        is_primary: The meter is that of its own region; others repeat it.
    """

    name: str
    is_spot: bool
    usd_per_hour: Decimal
    starts_at: str
    is_primary: bool = True


class _BusyError(Exception):
    """The server cannot answer now."""


def try_again(url: httpx.URL, fetch: Callable[[], _Value], pause_s: float) -> _Value:
    """What ``fetch`` gives; what may pass (no connection, an overloaded server) is tried :data:`ATTEMPTS` times.

    Args:
        pause_s: Waited before the second attempt, and twice as long before the third.

    Raises:
        DownloadError: It fails each time.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        try:
            return fetch()
        except (httpx.TransportError, _BusyError) as error:
            reason = str(error) or type(error).__name__
    raise failed(url, f"{reason} (tried {ATTEMPTS} times)")


def check_answer(url: httpx.URL, response: httpx.Response) -> None:
    """Go on only if the server has sent what was asked for; to be called within :func:`try_again`."""
    if not response.is_success:
        reason = f"the server answered {response.status_code} {response.reason_phrase}"
        raise _BusyError(reason) if response.status_code in _TRANSIENT_STATUS else failed(url, reason)


def failed(url: httpx.URL, reason: str) -> DownloadError:
    """The error for a price list that could not be fetched."""
    address = f"{url.scheme}://{url.netloc.decode()}{url.path}"
    hint = "check the network and try again; the prices that were there before still hold"
    return DownloadError(f"{address} could not be fetched: {reason}", hint=hint)
