"""Advice and forecasts as Python functions: what ``nodewise advise`` and ``nodewise forecast`` call."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT, Progress
from nodewise.core.units import parse_bytes, parse_duration
from nodewise.specs.advice import Advice, ConfigurationName, Goal, MethodName, ReplayResult, ScaleOutResult
from nodewise.specs.advice_request import Candidates, SpotSpec, StreamSpec
from nodewise.specs.scenario import CompareSpec

if TYPE_CHECKING:
    from nodewise.advice.request import Request
    from nodewise.runs.advise import Told

__all__ = ["advise", "replay_advice", "replay_forecast"]

StrPath = str | PathLike[str]


def advise(
    job: CompareSpec | StrPath,
    *,
    candidates: Candidates | None = None,
    minimise: Goal = "cost",
    deadline: str | None = None,
    budget_usd: float | None = None,
    spot: SpotSpec | None = None,
    stream: StreamSpec | None = None,
    told: Sequence[str] = (),
    run: bool = True,
    max_runs: int | None = None,
    max_search_usd: float | None = None,
    anew: bool = False,
    known_library: StrPath | None = None,
    report: StrPath | None = None,
    workspace: StrPath | None = None,
    progress: Progress = SILENT,
) -> Advice:
    """Find the configuration on which a job costs least, or is fastest, with few runs.

    Args:
        job: A comparison, or the YAML file that holds one.
        candidates: What to choose from; None: all scenarios of the comparison.
        minimise: What is to be small.
        deadline: Longest time of a run, such as ``20m``; goes with ``cost``.
        budget_usd: Highest cost of a run; goes with ``time``.
        spot: What to assume of nodes at spot prices; None: nodes on demand.
        stream: What to keep up with at the least price per hour; it has no goal, limit or spot prices beside it.
        told: Runs that a person made: ``4 x m5.xlarge = 12m30s``, ``4 x m5.xlarge = 12m30s with 9GiB per node`` if the
            most memory that a node used is known, or ``4 x m5.xlarge failed after 3m``.
        run: Whether to make the proposed runs here; else the advice says which one to make.
        max_runs: The most runs of the search, earlier ones included; None: as its rule has it.
        max_search_usd: The most that all runs of the search may cost.
        anew: Leave out the earlier runs of this search.
        known_library: Run times that were measured elsewhere, as :func:`~nodewise.advice.traces.read_traces` takes
            them; those of workloads of this job's name, on the same engine, are counted on.
        report: File for the HTML report; None: one in the workspace.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
    """
    from nodewise.advice.request import Request
    from nodewise.metering.prices import node_type_names
    from nodewise.runs.advise import SearchLimits, run_advice
    from nodewise.specs.checks import check_compare
    from nodewise.specs.codec import load_compare
    from nodewise.workspace import Workspace, find_workspace

    base, spec = Path.cwd(), job
    if not isinstance(spec, CompareSpec):
        base = Path(spec).absolute().parent
        spec = load_compare(Path(spec), node_type_names=node_type_names())
    check_compare(spec, node_type_names=node_type_names())
    request = Request(
        goal=minimise,
        deadline_s=None if deadline is None else _seconds("deadline", deadline),
        budget_usd=budget_usd,
        spot=spot,
        stream=stream,
        max_runs=max_runs,
    )
    _check(request, max_search_usd)
    return run_advice(
        spec,
        candidates or Candidates(),
        request,
        [_told(one) for one in told],
        SearchLimits(is_run=run, max_search_usd=max_search_usd, is_anew=anew),
        Path(known_library) if known_library else None,
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
    known_library: StrPath | None = None,
    progress: Progress = SILENT,
) -> ReplayResult:
    """Search for the cheapest configuration of every workload in a file of run times, where a run is a look-up.

    Args:
        traces: CSV file, as :func:`~nodewise.advice.traces.read_traces` takes it.
        method: ``nodewise``, or one to compare it with.
        seeds: Searches of each workload.
        max_runs: The most runs of a search; None: as the method has it.
        known_library: Another such file, of jobs that were run before: those of the same application on other data
            help, with the method ``nodewise`` alone.

    Raises:
        InputError: A file cannot be read, a number is below 1, or a library is given to another method.
        MissingDependencyError: The method needs a package that is not installed.
    """
    from nodewise.advice.methods import method_named
    from nodewise.advice.replay import replay
    from nodewise.advice.traces import read_traces

    for name, value in (("seeds", seeds), ("max_runs", max_runs)):
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, and must be at least 1")
    if known_library is not None and method != "nodewise":
        raise InputError(f"the method {method} learns nothing from a library", hint="leave --known-library out")
    return replay(
        read_traces(Path(traces)),
        method,
        method_named(method),
        num_seeds=seeds,
        max_runs=max_runs,
        library=None if known_library is None else read_traces(Path(known_library)),
        progress=progress,
    )


def replay_forecast(traces: StrPath, *, train_smallest: int = 3, progress: Progress = SILENT) -> ScaleOutResult:
    """Predict the run times on many nodes from those on few, for every workload in a file of run times.

    Args:
        traces: CSV file, as :func:`~nodewise.advice.traces.read_traces` takes it.
        train_smallest: Node counts of each node type to learn from, the smallest ones; of GPUs those that are powers
            of two.

    Raises:
        InputError: The file cannot be read, or ``train_smallest`` is below 1.
    """
    from nodewise.runs.scaleout import replay_scale_out

    if train_smallest < 1:
        raise InputError(f"train_smallest is {train_smallest}, and must be at least 1")
    return replay_scale_out(Path(traces), train_smallest, progress)


def _check(request: Request, max_search_usd: float | None) -> None:
    spot, stream = request.spot, request.stream
    positive: dict[str, float | None] = {
        "deadline": request.deadline_s,
        "budget": request.budget_usd,
        "max_search_usd": max_search_usd,
        "max_runs": request.max_runs,
    }
    if spot is not None:
        positive |= {"interruptions_per_hour": spot.interruptions_per_hour, "checkpoint_s": spot.checkpoint_s}
    if stream is not None:
        positive |= {"rate_per_s": stream.rate_per_s, "p95_s": stream.p95_s, "records_per_run": stream.records_per_run}
    for name, value in positive.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value:g}, and must be a number above 0")
    if spot is not None and not 0 <= spot.restart_s < math.inf:
        raise InputError(f"restart_s is {spot.restart_s:g}, and must be a number of at least 0")
    if request.goal == "cost" and request.budget_usd is not None:
        raise InputError("a budget goes with the goal time", hint="the least cost needs no budget: give a deadline")
    if request.goal == "time" and request.deadline_s is not None:
        raise InputError("a deadline goes with the goal cost", hint="the least time needs no deadline: give a budget")
    if stream is not None and (request.goal != "cost" or request.deadline_s is not None or spot is not None):
        raise InputError(
            "a stream goes with no goal, deadline or spot prices: its limit is what 95 % of the records may take",
            hint="what a stream does while a node is gone is not modelled; leave these out",
        )


def _seconds(name: str, text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"{name}: {error}") from None


def _told(text: str) -> Told:
    """``4 x m5.xlarge = 12m30s``, ``4 x m5.xlarge = 12m30s with 9GiB per node``, ``4 x m5.xlarge failed after 3m``."""
    from nodewise.runs.advise import Told

    found = re.fullmatch(
        r"\s*(\d+)\s*x\s*(\S+?)\s*(=|\sfailed after\s)\s*(.+?)(?:\s+with\s+(.+?)\s+per node)?\s*", text
    )
    if found is None:
        raise InputError(
            f"{text!r} does not tell of a run", hint="write '4 x m5.xlarge = 12m30s' or '4 x m5.xlarge failed after 3m'"
        )
    name = ConfigurationName(instance_type=found[2], nodes=int(found[1]))
    try:
        node_gib = None if found[5] is None else parse_bytes(found[5]) / 2**30
    except ValueError as error:
        raise InputError(f"{text!r}: {error}") from None
    return Told(configuration=name, seconds=_seconds(f"{text!r}", found[4]), is_ok=found[3] == "=", node_gib=node_gib)
