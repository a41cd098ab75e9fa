"""A forecast for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nodewise.core.units import format_duration, format_ratio
from nodewise.report.console import Column, make_table, print_line, print_path
from nodewise.report.text import percent, printable, usd
from nodewise.specs.forecast import ForecastPoint, LawFit, ScalingForecast

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["basis_words", "law_sentence", "render_forecast"]

PHYSICS_SHOWN = 8


def render_forecast(forecast: ScalingForecast, console: Console) -> None:
    """Print the sentence, the table, what limits, and what to measure next; reads well from 80 columns on."""
    print_line(console, forecast.sentence, style="bold")
    console.print()
    console.print(_points_table(forecast))
    if forecast.law is not None:
        console.print()
        print_line(console, forecast.limit)
        print_line(console, law_sentence(forecast.law))
    if forecast.physics:
        console.print()
        console.print(_physics_table(forecast))
    if forecast.next_runs:
        console.print()
        print_line(console, f"To measure next, since {forecast.next_reason}:")
        console.print(_next_table(forecast))
    console.print()
    for note in forecast.notes:
        print_line(console, note)
    if forecast.report_path is not None:
        print_path(console, "Report", forecast.report_path)


def law_sentence(law: LawFit | None) -> str:
    """The chosen law with its coefficients and its error; empty without one."""
    if law is None:
        return ""
    values = ", ".join(f"{name} = {format_duration(value)}" for name, value in law.coefficients.items())
    name = law.title[0].upper() + law.title[1:]
    error = "" if law.error is None else f" It misses node counts that it was not shown by {percent(law.error, 1)}."
    return f"{name}, {law.formula}, with {values}.{error}"


def _points_table(forecast: ScalingForecast) -> Table:
    has_price = any(point.cost_usd is not None for point in forecast.points)
    table = make_table(
        Column("NODES"),
        Column("TIME"),
        Column("90 % INTERVAL"),
        Column("SPEEDUP"),
        Column("EFF."),
        *([Column("COST")] if has_price else []),
        Column("BASIS", "left", folds=True),
    )
    for point in forecast.points:
        table.add_row(
            f"{point.nodes:,}",
            format_duration(point.seconds),
            f"{format_duration(point.low_s)} - {format_duration(point.high_s)}",
            format_ratio(point.speedup),
            percent(point.efficiency),
            *([usd(point.cost_usd)] if has_price else []),
            basis_words(point),
        )
    return table


def basis_words(point: ForecastPoint) -> str:
    """``measured, n=3``, ``predicted`` or ``extrapolated``."""
    return f"measured, n={len(point.measured_s)}" if point.basis == "measured" else point.basis


def _physics_table(forecast: ScalingForecast) -> Table:
    part, source = Column("PART OF A MEASURED RUN", "left", folds=True), Column("FROM", "left", folds=True)
    table = make_table(part, Column("TIME"), source)
    shown = sorted(forecast.physics, key=lambda line: -line.seconds)[:PHYSICS_SHOWN]
    for line in forecast.physics:
        if line in shown:
            table.add_row(printable(line.what), format_duration(line.seconds), printable(line.source))
    return table


def _next_table(forecast: ScalingForecast) -> Table:
    has_price = any(run.cost_usd is not None for run in forecast.next_runs)
    table = make_table(Column("NODES"), Column("ABOUT"), *([Column("COST")] if has_price else []))
    for run in forecast.next_runs:
        cost = [usd(run.cost_usd)] if has_price else []
        table.add_row(f"{run.nodes:,}", format_duration(run.seconds), *cost)
    return table
