"""What ``nodewise advise --replay`` does and shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from nodewise.cli.output import console, emit, one_line
from nodewise.cli.progress import RichProgress
from nodewise.report.text import percent, plural
from nodewise.specs.advice import MethodName, ReplayedSearch, ReplayResult

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["replay"]

WORST_SHOWN = 5


def replay(
    traces: str, method: MethodName, seeds: int, max_runs: int | None, known_library: str | None, json: str | None
) -> None:
    """Replay the searches, and print what came of them."""
    from nodewise.advice_api import replay_advice

    with RichProgress() as progress:
        result = replay_advice(
            traces, method=method, seeds=seeds, max_runs=max_runs, known_library=known_library, progress=progress
        )
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
