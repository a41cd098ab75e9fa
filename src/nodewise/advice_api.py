"""Advice and forecasts as Python functions: what ``nodewise advise`` and ``nodewise forecast`` call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT, Progress
from nodewise.core.units import parse_duration
from nodewise.specs.advice import Advice, ConfigurationName, Goal, MethodName, ReplayResult, ScaleOutResult
from nodewise.specs.scenario import CompareSpec

if TYPE_CHECKING:
    from nodewise.runs.advise import Told

__all__ = ["advise", "replay_advice", "replay_forecast"]

StrPath = str | PathLike[str]


def advise(
    job: CompareSpec | StrPath,
    *,
    minimise: Goal = "cost",
    deadline: str | None = None,
    budget_usd: float | None = None,
    node_types: Sequence[str] = (),
    nodes: Sequence[int] = (),
    told: Sequence[str] = (),
    run: bool = True,
    max_runs: int | None = None,
    max_search_usd: float | None = None,
    anew: bool = False,
    report: StrPath | None = None,
    workspace: StrPath | None = None,
    progress: Progress = SILENT,
) -> Advice:
    """Find the configuration on which a job costs least, or is fastest, with few runs.

    Args:
        job: A comparison, or the YAML file that holds one; its scenarios are the candidates.
        minimise: What is to be small.
        deadline: Longest time of a run, such as ``20m``; goes with ``cost``.
        budget_usd: Highest cost of a run; goes with ``time``.
        node_types, nodes: Candidates in place of the scenarios: every count of every type; give both, or neither.
        told: Runs that a person made: ``4 x m5.xlarge = 12m30s``, or ``4 x m5.xlarge failed after 3m``.
        run: Whether to make the proposed runs here; else the advice says which one to make.
        max_runs: The most runs of the search, earlier ones included; None: up to 6, as its rule has it.
        max_search_usd: The most that all runs of the search may cost.
        anew: Leave out the earlier runs of this search.
        report: File for the HTML report; None: one in the workspace.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
    """
    from nodewise.advice.advisor import Request
    from nodewise.metering.prices import node_type_names
    from nodewise.runs.advise import SearchLimits, run_advice, with_candidates
    from nodewise.specs.checks import check_compare
    from nodewise.specs.codec import load_compare
    from nodewise.workspace import Workspace, find_workspace

    base, spec = Path.cwd(), job
    if not isinstance(spec, CompareSpec):
        base = Path(spec).absolute().parent
        spec = load_compare(Path(spec), node_type_names=node_type_names())
    if bool(node_types) != bool(nodes):
        raise InputError("node types and numbers of nodes are given together, or neither of them")
    if node_types:
        spec = with_candidates(spec, node_types, _counts(nodes))
    check_compare(spec, node_type_names=node_type_names())
    request = Request(
        goal=minimise,
        deadline_s=None if deadline is None else _seconds("deadline", deadline),
        budget_usd=budget_usd,
        max_runs=max_runs,
    )
    _check(request.deadline_s, request.budget_usd, max_search_usd, max_runs, minimise)
    return run_advice(
        spec,
        request,
        [_told(one) for one in told],
        SearchLimits(is_run=run, max_search_usd=max_search_usd, is_anew=anew),
        Workspace(find_workspace(str(workspace) if workspace else None)),
        base,
        Path(report).absolute() if report else None,
        progress,
    )


def replay_advice(
    traces: StrPath,
    *,
    method: MethodName = "nodewise",
    seeds: int = 1,
    max_runs: int | None = None,
    progress: Progress = SILENT,
) -> ReplayResult:
    """Search for the cheapest configuration of every workload in a file of run times, where a run is a look-up.

    Args:
        traces: CSV file, as :func:`~nodewise.advice.traces.read_traces` takes it.
        method: ``nodewise``, or one to compare it with.
        seeds: Searches of each workload.
        max_runs: The most runs of a search; None: as the method has it.

    Raises:
        InputError: The file cannot be read, or a number is below 1.
        MissingDependencyError: The method needs a package that is not installed.
    """
    from nodewise.advice.methods import method_named
    from nodewise.advice.replay import replay
    from nodewise.advice.traces import read_traces

    for name, value in (("seeds", seeds), ("max_runs", max_runs)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, and must be at least 1")
    factory = method_named(method)
    return replay(read_traces(Path(traces)), method, factory, num_seeds=seeds, max_runs=max_runs, progress=progress)


def replay_forecast(traces: StrPath, *, train_smallest: int = 3, progress: Progress = SILENT) -> ScaleOutResult:
    """Predict the run times on many nodes from those on few, for every workload in a file of run times.

    Args:
        traces: CSV file, as :func:`~nodewise.advice.traces.read_traces` takes it.
        train_smallest: Node counts of each node type to learn from, the smallest ones.

    Raises:
        InputError: The file cannot be read, or ``train_smallest`` is below 1.
    """
    from nodewise.advice.scaleout import predict_scale_out
    from nodewise.advice.traces import read_traces

    if train_smallest < 1:
        raise InputError(f"train_smallest is {train_smallest}, and must be at least 1")
    return predict_scale_out(read_traces(Path(traces)), train_smallest, progress)


def _check(
    deadline_s: float | None, budget_usd: float | None, max_search_usd: float | None, max_runs: int | None, goal: Goal
) -> None:
    positive = {"deadline": deadline_s, "budget": budget_usd, "max_search_usd": max_search_usd, "max_runs": max_runs}
    for name, value in positive.items():
        if value is not None and not value > 0:
            raise InputError(f"{name} is {value:g}, and must be above 0")
    if goal == "cost" and budget_usd is not None:
        raise InputError("a budget goes with the goal time", hint="the least cost needs no budget: give a deadline")
    if goal == "time" and deadline_s is not None:
        raise InputError("a deadline goes with the goal cost", hint="the least time needs no deadline: give a budget")


def _counts(nodes: Sequence[int]) -> list[int]:
    if min(nodes) < 1:
        raise InputError(f"{min(nodes)} is no number of nodes")
    return sorted(set(nodes))


def _seconds(name: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _told(text: str) -> Told:
    """``4 x m5.xlarge = 12m30s`` or ``4 x m5.xlarge failed after 3m``."""
    from nodewise.runs.advise import Told

    found = re.fullmatch(r"\s*(\d+)\s*x\s*(\S+?)\s*(=|\sfailed after\s)\s*(.+)", text)
    if found is None:
        raise InputError(
            f"{text!r} does not tell of a run", hint="write '4 x m5.xlarge = 12m30s' or '4 x m5.xlarge failed after 3m'"
        )
    name = ConfigurationName(instance_type=found[2], nodes=int(found[1]))
    return Told(configuration=name, seconds=_seconds(f"{text!r}", found[4]), is_ok=found[3] == "=")
