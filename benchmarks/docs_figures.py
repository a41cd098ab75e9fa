"""How figures are written in the tables of ``docs/benchmarks.md``."""

from __future__ import annotations

__all__ = ["label", "percent", "precise", "rate", "spread"]


def rate(photos: int, seconds: dict[str, float]) -> str:
    return f"{photos / seconds['median']:,.0f} ({photos / seconds['max']:,.0f}-{photos / seconds['min']:,.0f})"


def spread(figure: dict[str, float]) -> str:
    return f"{figure['median']:,.0f} ({figure['min']:,.0f}-{figure['max']:,.0f})"


def label(name: str) -> str:
    command, _, option = name.partition(" --")
    return f"{command} `--{option}`" if option else name


def precise(figure: dict[str, float], factor: float = 1) -> str:
    """Median, and in brackets the lowest and the highest."""
    middle, low, high = (f"{figure[name] * factor:.2f}" for name in ("median", "min", "max"))
    return f"{middle} ({low} to {high})"


def percent(share: float) -> str:
    return f"{share * 100:.1f}"
