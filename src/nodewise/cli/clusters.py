"""``nodewise clusters``: all-purpose clusters, from their definition to their end."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import emit, say, show
from nodewise.cli.progress import RichProgress
from nodewise.core.errors import ClusterStateError, InputError
from nodewise.core.units import format_duration, format_usd

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nodewise.specs.clusters import ClusterDetail, ClusterEvent, ClusterSummary

__all__ = ["app"]

app = typer.Typer(help="Clusters that stay up between commands.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The cluster's name.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Also while a run has it, which then fails.")]


@app.command(epilog="Example: nodewise clusters create examples/clusters/4x2.yaml")
def create(
    file: Annotated[str, typer.Argument(help="YAML file with the definition; see docs/clusters.md.")],
    name: Annotated[str | None, typer.Option(help="Instead of the name in the file.", show_default=False)] = None,
    preflight: Annotated[
        bool,
        typer.Option("--preflight/--no-preflight", help="Look for what would fail before anything is started."),
    ] = True,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Define a cluster and bring it up; it stays up after this command."""
    import nodewise

    with RichProgress() as progress:
        progress.stage(f"start {name or Path(file).stem}")
        result = nodewise.create_cluster(file, name=name, preflight=preflight, workspace=workspace, progress=progress)
        progress.done()
    _report("clusters create", result, json_path)


