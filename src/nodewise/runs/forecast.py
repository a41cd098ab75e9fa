"""A forecast from the workspace: the finished runs of one job, told apart from those of others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

from nodewise.analysis.scaling.forecast import ForecastSubject, MeasuredRun, Question, forecast_scaling
from nodewise.analysis.scaling.physics import physics_of
from nodewise.core.errors import InputError, UnknownNameError
from nodewise.metering.cost import price_cluster
from nodewise.specs.forecast import ScalingForecast
from nodewise.specs.run import RunRecord, RunStatus
from nodewise.tracking.facts import JOBS, experiment_of
from nodewise.workspace import Workspace

__all__ = ["run_forecast"]

SUBJECTS = {
    "prepare": frozenset({"data", "data_fingerprint", "sample"}),
    "train": frozenset({"data", "data_fingerprint"}),
    "score": frozenset({"data", "data_fingerprint", "model"}),
}
"""Settings that say what a job works on: with another one it is the same job."""
GROUPS_NAMED = 6


def run_forecast(
    workspace: Workspace, experiment: str | None, question: Question, *, engine: str | None, node_type: str | None
) -> ScalingForecast:
    """Forecast the job of the runs that fit.

    Runs are of one job if they ran the same experiment, or the same command with the same settings, on the same engine
    and equal nodes. What they worked on may differ: that is the amount of data. Groups on several numbers of nodes go
    before others.

    Args:
        experiment: Name or id of a comparison, name of a job, or the id of any run of the job (its beginning will do);
            None: whichever there is.

    Raises:
        InputError: There are no such runs, or those of several jobs: the hint says how to choose.
    """
    groups = _groups(_finished(workspace), engine, node_type)
    if experiment is not None:
        groups = _named(groups, experiment, workspace)
    several = [group for group in groups if len(group.counts) > 1]
    groups = several or groups
    if not groups:
        raise InputError(
            f"no finished run in {workspace.root} fits",
            hint="run the job on a few numbers of nodes first; `nodewise runs list` shows what there is",
        )
    if len(groups) > 1:
        shown = "; ".join(group.words for group in groups[:GROUPS_NAMED])
        more = "" if len(groups) <= GROUPS_NAMED else f"; and {len(groups) - GROUPS_NAMED} more"
        raise InputError(
            f"the runs are of {len(groups)} jobs: {shown}{more}",
            hint="choose with --engine or --node-type, or give a job's name or the id of one of its runs",
        )
    return _forecast(workspace, groups[0], question)


@dataclass(frozen=True, slots=True)
class _Group:
    """Finished runs of one job on equal nodes, the oldest first."""

    name: str
    runs: tuple[RunRecord, ...]

    @property
    def counts(self) -> list[int]:
        return sorted({run.cluster.nodes for run in self.runs})

    @property
    def words(self) -> str:
        cluster = self.runs[-1].cluster
        cores = f"{cluster.cores_per_node} core{'' if cluster.cores_per_node == 1 else 's'} per node"
        limits = cluster.limits
        held = [f"{limits.cpus:g} CPU"] if limits.cpus is not None else []
        what = ", ".join(filter(None, [cluster.engine, cluster.node_type, cores, *held]))
        nodes = f"{'/'.join(map(str, self.counts))} {'node' if self.counts == [1] else 'nodes'}"
        return f"{self.name} ({what}, on {nodes}, e.g. run {self.runs[-1].run_id})"


def _finished(workspace: Workspace) -> list[RunRecord]:
    """The oldest first; those whose time is not known cannot be used."""
    runs = workspace.list_runs()
    return [run for run in reversed(runs) if run.status is RunStatus.FINISHED and _work_s(run) > 0]


def _work_s(run: RunRecord) -> float:
    return (run.cluster_s or 0.0) - (run.start_up_s or 0.0)


def _groups(runs: Sequence[RunRecord], engine: str | None, node_type: str | None) -> list[_Group]:
    found: dict[tuple[Any, ...], list[RunRecord]] = defaultdict(list)
    for run in runs:
        cluster = run.cluster
        if engine not in (None, cluster.engine) or node_type not in (None, cluster.node_type):
            continue
        place = (cluster.engine, cluster.node_type, cluster.cores_per_node, cluster.limits, cluster.emulated)
        found[_name(run), _settings(run), place].append(run)
    return [_Group(name, tuple(mine)) for (name, _, _), mine in found.items()]


def _name(run: RunRecord) -> str:
    """The experiment without its time stamp, a program's words, an application's name, or the command."""
    if run.experiment is None and run.command == "run":
        return " ".join(map(str, _result(run, "command").get("command") or ())) or "run"
    if run.command == "import-eventlog":
        return run.scenario or run.command
    return experiment_of(run)


def _settings(run: RunRecord) -> str:
    """What the jobs were told, but for what they work on."""
    jobs: Mapping[str, Mapping[str, Any]] = run.provenance.get(JOBS) or {}
    told = {
        job: {name: value for name, value in one.items() if name not in SUBJECTS.get(job, ())}
        for job, one in jobs.items()
    }
    for settings in told.values():
        # Chosen by the number of nodes where nobody asked for one.
        if settings.get("strategy") == "single":
            settings["strategy"] = "all-reduce"
    return json.dumps(told, sort_keys=True, default=str)


def _named(groups: Sequence[_Group], experiment: str, workspace: Workspace) -> list[_Group]:
    """Those of a name, of an experiment's id, or with a run whose id begins so."""
    if matches := [group for group in groups if group.name == experiment]:
        return matches
    of_experiment = [(group, tuple(run for run in group.runs if run.experiment == experiment)) for group in groups]
    if matches := [_Group(group.name, runs) for group, runs in of_experiment if runs]:
        return matches
    with suppress(UnknownNameError):
        wanted = workspace.get_run(experiment).run_id
        return [group for group in groups if any(run.run_id == wanted for run in group.runs)]
    raise UnknownNameError(
        "job or run", experiment, {group.name for group in groups}, where=f"workspace {workspace.root}"
    )


