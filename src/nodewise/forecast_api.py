"""How a job will scale, as Python functions: what ``nodewise forecast`` calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT, Progress
from nodewise.specs.forecast import ScalingForecast
from nodewise.specs.whatif import ClusterShape, WhatIfResult, parse_shape

__all__ = ["forecast", "replay"]

StrPath = str | PathLike[str]


def forecast(
    experiment: str | None = None,
    *,
    nodes: Sequence[int] = (),
    data: str | float = 1.0,
    engine: str | None = None,
    node_type: str | None = None,
    report: StrPath | None = None,
    workspace: StrPath | None = None,
) -> ScalingForecast:
    """Say what a job takes on other numbers of nodes, from its runs in the workspace.

    Args:
        experiment: Name or id of a comparison, name of a job, or the id of a run; None: the only job there is.
        nodes: Numbers to forecast; none: those measured, twice and four times the most.
        data: Times the largest amount of data that was measured: ``2`` or ``"2x"``.
        engine, node_type: Which runs, where several kinds fit.
        report: File for a page that shows it; None: none is written.

    Raises:
        InputError: No runs fit, or those of several jobs; or a number is not above 0.
    """
    from nodewise.analysis.scaling.forecast import Question
    from nodewise.runs.forecast import run_forecast
    from nodewise.workspace import Workspace, find_workspace

    if any(count < 1 for count in nodes):
        raise InputError(f"{min(nodes)} is no number of nodes")
    found = run_forecast(
        Workspace(find_workspace(str(workspace) if workspace else None)),
        experiment,
        Question(nodes=tuple(nodes), data=_factor(data)),
        engine=engine,
        node_type=node_type,
    )
    if report is None:
        return found
    from nodewise.report.forecast_page import write_forecast_page

    found = replace(found, report_path=str(report))
    write_forecast_page(Path(report), found)
    return found


def replay(
    source: StrPath,
    *,
    clusters: Sequence[str | ClusterShape] = (),
    partitions: int | None = None,
    report: StrPath | None = None,
    workspace: StrPath | None = None,
    progress: Progress = SILENT,
) -> WhatIfResult:
    """Say what a recorded run would have taken on other clusters, by scheduling its tasks there; nothing is run.

    Args:
        source: Path of a Spark event log, or the id of a run in the workspace, of which the beginning will do.
        clusters: Such as ``nodes=1..32,cores=4,type=m5.xlarge``, see :func:`~nodewise.specs.whatif.parse_shape`; none:
            the recorded nodes, from one to four times as many.
        partitions: Cut every stage of several tasks into so many; None: as recorded.
        report: File for a page that shows it; None: none is written.

    Raises:
        InputError: There is no such log or run, or it tells of no task; or a cluster is none.

    Example:
        >>> nodewise.replay("eventlog", clusters=["nodes=8"]).curve[0].predicted_s  # doctest: +SKIP
        61.3
    """
    from nodewise.runs.whatif import run_whatif
    from nodewise.workspace import Workspace, find_workspace

    shapes = [shape if isinstance(shape, ClusterShape) else parse_shape(shape) for shape in clusters]
    kept = Workspace(find_workspace(str(workspace) if workspace else None))
    found = run_whatif(str(source), shapes, partitions, kept, progress)
    if report is None:
        return found
    from nodewise.report.whatif_page import write_whatif_page

    found = replace(found, report_path=str(report))
    write_whatif_page(Path(report), found)
    return found


def _factor(data: str | float) -> float:
    """``2``, ``2x`` or ``0.5x``."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*x?", str(data).strip())
    if found is None or float(found[1]) <= 0:
        raise InputError(f"data {data!r} is no multiple of what was measured", hint="write 2x or 0.5x")
    return float(found[1])
