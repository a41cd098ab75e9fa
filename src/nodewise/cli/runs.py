"""``nodewise runs``: what was run before."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption, open_workspace
from nodewise.cli.output import emit, say, show
from nodewise.core.errors import InputError
from nodewise.core.units import format_bytes, format_count, format_duration, format_usd

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from nodewise.specs.run import RunRecord, TaskRecord

__all__ = ["app"]

app = typer.Typer(help="What was run before.")


@app.command("list", epilog="Example: nodewise runs list --json runs.json")
def list_runs(
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the runs in the workspace, the newest first."""
    home = open_workspace(workspace)
    runs = home.list_runs()
    if runs:
        show(_list_table(runs), json_path)
    else:
        say(f"no runs in {home.root}")
    emit("runs list", {"runs": runs}, json_path)


@app.command("show", epilog="Example: nodewise runs show 20261121-114530-3f9a")
def show_run(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The run's id, or as much of it as is unique.")],
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show one run with its stages and tasks."""
    from nodewise.specs.codec import to_json

    home = open_workspace(workspace)
    run = home.get_run(run_id)
    tasks = home.read_tasks(run.run_id)
    show(_run_page(run, tasks), json_path)
    emit("runs show", to_json(run) | {"tasks": to_json(tasks)}, json_path)


@app.command("delete", epilog="Example: nodewise runs delete 20261121-114530-3f9a -y")
def delete_runs(
    run_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or as much of them as is unique.")],
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Delete runs and their files, after saying what will go."""
    home = open_workspace(workspace)
    # By id, so that one given twice is deleted once; all are looked up before the first is touched.
    runs = {run.run_id: run for run in map(home.get_run, run_ids)}
    for run in runs.values():
        if not run.status.is_finished:
            raise InputError(f"run {run.run_id} is going on", hint="end its process first; nothing was deleted")
        size = format_bytes(home.run_bytes(run.run_id))
        say(f"{run.run_id}  {run.command}  {run.status.lower()}  {size} in {home.run_dir(run.run_id)}")
    if not yes and not sys.stdin.isatty():
        raise InputError("deleting needs a yes, and there is no terminal to ask on", hint="add -y; nothing was deleted")
    if not yes and not typer.confirm(f"Delete {_count(len(runs), 'run')}?", err=True):
        runs = {}
    freed = sum(map(home.delete_run, runs))
    say(f"deleted {_count(len(runs), 'run')}, {format_bytes(freed)}")
    emit("runs delete", {"deleted": list(runs), "freed_bytes": freed}, json_path)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _list_table(runs: list[RunRecord]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    table = _table("RUN", "WHAT", "CLUSTER", right=("TIME", "COST", "ACCURACY"), last="STATUS")
    # On a narrow terminal this one wraps, and ids stay whole.
    table.columns[1].no_wrap = False
    table.columns[1].overflow = "fold"
    for run in runs:
        table.add_row(
            run.run_id,
            run.scenario or run.command,
            f"{run.cluster.engine} x{run.cluster.nodes}",
            "" if run.cluster_s is None else format_duration(run.cluster_s),
            _cost(run),
            "" if run.accuracy is None else f"{run.accuracy:.1%}",
            run.status.lower(),
        )
    if not any(run.cluster.emulated and run.cost_usd is not None for run in runs):
        return table
    note = "~ emulated on this machine: what the nodes would cost at this speed, not a bill"
    return Group(table, Text(), Text(note, style="dim"))


def _cost(run: RunRecord) -> str:
    if run.cost_usd is None:
        return ""
    return ("~" if run.cluster.emulated else "") + format_usd(run.cost_usd)


def _run_page(run: RunRecord, tasks: list[TaskRecord]) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(no_wrap=True)
    facts.add_column(overflow="fold")
    for name, value in _facts(run).items():
        facts.add_row(name, value)
    parts: list[RenderableType] = [facts]
    if run.stages:
        stages = _table("STAGE", right=("TIME", "RECORDS", "RECORDS/S", "TASKS"))
        for stage in run.stages:
            rate = format_count(stage.records_per_s)
            stages.add_row(
                stage.name, format_duration(stage.wall_s), format_count(stage.records), rate, str(stage.num_tasks)
            )
        parts += [Text(), stages]
    if tasks:
        parts += [Text(), _tasks_table(tasks)]
    return Group(*parts)


def _facts(run: RunRecord) -> dict[str, str]:
    cluster = run.cluster
    nodes = f"{_count(cluster.nodes, 'node')} of {_count(cluster.cores_per_node, 'core')}"
    where = "emulated on this machine" if cluster.emulated else f"at {cluster.address}"
    facts = {
        "run": run.run_id,
        "command": run.command,
        "scenario": run.scenario or "",
        "experiment": run.experiment or "",
        "status": run.status.lower(),
        "began": f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC",
        "ended": "" if run.ended_at is None else f"{run.ended_at:%Y-%m-%d %H:%M:%S} UTC",
        "cluster": f"{cluster.engine}, {nodes}, {where}",
        "cluster time": "" if run.cluster_s is None else format_duration(run.cluster_s),
        "start-up": "" if run.start_up_s is None else format_duration(run.start_up_s),
        "accuracy": "" if run.accuracy is None else f"{run.accuracy:.1%}",
        "tags": ", ".join(f"{name}={value}" for name, value in run.tags.items()),
    }
    if run.cost_usd is not None:
        condition = f", if run on {cluster.node_type} at this speed (not a bill)" if cluster.emulated else ""
        facts["cost"] = format_usd(run.cost_usd) + condition
    if run.error is not None:
        facts["error"] = run.error["message"] or ""
        facts["hint"] = run.error["hint"] or ""
    return {name: value for name, value in facts.items() if value}


def _tasks_table(tasks: list[TaskRecord]) -> Table:
    table = _table("STAGE", "NODE", right=("TASKS", "BUSY", "CPU", "RECORDS", "READ", "WRITTEN", "MEMORY", "LOST"))
    groups: dict[tuple[str, str], list[TaskRecord]] = {}
    for task in tasks:
        groups.setdefault((task.stage, task.node), []).append(task)
    for (stage, node), group in groups.items():
        table.add_row(
            stage,
            node,
            str(len(group)),
            format_duration(sum(task.wall_s for task in group)),
            format_duration(sum(task.cpu_s for task in group)),
            format_count(sum(task.records for task in group)),
            format_bytes(sum(task.read_bytes for task in group)),
            format_bytes(sum(task.written_bytes for task in group)),
            format_bytes(max(task.peak_memory_bytes for task in group)),
            str(sum(task.retries for task in group)),
        )
    return table


def _table(*left: str, right: tuple[str, ...] = (), last: str | None = None) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    if last is not None:
        table.add_column(last, no_wrap=True)
    return table
