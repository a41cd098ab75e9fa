"""Rates, short times and shares in words, rounded to what a measurement can tell."""

from __future__ import annotations

__all__ = ["ceiling_text", "format_rate", "format_share", "format_short_time"]


def format_rate(records_per_s: float) -> str:
    """Images per second with three digits that count: ``5,940``, ``12.3``, ``0.42``."""
    digits = float(f"{records_per_s:.3g}")
    return f"{digits:,.0f}" if abs(digits) >= 100 else f"{digits:g}"


def format_short_time(seconds: float) -> str:
    """Seconds with two digits that count, in the unit that suits them: ``1.2 s``, ``12 ms``, ``4.1 µs``."""
    size = abs(seconds)
    scale, unit = (1.0, "s") if size >= 0.9995 or not size else (1e3, "ms") if size >= 1e-4 else (1e6, "µs")
    digits = float(f"{seconds * scale:.2g}")
    # Of a large number all digits before the point are written: "120" reads better than "1.2e+02".
    return f"{digits:,.0f} {unit}" if abs(digits) >= 10 else f"{digits:g} {unit}"


def format_share(share: float) -> str:
    """A share of 1 in whole percents, but never ``100 %`` of what is less, nor ``0 %`` of what is something."""
    percent = round(share * 100)
    return f"{min(max(percent, 1), 99) if 0 < share < 1 else percent} %"


def ceiling_text(name: str) -> str:
    """What a ceiling is the ceiling of: ``decoding alone``."""
    return {"decode": "decoding alone", "read": "reading the bytes alone"}.get(name, f"{name} alone")
