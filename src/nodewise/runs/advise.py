"""Advice on a job: candidates from a comparison file or the price table, runs by nodewise or told by a person."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from nodewise.advice.advisor import Advisor
from nodewise.advice.library import runs_of_similar, runs_on
from nodewise.advice.request import Request
from nodewise.advice.space import Observation, SearchSpace, search_space
from nodewise.advice.traces import read_traces
from nodewise.advice.words import named
from nodewise.core.errors import InputError, NodewiseError
from nodewise.core.progress import Progress
from nodewise.core.units import format_duration
from nodewise.metering.cost import price_cluster
from nodewise.metering.prices import find_node_type
from nodewise.metering.pricing import Pricing
from nodewise.report.advice_page import write_advice_page
from nodewise.runs.advise_state import SearchState, slug_of
from nodewise.runs.candidates import choose_candidates
from nodewise.runs.machine import provenance
from nodewise.runs.scenarios import PlannedScenario, plan_scenarios, prepare_work, run_scenario, summarise_runs
from nodewise.specs.advice import Advice, AdviceStep, Configuration, ConfigurationName
from nodewise.specs.advice_request import Candidates
from nodewise.specs.run import RunRecord
from nodewise.specs.scenario import CompareSpec
from nodewise.specs.usage import DRIVER, MACHINE
from nodewise.workspace import Workspace

__all__ = ["SearchLimits", "Told", "run_advice"]

LEAST_SAMPLES = 10
"""Of a node, one each second: in a shorter run what it used most may lie between two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A run that a person made, and how long it took; of one that failed, until then.

    Attributes:
        node_gib: The most memory that one of its nodes used; None if that was not said.
    """

    configuration: ConfigurationName
    seconds: float
    is_ok: bool = True
    node_gib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchLimits:
    """How far a search may go now.

    Attributes:
        is_run: Whether nodewise runs what is proposed; else it only says what to run.
        max_search_usd: The most that all runs of the search may cost; one that may cost more than is left is not begun.
        is_anew: Whether earlier runs of the search are left out.
    """

    is_run: bool = True
    max_search_usd: float | None = None
    is_anew: bool = False


def run_advice(
    spec: CompareSpec,
    wanted: Candidates,
    request: Request,
    told: Sequence[Told],
    limits: SearchLimits,
    library: Path | None,
    workspace: Workspace,
    base: Path,
    report_path: Path | None,
    progress: Progress,
) -> Advice:
    """Search among the candidates for the cluster to run a comparison's jobs on, and write the report.

    Every run is kept as soon as it has ended, so that a search that was broken off goes on from there.

    Args:
        wanted: The candidates.
        library: Run times of jobs that others ran; those of this one's name are counted on.
        base: Folder that relative paths of the comparison are taken from.
        report_path: File for the HTML report; None: one in the workspace.

    Raises:
        InputError: The request cannot be carried out; nothing was started.
    """
    pricing = Pricing(market="list" if request.spot is None else "spot", platform=spec.databricks)
    chosen = choose_candidates(spec, wanted, pricing, is_run=limits.is_run)
    spec = chosen.spec
    plans = [
        replace(plan, pricing=pricing, price=price_cluster(plan.cluster, pricing))
        for plan in plan_scenarios(spec, progress)[0]
    ]
    experiment = f"advise-{slug_of(spec.name)}"
    space = search_space([_configuration(plan) for plan in plans])
    state = SearchState(spec, workspace)
    if request.stream is not None and request.stream.records_per_run is None:
        request = replace(request, stream=replace(request.stream, records_per_run=state.records_per_run()))
    advisor = Advisor(spec.name, space, request, similar=_similar(spec, space, state, library))
    search = _Search(space, advisor, state, is_anew=limits.is_anew)
    for one in told:
        search.check(one.configuration, one.seconds)
    for one in told:
        search.add(one.configuration, one.seconds, is_ok=one.is_ok, source="told", node_gib=one.node_gib)
    if limits.is_run and advisor.next_run(search.observed) is not None:
        work = prepare_work(spec, plans, workspace, base, progress, preflight=True)
        while (index := advisor.next_run(search.observed)) is not None:
            if search.may_exceed(limits.max_search_usd):
                progress.note("the next run may cost more than is left of the search's limit")
                break
            progress.scenario(f"run {len(search.observed) + 1}: {named(space.configurations[index])}")
            name = space.configurations[index].name
            try:
                run = run_scenario(plans[index], work, workspace, experiment, progress)
            except NodewiseError as error:
                failed = _newest(workspace, experiment)
                if failed is None or failed.cluster_s is None or search.has(failed.run_id):
                    # It did not come so far as to be a run, so it tells nothing of the configuration.
                    raise
                progress.note(f"{named(space.configurations[index])} failed: {error.message}")
                search.add(name, failed.cluster_s, is_ok=False, source="run", run_id=failed.run_id)
                continue
            node_gib = _node_gib(run, workspace)
            search.add(name, run.cluster_s or 0.0, is_ok=True, source="run", run_id=run.run_id, node_gib=node_gib)
    advice = search.advice()
    path = report_path or workspace.reports_dir / experiment / "report.html"
    limited = (*_recorded_limit(advice, plans, workspace), *advice.limits)
    advice = replace(advice, limits=limited, left_out=chosen.left_out, report_path=str(path))
    workspace.create()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_advice_page(path, advice, command=shlex.join(provenance()["command"]))
    return advice


def _similar(
    spec: CompareSpec, space: SearchSpace, state: SearchState, library: Path | None
) -> list[list[Observation]]:
    """The runs of other jobs of this name: those of the workspace, and those of the library on the same engine."""
    found = runs_on(
        space, ([(step.configuration, step.seconds, step.is_ok) for step in steps] for steps in state.of_same_name())
    )
    if library is not None:
        jobs = read_traces(library)
        found += runs_of_similar(
            space, jobs, workload=spec.name, framework=spec.scenarios[0].engine, dataset="of this job"
        )
    return found


class _Search:
    """The runs of a search, as they are counted and as they are told."""

    def __init__(self, space: SearchSpace, advisor: Advisor, state: SearchState, *, is_anew: bool) -> None:
        self._space, self._advisor, self._state = space, advisor, state
        self._indices = {one.name: index for index, one in enumerate(space.configurations)}
        self.observed: list[Observation] = []
        self._steps: list[AdviceStep] = []
        kept = [] if is_anew else state.load()
        # Earlier searches may have had other candidates; what they found is not lost by this one.
        self._others = [step for step in kept if step.configuration not in self._indices]
        for step in kept:
            if step.configuration in self._indices:
                self._count(step)

    def check(self, name: ConfigurationName, seconds: float) -> None:
        """Whether a run can be counted.

        Raises:
            InputError: The configuration is not among the candidates, or the time is not above 0.
        """
        if name not in self._indices:
            known = ", ".join(named(one) for one in self._space.configurations[:6])
            raise InputError(
                f"{name.nodes} x {name.instance_type} is not among the candidates",
                hint=f"these are: {known}{' ...' if len(self._space) > 6 else ''}",
            )
        if not seconds > 0:
            raise InputError(f"a run of {format_duration(seconds)} cannot be compared")

    def add(
        self,
        name: ConfigurationName,
        seconds: float,
        *,
        is_ok: bool,
        source: str,
        run_id: str | None = None,
        node_gib: float | None = None,
    ) -> None:
        """Count a run and keep it.

        Raises:
            InputError: As :meth:`check`.
        """
        self.check(name, seconds)
        self._count(
            AdviceStep(
                configuration=name,
                source=source,  # type: ignore[arg-type]
                seconds=seconds,
                is_ok=is_ok,
                cost_usd=None,
                best=None,
                run_id=run_id,
                used_gib=None if node_gib is None else node_gib * name.nodes,
            )
        )
        self._state.save([*self._others, *self._steps])

    def has(self, run_id: str) -> bool:
        """Whether that run is counted already."""
        return any(step.run_id == run_id for step in self._steps)

    def _count(self, step: AdviceStep) -> None:
        observation = Observation(self._indices[step.configuration], step.seconds, step.is_ok, step.used_gib)
        self.observed.append(observation)
        cost = None if self._space.usd_per_hour is None else self._space.cost_usd(observation)
        self._steps.append(replace(step, cost_usd=cost, best=self._advisor.best_value(self.observed)))

    def may_exceed(self, max_search_usd: float | None) -> bool:
        """Whether the run that is proposed may cost more than is left."""
        if max_search_usd is None:
            return False
        spent = math.fsum(step.cost_usd or 0.0 for step in self._steps)
        proposal = self.advice().proposal
        return spent + (proposal.cost_usd_high or 0.0 if proposal else 0.0) > max_search_usd

    def advice(self) -> Advice:
        return self._advisor.advise(self.observed, self._steps)


def _configuration(plan: PlannedScenario) -> Configuration:
    scenario, price, on_demand = plan.scenario, plan.price, None
    node = find_node_type(scenario.node_type) if scenario.node_type else None
    if plan.pricing.market == "spot":
        on_demand = price_cluster(plan.cluster, replace(plan.pricing, market="list"))
    return Configuration(
        instance_type=scenario.node_type or "node",
        nodes=scenario.nodes,
        usd_per_node_hour=None if price is None else float(price.usd_per_node_hour),
        vcpus=node.vcpus if node else float(plan.cluster.cores_per_node),
        memory_gib=node.memory_gib if node else None,
        usd_per_node_hour_on_demand=None if on_demand is None else float(on_demand.usd_per_node_hour),
    )


def _recorded_limit(advice: Advice, plans: Sequence[PlannedScenario], workspace: Workspace) -> Iterator[str]:
    """What limited the last run on the choice, by its records, if nodewise made one."""
    if advice.choice is None:
        return
    name = advice.choice.configuration.name
    ids = [step.run_id for step in advice.steps if step.configuration == name and step.is_ok and step.run_id]
    run = next((run for run in workspace.list_runs() if ids and run.run_id == ids[-1]), None)
    plan = next(plan for plan in plans if _configuration(plan).name == name)
    if run is not None:
        sentence = summarise_runs(plan, [run], workspace).limit_sentence
        if sentence:
            yield f"The last run of the choice: {sentence.rstrip('.')}"


def _node_gib(run: RunRecord, workspace: Workspace) -> float | None:
    """The most memory that a node of a run used.

    None where its nodes were not watched, or not for long, or were held to a limit of their own: with the memory of
    their type they may have used more.
    """
    if run.cluster.limits.memory_bytes is not None:
        return None
    samples = [one for one in workspace.read_usage(run.run_id) if one.node not in (DRIVER, MACHINE)]
    most = max(samples, key=lambda one: one.memory_bytes, default=None)
    if most is None or sum(one.node == most.node for one in samples) < LEAST_SAMPLES:
        return None
    return most.memory_bytes / 2**30


def _newest(workspace: Workspace, experiment: str) -> RunRecord | None:
    runs = [run for run in workspace.list_runs() if run.experiment == experiment]
    return max(runs, key=lambda run: run.created_at, default=None)
