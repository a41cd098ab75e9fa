"""Advice: configurations, what was tried of them, and the search replayed on run times that others measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean
from typing import ClassVar, Literal

from nodewise.core.shown import Shown
from nodewise.specs.advice_request import SpotSpec, StreamSpec

__all__ = [
    "Advice",
    "AdviceStep",
    "Configuration",
    "ConfigurationName",
    "Goal",
    "MethodName",
    "Proposal",
    "RankedConfiguration",
    "ReplayResult",
    "ReplayedSearch",
    "ScaleOutResult",
    "ScaleOutRow",
    "StreamFigures",
]

Goal = Literal["cost", "time"]
MethodName = Literal["nodewise", "cherrypick", "tpe", "random"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationName:
    """So many nodes of one type."""

    instance_type: str
    nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A cluster that a job could run on.

    Attributes:
        usd_per_node_hour: None where no price is known.
        vcpus, memory_gib: Of one node; None where nobody says.
        usd_per_node_hour_on_demand: Beside a spot price; None where that is not one, or it is not known.
    """

    instance_type: str
    nodes: int
    usd_per_node_hour: float | None = None
    vcpus: float | None = None
    memory_gib: float | None = None
    usd_per_node_hour_on_demand: float | None = None

    @property
    def name(self) -> ConfigurationName:
        return ConfigurationName(instance_type=self.instance_type, nodes=self.nodes)

    @property
    def usd_per_hour(self) -> float | None:
        """Of all nodes together."""
        return None if self.usd_per_node_hour is None else self.usd_per_node_hour * self.nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """What a configuration does with a stream.

    Attributes:
        records_per_s: The most that it can handle.
        head_room: Share of it that the stream leaves; below 0 the stream is too much.
        p95_s: What 95 % of the records take at most, from arrival until done; None where the stream is too much.
        most_per_s: Rate up to which 95 % of the records are done within the limit.
    """

    records_per_s: float
    head_room: float
    p95_s: float | None
    most_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedConfiguration:
    """A configuration with what is known, or believed, of a run on it.

    Attributes:
        basis: ``measured`` if it was run on, and ended well.
        runs: How often it was run on.
        seconds: Of a measured one the median of its runs, else what half of all runs are believed to stay below.
        seconds_low, seconds_high: A run lies between them with a probability of 90 %.
        expected_s: What a run takes on average with the interruptions that are assumed; None without.
        cost_usd, cost_usd_low, cost_usd_high: Likewise, with the interruptions; None where no price is known.
        chance_within: Probability that it keeps to the deadline or the budget, or up with the stream; None without.
        is_on_front: Whether no other one is believed to be both faster and cheaper; of a stream: cheaper per hour.
        stream: What it does with the stream; None without.
        why: What the figures rest on, in words.
    """

    configuration: Configuration
    basis: Literal["measured", "predicted"]
    runs: int
    seconds: float
    seconds_low: float
    seconds_high: float
    cost_usd: float | None
    cost_usd_low: float | None
    cost_usd_high: float | None
    chance_within: float | None
    is_on_front: bool
    why: str
    expected_s: float | None = None
    stream: StreamFigures | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdviceStep:
    """A run of a search, in its order.

    Attributes:
        source: ``run`` by nodewise, ``told`` by a person, ``known`` before the search began.
        seconds: How long it took; of a run that failed, until then.
        cost_usd: What it cost; None where no price is known.
        best: The objective's best value up to then, in US dollars, seconds, or of a stream US dollars per hour; None
            while nothing was within the limit.
        run_id: None of what was told.
        used_gib: Memory of the node that used most, times the nodes; None where nobody knows.
    """

    configuration: ConfigurationName
    source: Literal["run", "told", "known"]
    seconds: float
    is_ok: bool
    cost_usd: float | None
    best: float | None
    run_id: str | None = None
    used_gib: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """The run that would tell most.

    Attributes:
        expected_saving: Share of the best objective so far that it is expected to save; None before there is a best.
        seconds, seconds_low, seconds_high: What it is believed to take; wide before the first run, when only
            differences between configurations are believed.
        cost_usd_high: What it may cost, with a probability of 95 % not more; None where no price is known or nothing
            was run yet.
    """

    configuration: Configuration
    why: str
    expected_saving: float | None
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None
    cost_usd_high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice(Shown):
    """Which configuration to run a job on, how sure that is, and which single run would settle a doubt.

    Attributes:
        goal: What is to be small.
        deadline_s, budget_usd: Limit on the time of a run, or on its cost; None: no limit.
        spot: The interruptions that are assumed; None: nodes on demand.
        stream: The stream to keep up with, at least cost per hour; None: the job is a batch.
        sentence: Choice, gain, price, and when another choice wins.
        choice: None before a run has ended well within the limit.
        ranked: Every configuration, the best first: measured and predicted ones together. Empty before a run has ended
            well: until then nothing is known but which configuration promises more than another.
        candidates: How many configurations there are.
        left_out: How many more were left out, by reason.
        steps: The runs so far.
        search_cost_usd: Of all of them; None where no price is known.
        proposal: The run to make next; None when the search is over.
        is_settled: Whether the stop rule ended the search; ``reason`` says by which figures.
        limits: What limits the job, a sentence each; of a choice that nodewise ran itself, first what its records say.
        changes: What would change the answer, a sentence each.
        notes: What else should be known, such as drift.
        report_path: The HTML report; empty if none was written.
    """

    page: ClassVar[str] = "nodewise.report.advice_page:advice_page"

    job: str
    goal: Goal
    deadline_s: float | None
    budget_usd: float | None
    sentence: str
    choice: RankedConfiguration | None
    ranked: tuple[RankedConfiguration, ...]
    candidates: int
    steps: tuple[AdviceStep, ...]
    search_cost_usd: float | None
    proposal: Proposal | None
    is_settled: bool
    reason: str
    limits: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    spot: SpotSpec | None = None
    stream: StreamSpec | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    report_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedSearch:
    """One search over a workload of which every run is known.

    Attributes:
        tried: In the order of the search; those that failed too.
        choice: The cheapest of those that succeeded.
        cost_over_optimum: Cost of a run on the choice, over that on the cheapest configuration there is: 1 is best.
        search_cost_over_exhaustive: What the search paid, over what it costs to run all configurations.
    """

    workload: str
    framework: str
    dataset: str
    seed: int
    runs_used: int
    tried: tuple[ConfigurationName, ...]
    choice: ConfigurationName
    cost_over_optimum: float
    search_cost_over_exhaustive: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayResult:
    """Searches by one method over all workloads of a trace.

    Attributes:
        left_out: Workloads that could not be searched, each with the reason.
    """

    method: MethodName
    workloads: tuple[ReplayedSearch, ...]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def mean_runs(self) -> float:
        """NaN without workloads."""
        return _mean([float(search.runs_used) for search in self.workloads])

    @property
    def mean_cost_over_optimum(self) -> float:
        """NaN without workloads."""
        return _mean([search.cost_over_optimum for search in self.workloads])


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOutRow:
    """A configuration whose run time was predicted and is known.

    Attributes:
        low_s, high_s: It lies between them with a probability of 90 %.
        gpus: Of all nodes together, where the trace is of training; else None.
    """

    workload: str
    framework: str
    dataset: str
    instance_type: str
    nodes: int
    measured_s: float
    predicted_s: float
    low_s: float
    high_s: float
    gpus: int | None = None

    @property
    def error(self) -> float:
        """Absolute, as a share of the measured time."""
        return abs(self.predicted_s - self.measured_s) / self.measured_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleOutResult:
    """What the smallest node counts of traces say of all larger ones.

    Attributes:
        train_smallest: Node counts of each node type that were learned from.
    """

    train_smallest: int
    rows: tuple[ScaleOutRow, ...]

    @property
    def mean_error(self) -> float:
        """Mean absolute share of error; NaN without rows."""
        return _mean([row.error for row in self.rows])

    @property
    def covered(self) -> float:
        """Share of the measured times within the interval, which ought to be 0.9; NaN without rows."""
        return _mean([float(row.low_s <= row.measured_s <= row.high_s) for row in self.rows])


def _mean(values: list[float]) -> float:
    return fmean(values) if values else float("nan")
