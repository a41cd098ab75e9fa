"""Scenarios of a comparison file: planned for this machine, looked at before any starts, and run one at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nodewise.analysis.compare import summarise_scenario
from nodewise.core.errors import MissingDependencyError
from nodewise.core.machine import machine_cores
from nodewise.core.progress import Progress
from nodewise.jobs.train import choose_strategy
from nodewise.metering.cost import Price, price_cluster
from nodewise.metering.pricing import Pricing
from nodewise.preflight.check import require
from nodewise.preflight.dependencies import missing_for_engine
from nodewise.preflight.plan import Plan as PreflightPlan
from nodewise.runs.compared import ComparedWork
from nodewise.runs.compared_program import ComparedProgram
from nodewise.runs.session import open_session
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.results import ScenarioResult
from nodewise.specs.run import RunRecord
from nodewise.specs.scenario import CompareSpec, Scenario
from nodewise.workspace import Workspace

__all__ = ["PlannedScenario", "plan_scenarios", "prepare_work", "run_scenario", "summarise_runs"]


@dataclass(frozen=True, slots=True)
class PlannedScenario:
    """A scenario that can run here, its cluster and its price."""

    scenario: Scenario
    cluster: ClusterSpec
    pricing: Pricing
    price: Price | None


def plan_scenarios(spec: CompareSpec, progress: Progress) -> tuple[list[PlannedScenario], dict[str, str]]:
    """The scenarios that can run here, and why the others cannot.

    Raises:
        MissingDependencyError: None can.
    """
    # Every node of the comparison gets the same share of this machine, or one node against five says nothing.
    most_nodes = max(scenario.nodes for scenario in spec.scenarios)
    slots = max(1, machine_cores() // most_nodes)
    most_emulated = max((scenario.nodes for scenario in spec.scenarios if scenario.address is None), default=1)
    cpus = machine_cores() / most_emulated if most_emulated > 1 else None
    plans: list[PlannedScenario] = []
    left_out: dict[str, str] = {}
    reason: MissingDependencyError | None = None
    for scenario in spec.scenarios:
        missing = missing_for_engine(scenario.engine)
        if missing is not None:
            reason = reason or missing
            left_out[scenario.name] = f"{missing.message}; {missing.hint}"
            progress.note(f"{scenario.name} is left out: {missing.message} ({missing.hint})")
            continue
        cluster = scenario.cluster(slots, cpus)
        pricing = Pricing(platform=spec.databricks)
        plans.append(PlannedScenario(scenario, cluster, pricing, price_cluster(cluster, pricing)))
    if not plans and reason is not None:
        raise reason
    return plans, left_out


def prepare_work(
    spec: CompareSpec,
    plans: Sequence[PlannedScenario],
    workspace: Workspace,
    base: Path,
    progress: Progress,
    *,
    preflight: bool,
) -> ComparedWork:
    """What every scenario runs, looked at before the first one does.

    Args:
        base: Folder that relative paths of the comparison are taken from.
        preflight: Whether to look for what would fail on the clusters too.

    Raises:
        InputError: It cannot be carried out; nothing was started.
    """
    program = _program(spec, plans, base)
    if preflight:
        require([_check_of(plan, program, workspace) for plan in plans], progress)
    return program or _images(spec, plans, workspace, base, progress)


def _check_of(plan: PlannedScenario, program: ComparedProgram | None, workspace: Workspace) -> PreflightPlan:
    return PreflightPlan(
        name=plan.scenario.name,
        cluster=plan.cluster,
        workspace=workspace,
        script=program.script_of(plan.scenario) if program is not None else None,
        quota=plan.scenario.quota,
        tags=plan.scenario.tags,
        variables=os.environ,
    )


def _program(spec: CompareSpec, plans: Sequence[PlannedScenario], base: Path) -> ComparedProgram | None:
    """The program that every scenario runs, looked at before the first one does; None: they run the jobs on images."""
    if spec.jobs.command is None:
        return None
    return ComparedProgram(spec.jobs.command, [plan.scenario for plan in plans], base)


def _images(
    spec: CompareSpec, plans: Sequence[PlannedScenario], workspace: Workspace, base: Path, progress: Progress
) -> ComparedWork:
    """The jobs on images, looked at as well. What is missing of a named data set is fetched."""
    # Here, since a program is compared without PyTorch.
    from nodewise.runs.compared_images import ComparedImages

    for plan in plans:
        choose_strategy(spec.jobs.train, plan.cluster)
    return ComparedImages(spec.dataset, spec.jobs, workspace, base, progress)


def run_scenario(
    plan: PlannedScenario, work: ComparedWork, workspace: Workspace, experiment: str, progress: Progress
) -> RunRecord:
    """Run the work once on a cluster of its own; what takes room and any run makes again is removed.

    Raises:
        NodewiseError: The run failed; it is in the workspace with its reason.
    """
    folder: Path | None = None
    try:
        with open_session(
            workspace,
            "compare",
            plan.cluster,
            progress,
            modules=work.modules,
            pricing=plan.pricing,
            scenario=plan.scenario.name,
            experiment=experiment,
            tags=plan.scenario.tags,
            connect=work.connect,
        ) as session:
            folder = session.folder
            work.carry_out(session)
        work.look_at(folder)
        return session.run
    finally:
        if folder is not None:
            work.clean(folder)


def summarise_runs(plan: PlannedScenario, runs: Sequence[RunRecord], workspace: Workspace) -> ScenarioResult:
    """The finished runs of a scenario, at least one, in order of time."""
    return summarise_scenario(
        plan.scenario,
        runs,
        {run.run_id: workspace.read_tasks(run.run_id) for run in runs},
        price_usd_per_hour=None if plan.price is None else plan.price.usd_per_node_hour,
        price_note="" if plan.price is None else plan.price.note,
        usage={run.run_id: workspace.read_usage(run.run_id) for run in runs},
    )
