"""Numbers with units, for people to read. MiB is 2**20, MB is 10**6, money is ``Decimal``."""

from __future__ import annotations

import re
from decimal import Decimal

__all__ = [
    "format_bytes",
    "format_count",
    "format_duration",
    "format_rate",
    "format_ratio",
    "format_usd",
    "parse_bytes",
    "parse_duration",
    "parse_rate",
]

_UNITS = {"": 1, "B": 1}
_UNITS |= {f"{prefix}B": 1000**power for power, prefix in enumerate("kMGT", 1)} | {"KB": 1000}
_UNITS |= {f"{prefix}iB": 1024**power for power, prefix in enumerate("KMGT", 1)}
_RATES = {f"{prefix}bit/s": 1000**power for power, prefix in enumerate(("", "k", "M", "G"))}
_RATES |= {f"{unit}/s": 8 * factor for unit, factor in _UNITS.items() if unit}
_SECONDS = {
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
    "us": Decimal("0.000001"),
}


def format_duration(seconds: float) -> str:
    """Seconds as a person says them: ``0.42 s``, ``12.3 s``, ``4m 05s``, ``2h 03m``."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def format_bytes(count: int) -> str:
    """Bytes in the largest binary unit that keeps a whole part: ``512 B``, ``1.5 MiB``."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


def parse_bytes(text: str) -> int:
    """A number of bytes as a person writes it: ``64MiB``, ``1.5 GB``, ``1048576``.

    Raises:
        ValueError: It is none; the message says what would be.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r} is no number of bytes; write 1048576, 64MiB or 100MB")
    return int(Decimal(match[1]) * _UNITS[match[2]])


def parse_rate(text: str) -> int:
    """Bits per second of a rate as a person writes it: ``100Mbit/s``, ``1 Gbit/s``, ``12.5MB/s``.

    Raises:
        ValueError: It is none; the message says what would be.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]+/s)", text.strip())
    if match is None or match[2] not in _RATES:
        raise ValueError(f"{text!r} is no rate; write 100Mbit/s, 1Gbit/s or 12.5MB/s")
    return int(Decimal(match[1]) * _RATES[match[2]])


def format_rate(bits_per_s: float) -> str:
    """Bits per second in the largest unit that keeps a whole part: ``100 Mbit/s``, ``1.5 Gbit/s``."""
    value, unit = float(bits_per_s), "bit/s"
    for larger in ("kbit/s", "Mbit/s", "Gbit/s"):
        if abs(value) < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def parse_duration(text: str) -> float:
    """Seconds of a duration as a person writes it, the largest unit first: ``5ms``, ``90s``, ``1h30m``, ``1.5 h``.

    Raises:
        ValueError: It is none; the message says what would be.
    """
    number = r"(\d+(?:\.\d+)?)\s*"
    parts = re.fullmatch("".join(rf"(?:{number}{unit}\s*)?" for unit in _SECONDS), text.strip())
    if parts is None or not any(parts.groups()):
        raise ValueError(f"{text!r} is no duration; write 5ms, 90s or 1h30m")
    return float(
        sum(Decimal(part) * unit for part, unit in zip(parts.groups(), _SECONDS.values(), strict=True) if part)
    )


def format_usd(amount: Decimal | None) -> str:
    """US dollars with as many digits as tell two small runs apart; an unknown price is never shown as zero."""
    if amount is None:
        return "unknown"
    if amount == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}"
    return f"${amount:.4f}" if abs(amount) >= Decimal("0.001") else f"${amount:.6f}"


def format_count(number: float) -> str:
    """A count with thousands separators: ``1,797``."""
    return f"{number:,.0f}"


def format_ratio(value: float) -> str:
    """A ratio with two decimals below ten, one above: ``0.62x``, ``12.4x``."""
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x"