def _forecast(workspace: Workspace, group: _Group, question: Question) -> ScalingForecast:
    runs, last = group.runs, group.runs[-1]
    sizes = _sizes(workspace, runs)
    measured = [
        MeasuredRun(
            run_id=run.run_id,
            nodes=run.cluster.nodes,
            billed_s=run.cluster_s or 0.0,
            start_up_s=run.start_up_s or 0.0,
            data=sizes[run.run_id],
        )
        for run in runs
    ]
    price, price_note = _price(runs)
    widest = sorted((run for run in runs if run.cluster.nodes == group.counts[-1]), key=_work_s)
    typical = widest[(len(widest) - 1) // 2]
    subject = ForecastSubject(
        job=group.name,
        engine=last.cluster.engine,
        node_type=last.cluster.node_type,
        emulated=last.cluster.emulated,
        price_usd_per_hour=price,
        price_note=price_note,
        physics=physics_of(typical, workspace.read_tasks(typical.run_id)),
        physics_run_id=typical.run_id,
        notes=_notes(last),
    )
    return forecast_scaling(measured, subject, question)


def _notes(run: RunRecord) -> tuple[str, ...]:
    if not run.cluster.emulated or run.cluster.node_type is None:
        return ()
    return (f"Costs are those of {run.cluster.node_type} at this speed: the nodes were emulated on one machine.",)


def _sizes(workspace: Workspace, runs: Sequence[RunRecord]) -> dict[str, float | None]:
    """Records of the jobs where all runs tell them, else the bytes that the tasks read, else nothing."""
    records = {run.run_id: _records(run) for run in runs}
    if None not in records.values():
        return records
    read = {
        run.run_id: float(sum(task.read_bytes for task in workspace.read_tasks(run.run_id))) or None for run in runs
    }
    return read if None not in read.values() else dict.fromkeys(records)


def _records(run: RunRecord) -> float | None:
    """Of the first job that tells how many it handled."""
    for job in ("prepare", "train", "score"):
        if records := _result(run, job).get("records"):
            return float(records)
    return None


def _result(run: RunRecord, job: str) -> Mapping[str, Any]:
    return (run.result or {}).get(job) or {}


def _price(runs: Sequence[RunRecord]) -> tuple[float | None, str]:
    """Of a node and hour: as the runs were charged, platform fees included; else the list price."""
    charged = [
        3600 * float(run.cost_usd) / (run.cluster.nodes * run.cluster_s)
        for run in runs
        if run.cost_usd is not None and run.cluster_s
    ]
    if charged:
        return median(charged), "what the measured runs were charged per node and hour"
    # A table that no longer knows the type leaves the cost unknown, which is not zero.
    with suppress(UnknownNameError):
        if (price := price_cluster(runs[-1].cluster)) is not None:
            return float(price.usd_per_node_hour), price.note
    return None, ""