@app.command("list", epilog="Example: nodewise clusters list --all-terminated")
def list_clusters(
    all_terminated: Annotated[
        bool, typer.Option("--all-terminated", help="Fail if any cluster is up: exit status 1.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also clusters of single runs that have ended.")] = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the clusters: state, nodes, what each has cost, and when it will stop by itself."""
    import nodewise

    home = open_workspace(workspace)
    clusters = nodewise.list_clusters(workspace=home.root, with_ended_jobs=everything)
    up = [cluster.name for cluster in clusters if cluster.state.is_up]
    error = None
    if all_terminated and up:
        error = ClusterStateError(
            f"still up: {', '.join(up)}", hint="`nodewise clusters stop NAME` ends one, `nodewise clean` all of them"
        )
    if clusters:
        show(_list_table(clusters), json_path)
    else:
        say(f"no clusters in {home.root}")
    emit("clusters list", {"clusters": clusters}, json_path, error)
    if error is not None:
        say(f"error: {error.message}")
        say(f"hint: {error.hint}")
        raise typer.Exit(1)


@app.command("show", epilog="Example: nodewise clusters show small")
def show_cluster(
    name: NameArgument,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show one cluster: its definition, its times and how programs reach it."""
    import nodewise

    detail = nodewise.get_cluster(name, workspace=open_workspace(workspace).root)
    show(_detail_page(detail), json_path)
    emit("clusters show", detail, json_path)


@app.command(epilog="Example: nodewise clusters start small")
def start(
    name: NameArgument,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Bring up a cluster that was terminated, as it was defined."""
    import nodewise

    with RichProgress() as progress:
        progress.stage(f"start {name}")
        result = nodewise.start_cluster(name, workspace=workspace, progress=progress)
        progress.done()
    _report("clusters start", result, json_path)


@app.command(epilog="Example: nodewise clusters resize small --workers 4")
def resize(
    name: NameArgument,
    workers: Annotated[int, typer.Option(help="How many nodes it shall have.")],
    force: ForceOption = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Give a cluster that is up more or fewer nodes."""
    import nodewise

    with RichProgress() as progress:
        progress.stage(f"resize {name} to {workers}")
        result = nodewise.resize_cluster(name, workers, force=force, workspace=workspace, progress=progress)
        progress.done()
    _report("clusters resize", result, json_path)


@app.command(epilog="Example: nodewise clusters stop small")
def stop(
    name: NameArgument,
    force: ForceOption = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Terminate a cluster; it stays defined and can be started again."""
    import nodewise

    _report("clusters stop", nodewise.stop_cluster(name, force=force, workspace=workspace), json_path)


@app.command(epilog="Example: nodewise clusters delete small -y")
def delete(
    name: NameArgument,
    force: ForceOption = False,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Terminate a cluster if it is up, and remove it with its logs; what it cost stays in the ledger."""
    import nodewise

    home = open_workspace(workspace)
    detail = nodewise.get_cluster(name, workspace=home.root)
    state = detail.summary.state.lower()
    say(f"{name}: {detail.summary.engine}, {state}, its definition, events and logs in {detail.log_dir}")
    if not yes and not sys.stdin.isatty():
        raise InputError("deleting needs a yes, and there is no terminal to ask on", hint="add -y; nothing was deleted")
    deleted = []
    if yes or typer.confirm(f"Delete cluster {name}?", err=True):
        nodewise.delete_cluster(name, force=force, workspace=home.root)
        deleted = [name]
        say(f"deleted {name}")
    emit("clusters delete", {"deleted": deleted}, json_path)


@app.command(epilog="Example: nodewise clusters events small")
def events(
    name: NameArgument,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show what has happened to a cluster."""
    import nodewise

    found = nodewise.cluster_events(name, workspace=open_workspace(workspace).root)
    show(_events_table(found), json_path)
    emit("clusters events", {"events": found}, json_path)


def _report(command: str, result: ClusterSummary, json_path: str | None) -> None:
    show(_list_table([result]), json_path)
    emit(command, result, json_path)


def _table(*names: str, right: tuple[str, ...] = ()) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def _list_table(clusters: list[ClusterSummary]) -> RenderableType:
    columns = ("CLUSTER", "STATE", "ENGINE", "NODES", "NODE TYPE", "COST", "IDLE", "STOPS IN")
    table = _table(*columns, "", right=("NODES", "COST", "IDLE", "STOPS IN"))
    # On a narrow terminal this one wraps, and names stay whole.
    table.columns[-1].no_wrap = False
    table.columns[-1].overflow = "fold"
    for one in clusters:
        table.add_row(
            one.name,
            one.state,
            one.engine,
            str(one.nodes),
            one.node_type or "",
            "" if one.cost_usd is None else format_usd(one.cost_usd),
            "" if one.idle_s is None else format_duration(one.idle_s),
            "" if one.stops_in_s is None else format_duration(one.stops_in_s),
            _remark(one),
        )
    return table  # type: ignore[no-any-return]


def _remark(one: ClusterSummary) -> str:
    if one.run_id is not None:
        return f"run {one.run_id}"
    # That it was stopped needs no explanation.
    return (one.state_message or "") if one.state == "FAILED" else ""


def _detail_page(detail: ClusterDetail) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    table = _table("", "")
    table.show_header = False
    table.columns[-1].no_wrap = False
    table.columns[-1].overflow = "fold"
    for label, value in _facts(detail):
        table.add_row(label, value)
    return Group(_list_table([detail.summary]), Text(), table)


def _facts(detail: ClusterDetail) -> Iterator[tuple[str, str]]:
    """What is known of the cluster beside its line in the list."""
    if detail.address:
        yield "address", detail.address
    if detail.summary.emulation_tier:
        yield "emulated", f"nodes kept apart by {detail.summary.emulation_tier}"
    for label, instant in (("started", detail.started_at), ("ready", detail.ready_at), ("ended", detail.ended_at)):
        if instant is not None:
            yield label, f"{instant:%Y-%m-%d %H:%M:%S} UTC"
    if detail.start_up_s is not None and detail.up_s is not None:
        yield "time", f"{format_duration(detail.start_up_s)} to start, {format_duration(detail.up_s)} ready"
    yield "logs", detail.log_dir
    for name, value in detail.definition.items():
        if name == "cluster":
            yield from ((f"{key}", _plain(item)) for key, item in value.items() if item not in (None, {}, []))
        elif value not in (None, "", {}, [], False):
            yield name, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name}={_plain(item)}" for name, item in value.items() if item is not None)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _events_table(found: list[ClusterEvent]) -> RenderableType:
    table = _table("AT (UTC)", "EVENT", "MESSAGE")
    table.columns[-1].no_wrap = False
    table.columns[-1].overflow = "fold"
    for event in found:
        table.add_row(f"{event.at:%Y-%m-%d %H:%M:%S}", event.kind, event.message)
    return table  # type: ignore[no-any-return]
