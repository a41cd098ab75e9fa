"""``nodewise advise``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import console, emit, one_line
from nodewise.cli.progress import RichProgress
from nodewise.core.errors import InputError
from nodewise.report.advice_terminal import render_advice
from nodewise.report.text import percent, plural
from nodewise.specs.advice import Goal, MethodName, ReplayedSearch, ReplayResult

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["advise"]

WORST_SHOWN = 5


def advise(
    job: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="A comparison file: its jobs, and its scenarios as candidates."),
    ] = None,
    minimise: Annotated[Goal, typer.Option(help="What is to be small.")] = "cost",
    deadline: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest time of a run: 20m.", show_default=False)
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(metavar="USD", help="Highest cost of a run, with --minimise time."),
    ] = None,
    node_type: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Candidate in place of the scenarios; repeatable. `nodewise nodes list`."),
    ] = None,
    nodes: Annotated[
        str | None, typer.Option(metavar="LIST", help="Numbers of nodes of each --node-type: 1,2,4,8.")
    ] = None,
    told: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN", help="A run that you made: '4 x m5.xlarge = 12m30s', '4 x m5.xlarge failed after 3m'."
        ),
    ] = None,
    run: Annotated[bool, typer.Option("--run/--no-run", help="Make the proposed runs here, or only name the next.")] = (
        True
    ),
    max_runs: Annotated[
        int | None, typer.Option(help="The most runs of a search; by default as its rule has it.", show_default=False)
    ] = None,
    max_search_cost: Annotated[
        float | None, typer.Option(metavar="USD", help="The most that all runs may cost.", show_default=False)
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Leave out the earlier runs of this search.")] = False,
    replay: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Search on run times that others measured, a CSV: a run is a look-up."),
    ] = None,
    method: Annotated[MethodName, typer.Option(help="With --replay: how to search, to compare.")] = "nodewise",
    seeds: Annotated[int, typer.Option(help="With --replay: searches of each workload.")] = 1,
    report: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="For the HTML report; by default in the workspace.", show_default=False),
    ] = None,
    workspace: WorkspaceOption = None,
    json: JsonOption = None,
    _debug: DebugOption = False,
) -> None:
    """Find the cluster on which a job costs least, or is fastest, with few runs.

    Each run is chosen by what the earlier ones tell, and kept: the search goes on where it stopped. It ends when no
    further run is likely to be worth it.
    """
    if (job is None) == (replay is None):
        raise InputError("give either a comparison file or --replay FILE", hint="`nodewise advise --help`")
    if replay is not None:
        _replay(replay, method, seeds, max_runs, json)
        return
    from nodewise.advice_api import advise as search

    assert job is not None  # noqa: S101
    with RichProgress() as progress:
        advice = search(
            job,
            minimise=minimise,
            deadline=deadline,
            budget_usd=budget,
            node_types=node_type or (),
            nodes=_numbers(nodes),
            told=told or (),
            run=run,
            max_runs=max_runs,
            max_search_usd=max_search_cost,
            anew=anew,
            report=report,
            workspace=workspace,
            progress=progress,
        )
    render_advice(advice, console(stderr=json == "-"))
    emit("advise", advice, json)


def _numbers(text: str | None) -> list[int]:
    """``1,2,4``."""
    try:
        return [] if text is None else [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--nodes {text} is not a list of whole numbers such as 1,2,4,8") from None


def _replay(traces: str, method: MethodName, seeds: int, max_runs: int | None, json: str | None) -> None:
    from nodewise.advice_api import replay_advice

    with RichProgress() as progress:
        result = replay_advice(traces, method=method, seeds=seeds, max_runs=max_runs, progress=progress)
    output = console(stderr=json == "-")
    if result.workloads:
        output.print(_summary(result))
        output.print()
        output.print(_worst(result.workloads))
    for name, reason in result.left_out.items():
        output.print(one_line(f"left out: {name}: {reason}"), soft_wrap=True)
    emit("advise", result, json)


def _summary(result: ReplayResult) -> Table:
    from rich.table import Table

    searches = result.workloads
    table = Table.grid(padding=(0, 2, 0, 0))
    ratios = sorted(search.cost_over_optimum for search in searches)
    near = sum(ratio <= 1.1 for ratio in ratios) / len(ratios)
    paid = [search.search_cost_over_exhaustive for search in searches]
    workloads = {(search.workload, search.framework, search.dataset) for search in searches}
    table.add_row("method", result.method)
    table.add_row("searches", f"{len(searches)} of {plural(len(workloads), 'workload')}, replayed")
    table.add_row("runs", f"{result.mean_runs:.1f} per search")
    table.add_row(
        "cost over optimum",
        f"{result.mean_cost_over_optimum:.3f} in the mean, 90 % are at most {_share(ratios, 0.9):.3f}",
    )
    table.add_row("within 10 %", percent(near))
    table.add_row("search cost", f"{percent(sum(paid) / len(paid))} of running all configurations")
    return table


def _share(ordered: Sequence[float], share: float) -> float:
    """The value that so many are at most."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _worst(searches: Sequence[ReplayedSearch]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("FARTHEST FROM THE OPTIMUM", overflow="fold")
    for header in ("CHOICE", "RUNS", "COST OVER OPTIMUM"):
        table.add_column(header, justify="right")
    ratio: Callable[[ReplayedSearch], float] = lambda search: search.cost_over_optimum  # noqa: E731
    seen: set[str] = set()
    for search in sorted(searches, key=ratio, reverse=True):
        name = ", ".join(filter(None, (search.workload, search.framework, search.dataset)))
        if name in seen or len(seen) == WORST_SHOWN:
            continue
        seen.add(name)
        choice = f"{search.choice.nodes} x {search.choice.instance_type}"
        table.add_row(one_line(name), one_line(choice), str(search.runs_used), f"{search.cost_over_optimum:.3f}")
    return table
