"""What all pages share: the templates, and the filters that write numbers in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nodewise.core.units import format_bytes, format_count, format_duration
from nodewise.report import text

if TYPE_CHECKING:
    # Loads matplotlib, which a page without charts does not need.
    from nodewise.report.charts import Chart

__all__ = ["drawn", "page_environment"]


def page_environment() -> Environment:
    """The templates of the package; all that is filled in is escaped, and a name that is missing is an error."""
    environment = Environment(
        loader=PackageLoader("nodewise.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        bytes=format_bytes,
        condition=text.condition,
        count=format_count,
        duration=format_duration,
        percent=text.percent,
        plural=text.plural,
        ratio=text.ratio,
        usd=text.usd,
    )
    return environment


def drawn(chart: Chart) -> tuple[Chart, Markup]:
    """A chart and its drawing, the only markup that templates take as it is: made here, with all names escaped."""
    return chart, Markup(chart.svg)  # noqa: S704
