"""What kept a scenario from being faster, as far as its numbers show it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from nodewise.specs.place import EmulationTier
from nodewise.specs.results import ScenarioResult, StageResult

__all__ = ["Limit", "LimitKind", "find_limits"]

GANG_STAGES = frozenset({"train"})
"""Stages with one task per node, which uses all cores of its node as threads."""
LEAST_SHARE = 0.1
"""What takes less of the billed time than this is not worth a sentence."""
MACHINE_IS_BUSY = 0.8
"""Share of the machine's cores from which on emulated nodes wait for each other."""


class LimitKind(Enum):
    """The kinds of time that a scenario can lose."""

    START_UP = "start-up"
    FEW_TASKS = "few tasks"
    SHARED_MACHINE = "shared machine"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One cause, ``share`` the part of the billed time that it took, 0 to 1, ``text`` in words that follow a colon."""

    kind: LimitKind
    share: float
    text: str


def find_limits(scenario: ScenarioResult, baseline: ScenarioResult, *, machine_cores: int) -> list[Limit]:
    """The causes that took at least a tenth of the billed time, largest first.

    Start-up: its seconds. Few tasks: the part of a stage's slot time in which there was no task for a slot. Shared
    machine: the part of a stage that more cores would have saved, where emulated nodes had more slots than the machine
    has cores and kept these busy. Waiting: the part of a stage in which cores that had a task were not computing,
    looked for in the stage that gained least against the baseline.

    Args:
        machine_cores: Of the machine that emulates; not used for real clusters.
    """
    if scenario.seconds <= 0:
        return []
    found = [
        *_start_up(scenario),
        *_few_tasks(scenario),
        *_shared_machine(scenario, machine_cores),
        *_waiting(scenario, baseline, machine_cores),
    ]
    return sorted((limit for limit in found if limit.share >= LEAST_SHARE), key=lambda limit: -limit.share)


def _start_up(scenario: ScenarioResult) -> Iterator[Limit]:
    share = scenario.start_up_seconds / scenario.seconds
    yield Limit(kind=LimitKind.START_UP, share=share, text=f"start-up ({share * 100:.0f} % of its billed time)")


def _few_tasks(scenario: ScenarioResult) -> Iterator[Limit]:
    slots = _slots(scenario)
    for stage in scenario.stages:
        # With no count of tasks there is nothing to conclude from it.
        if stage.name not in GANG_STAGES and 0 < stage.num_tasks < slots:
            plural = "task" if stage.num_tasks == 1 else "tasks"
            yield Limit(
                kind=LimitKind.FEW_TASKS,
                share=(1 - stage.num_tasks / slots) * stage.seconds / scenario.seconds,
                text=f"{stage.name} had {stage.num_tasks} {plural} for {slots} slots ({slots} would keep all busy)",
            )


def _shared_machine(scenario: ScenarioResult, machine_cores: int) -> Iterator[Limit]:
    slots = _slots(scenario)
    # A node that is held to its share never waits for another node's.
    is_isolated = scenario.emulation_tier in (EmulationTier.NAMESPACES, EmulationTier.CGROUPS)
    if not scenario.emulated or is_isolated or not 0 < machine_cores < slots:
        return
    saturated = [
        stage.seconds for stage in scenario.stages if stage.cpu_fraction * slots / machine_cores >= MACHINE_IS_BUSY
    ]
    nodes = f"the {scenario.nodes} emulated nodes" if scenario.nodes > 1 else "the emulated node's slots"
    cores = "core" if machine_cores == 1 else "cores"
    yield Limit(
        kind=LimitKind.SHARED_MACHINE,
        share=(1 - machine_cores / slots) * sum(saturated) / scenario.seconds,
        text=f"{nodes} shared this machine's {machine_cores} {cores}",
    )


def _waiting(scenario: ScenarioResult, baseline: ScenarioResult, machine_cores: int) -> Iterator[Limit]:
    before = {stage.name: stage.seconds for stage in baseline.stages}
    stages = [
        stage
        for stage in scenario.stages
        if stage.seconds >= LEAST_SHARE * scenario.seconds and stage.seconds > 0 and stage.name in before
    ]
    if not stages:
        return
    # Of the baseline itself no stage gained anything; then the longest.
    stage = min(stages, key=lambda stage: (before[stage.name] / stage.seconds, -stage.seconds))
    busy = _busy(stage, scenario, machine_cores)
    place = f"waiting in {stage.name}" + (", which gained least" if scenario.name != baseline.name else "")
    words = f"(the cores computed {busy * 100:.0f} % of the time; the rest was communication or scheduling)"
    yield Limit(
        kind=LimitKind.WAITING,
        share=max(0.0, 1 - busy) * stage.seconds / scenario.seconds,
        text=f"{place} {words}",
    )


def _busy(stage: StageResult, scenario: ScenarioResult, machine_cores: int) -> float:
    """CPU seconds over the seconds of the cores that the stage's tasks could use at most."""
    slots = _slots(scenario)
    usable = slots if stage.name in GANG_STAGES or stage.num_tasks == 0 else min(slots, stage.num_tasks)
    if scenario.emulated and machine_cores > 0:
        usable = min(usable, machine_cores)
    return min(1.0, stage.cpu_fraction * slots / usable)


def _slots(scenario: ScenarioResult) -> int:
    return scenario.nodes * scenario.cores_per_node
