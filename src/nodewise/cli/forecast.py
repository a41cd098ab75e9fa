"""``nodewise forecast``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit, one_line
from nodewise.cli.progress import RichProgress
from nodewise.core.errors import InputError
from nodewise.core.units import format_duration
from nodewise.report.console import Column, make_table
from nodewise.report.forecast_terminal import render_forecast
from nodewise.report.text import NOTHING, percent, plural
from nodewise.specs.cluster import EngineName

if TYPE_CHECKING:
    from rich.table import Table

    from nodewise.specs.advice import ScaleOutResult

__all__ = ["forecast"]

WORST_SHOWN = 5


def forecast(
    experiment: Annotated[
        str | None,
        typer.Argument(metavar="JOB", help="A comparison, a job or one of its runs; by default the only job there is."),
    ] = None,
    nodes: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Numbers of nodes to forecast: 1,2,4,8,16.", show_default=False),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="TIMES", help="Amount of data, over the most that was measured: 2x.", show_default=False),
    ] = None,
    engine: Annotated[EngineName | None, typer.Option(help="Only runs on this engine.", show_default=False)] = None,
    node_type: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only runs on nodes of this type.", show_default=False)
    ] = None,
    report: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write a page that shows it, as HTML.", show_default=False)
    ] = None,
    replay: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Forecast run times that others measured, a CSV, and compare.", show_default=False
        ),
    ] = None,
    train_smallest: Annotated[
        int | None,
        typer.Option(help="With --replay: node counts of each type to learn from; 3 by default.", show_default=False),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help="Replay the tasks of a run, or of a Spark event log.", show_default=False
        ),
    ] = None,
    cluster: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            help="With --from: clusters to replay it on, 'nodes=1..32,cores=4,type=m5.xlarge'; repeatable.",
            show_default=False,
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(metavar="N", help="With --from: cut every stage into so many tasks.", show_default=False),
    ] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Say what a job takes on other numbers of nodes, with an interval, from its runs on a few.

    Nothing is run. Where too little is known, it says which runs would tell. With --from, the tasks of one run, or of a
    Spark application anywhere, are replayed on other clusters instead.
    """
    about_runs = {
        "JOB": experiment,
        "--nodes": nodes,
        "--data": data,
        "--engine": engine,
        "--node-type": node_type,
        "--report": report,
    }
    about_replay = {"--cluster": cluster, "--partitions": partitions}
    if source is not None:
        others = {"--replay": replay, "--train-smallest": train_smallest}
        _refuse({**{name: value for name, value in about_runs.items() if name != "--report"}, **others}, "--from")
        _what_if(source, cluster or [], partitions, report, workspace, json)
        return
    _refuse(about_replay, "--replay" if replay is not None else "runs in the workspace")
    if replay is not None:
        _refuse(about_runs, "--replay")
        _replay(replay, 3 if train_smallest is None else train_smallest, json)
        return
    _refuse({"--train-smallest": train_smallest}, "runs in the workspace")
    from nodewise.forecast_api import forecast as forecast_job

    result = forecast_job(
        experiment,
        nodes=_counts(nodes),
        data=1.0 if data is None else data,
        engine=engine,
        node_type=node_type,
        report=report,
        workspace=workspace,
    )
    render_forecast(result, console(stderr=json == "-"))
    emit("forecast", result, json)


def _refuse(options: Mapping[str, object], form: str) -> None:
    """No option of one form may stand with another: it would be passed over in silence."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        verb = "does" if len(given) == 1 else "do"
        raise InputError(f"{', '.join(given)} {verb} not go with {form}", hint="see `nodewise forecast --help`")


def _counts(text: str | None) -> list[int]:
    try:
        return [] if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--nodes {text} is not a list of whole numbers such as 1,2,4,8") from None


def _what_if(
    source: str,
    clusters: list[str],
    partitions: int | None,
    report: str | None,
    workspace: str | None,
    json: str | None,
) -> None:
    from nodewise.forecast_api import replay
    from nodewise.report.whatif_terminal import render_whatif

    with RichProgress() as progress:
        result = replay(
            source, clusters=clusters, partitions=partitions, report=report, workspace=workspace, progress=progress
        )
    render_whatif(result, console(stderr=json == "-"))
    emit("forecast", result, json)


def _replay(traces: str, train_smallest: int, json: str | None) -> None:
    from nodewise.advice_api import replay_forecast

    with RichProgress() as progress:
        result = replay_forecast(traces, train_smallest=train_smallest, progress=progress)
    output = console(stderr=json == "-")
    if result.rows:
        error, covered = percent(result.mean_error, 1), percent(result.covered)
        what = "nodes" if result.rows[0].gpus is None else "GPUs"
        output.print(
            f"{plural(len(result.rows), 'run time')} on more {what}, predicted from the {result.train_smallest} "
            f"smallest counts of each node type: wrong by {error} in the mean, and {covered} lie within their 90 % "
            "interval."
        )
        output.print()
        output.print(_worst(result))
    else:
        output.print(f"No workload has more than {plural(train_smallest, 'number')} of nodes of one type.")
    emit("forecast", result, json)


def _worst(result: ScaleOutResult) -> Table:
    table = make_table(
        Column("FARTHEST OFF", "left", folds=True),
        Column("CLUSTER", folds=True),
        Column("MEASURED"),
        Column("PREDICTED"),
        Column("90 % INTERVAL"),
        Column("WRONG BY"),
    )
    for row in sorted(result.rows, key=lambda row: -row.error)[:WORST_SHOWN]:
        table.add_row(
            one_line(", ".join(filter(None, (row.workload, row.framework, row.dataset))) or NOTHING),
            one_line(f"{row.nodes} x {row.instance_type}" + (f", {row.gpus} GPUs" if row.gpus else "")),
            format_duration(row.measured_s),
            format_duration(row.predicted_s),
            f"{format_duration(row.low_s)} - {format_duration(row.high_s)}",
            percent(row.error),
        )
    return table
