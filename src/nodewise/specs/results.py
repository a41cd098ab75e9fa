"""What the jobs and comparisons return, and write with ``--json``. Field names are a contract: add, never rename."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ComparisonResult",
    "EpochResult",
    "PrepareResult",
    "ScenarioResult",
    "ScoreResult",
    "ShardInfo",
    "SkippedImage",
    "StageResult",
    "TrainResult",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedImage:
    """An image that could not be decoded."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardInfo:
    """One shard file: ``path`` (in a manifest the name alone), ``bytes`` its length, ``sha256`` its checksum."""

    path: str
    split: str
    records: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareResult:
    """``seconds`` is the job itself; starting the engine took ``start_up_seconds`` more."""

    records: int
    skipped: tuple[SkippedImage, ...]
    classes: tuple[str, ...]
    shards: tuple[ShardInfo, ...]
    seconds: float
    start_up_seconds: float
    records_per_s: float
    dest: str
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochResult:
    """One pass over the training records, and the evaluation after it.

    Accuracies are shares of 1; ``test_accuracy`` is None if nothing is held out.
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """``accuracy`` is that of the held-out records after the last epoch; ``world_size`` the number of workers."""

    model_path: str
    accuracy: float | None
    epochs: tuple[EpochResult, ...]
    seconds: float
    start_up_seconds: float
    world_size: int
    strategy: str
    records: int
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreResult:
    """``predictions_path`` is a folder of Parquet files: record, label, predicted, probability."""

    records: int
    accuracy: float | None
    predictions_path: str
    seconds: float
    start_up_seconds: float
    records_per_s: float
    split: str
    run_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage of a scenario: the median over its runs, with the range.

    Attributes:
        cpu_fraction: CPU seconds of the tasks over the seconds that all slots had in this stage, 0 to 1 (more if a task
            used more threads than its slot has cores).
        num_tasks: Tasks that the stage was cut into.
        cost_usd: The share of the scenario's cost that these seconds make.
    """

    name: str
    seconds: float
    records: int
    seconds_min: float
    seconds_max: float
    records_per_s: float
    num_tasks: int
    cpu_fraction: float
    retries: int
    cost_usd: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """A scenario: medians over its ``repeats`` runs.

    Attributes:
        seconds: Billed time, from the start of the cluster to its stop.
        start_up_seconds, stop_seconds: The parts of it before the first and after the last job.
        cost_usd: Nodes x price x billed time, with the platform fee where asked for; None where no price is known. For
            an emulated scenario: what the node type would cost at this speed, not a bill.
        price_usd_per_hour: Of one node, platform fee included.
        price_note: The price's source and date.
    """

    name: str
    engine: str
    emulated: bool
    nodes: int
    cores_per_node: int
    node_type: str | None
    stages: tuple[StageResult, ...]
    seconds: float
    seconds_min: float
    seconds_max: float
    start_up_seconds: float
    stop_seconds: float
    cost_usd: float | None
    price_usd_per_hour: float | None
    price_note: str
    accuracy: float | None
    records: int
    skipped: int
    repeats: int
    run_ids: tuple[str, ...]
    tags: dict[str, str]
    epochs: tuple[EpochResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonResult:
    """Scenarios side by side.

    Attributes:
        speedup: Baseline's seconds over the scenario's, by name: above 1 is faster.
        work_speedup: The same without start-up and stop of the clusters.
        efficiency: Speedup per node, relative to the baseline's nodes.
        cost_ratio: The scenario's cost over the baseline's, by name; a scenario without a price is left out.
        left_out: Scenarios that could not run here, or whose run failed, with the reason.
        failed: Those of them whose run failed.
        verdict: Two or three sentences written from these numbers.
    """

    name: str
    experiment: str
    scenarios: tuple[ScenarioResult, ...]
    baseline: str
    speedup: dict[str, float]
    work_speedup: dict[str, float]
    efficiency: dict[str, float]
    cost_ratio: dict[str, float]
    left_out: dict[str, str]
    machine_cores: int
    verdict: str
    report_path: str
    failed: tuple[str, ...] = ()
