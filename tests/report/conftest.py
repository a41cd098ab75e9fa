"""Comparisons to render: plausible numbers, put together by the real analysis."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from nodewise.analysis.compare import compare_scenarios
from nodewise.report.html import Evidence
from nodewise.specs.results import ComparisonResult, EpochResult, ScenarioResult, StageResult

MakeScenario = Callable[..., ScenarioResult]


def make_scenario(
    name: str,
    *,
    engine: str = "spark",
    nodes: int = 1,
    start_up: float = 5.0,
    prepare: float = 10.0,
    train: float = 30.0,
    score: float = 5.0,
    repeats: int = 1,
    price: float | None = 0.518,
    accuracy: float | None = 0.952,
    emulated: bool = True,
    node_type: str | None = "Standard_DS3_v2",
    tags: dict[str, str] | None = None,
) -> ScenarioResult:
    seconds = start_up + prepare + train + score + 1.0
    spread = 0.03 if repeats > 1 else 0.0

    def cost(length: float) -> float | None:
        return None if price is None else nodes * price * length / 3600

    def stage(stage_name: str, length: float, records: int, tasks: int, cpu: float) -> StageResult:
        return StageResult(
            name=stage_name,
            seconds=length,
            records=records,
            seconds_min=length * (1 - spread),
            seconds_max=length * (1 + spread),
            records_per_s=records / length,
            num_tasks=tasks,
            cpu_fraction=cpu,
            retries=0,
            cost_usd=cost(length),
        )

    share = 0.92 if nodes == 1 else 0.38
    return ScenarioResult(
        name=name,
        engine=engine,
        emulated=emulated,
        nodes=nodes,
        cores_per_node=1,
        node_type=node_type,
        stages=(
            stage("prepare", prepare, 1797, 8, share),
            stage("train", train, 1437, nodes, share),
            stage("score", score, 360, 2, share / 2),
        ),
        seconds=seconds,
        seconds_min=seconds * (1 - spread),
        seconds_max=seconds * (1 + spread),
        start_up_seconds=start_up,
        stop_seconds=1.0,
        cost_usd=cost(seconds),
        price_usd_per_hour=price,
        price_note="Azure eastus, list price of 2026-06-18, Databricks jobs premium",
        accuracy=accuracy,
        records=1797,
        skipped=0,
        repeats=repeats,
        run_ids=tuple(f"{name}-run-{index}" for index in range(repeats)),
        tags={} if tags is None else tags,
        epochs=tuple(
            EpochResult(
                epoch=epoch,
                loss=2.0 / epoch**1.2 + 0.02 * nodes,
                train_accuracy=1 - 0.6 / epoch,
                test_accuracy=None if accuracy is None else accuracy - 0.4 / epoch**2 - 0.01 * nodes,
                seconds=train / 5,
            )
            for epoch in range(1, 6)
        ),
    )


def make_comparison(*scenarios: ScenarioResult, **overrides: object) -> ComparisonResult:
    facts = {
        "name": "digits: one node or five",
        "experiment": "20261121-101500-a1b2c3",
        "baseline": scenarios[0].name if scenarios else "spark-1-node",
        "left_out": {},
        "machine_cores": 2,
        "report_path": "/home/someone/a-rather-long-folder-name/project/.nodewise/comparisons/20261121-a1b2c3/a.html",
    }
    return compare_scenarios(scenarios=scenarios, **{**facts, **overrides})  # type: ignore[arg-type]


def four_scenarios(*, repeats: int = 1, price: float | None = 0.518) -> list[ScenarioResult]:
    same = {"repeats": repeats, "price": price}
    return [
        make_scenario(
            "spark-1-node",
            start_up=6.1,
            prepare=4.2,
            train=21.3,
            score=3.9,
            tags={"team": "ml", "course": "A1"},
            **same,
        ),
        make_scenario("spark-5-nodes", nodes=5, start_up=9.8, prepare=3.1, train=17.4, score=4.4, **same),
        make_scenario("ray-1-node", engine="ray", start_up=3.2, prepare=3.8, train=20.1, score=2.2, **same),
        make_scenario("ray-5-nodes", engine="ray", nodes=5, start_up=5.9, prepare=2.4, train=14.9, score=2.0, **same),
    ]


@pytest.fixture
def scenario() -> MakeScenario:
    return make_scenario


@pytest.fixture
def comparison() -> Callable[..., ComparisonResult]:
    return make_comparison


@pytest.fixture
def example() -> ComparisonResult:
    """Spark and Ray, one node and five, one run each."""
    return make_comparison(*four_scenarios())


@pytest.fixture
def repeated_example() -> ComparisonResult:
    """The same with three runs each."""
    return make_comparison(*four_scenarios(repeats=3))


@pytest.fixture
def evidence() -> Evidence:
    return Evidence(
        started_at=datetime(2026, 11, 21, 10, 15, tzinfo=UTC),
        ended_at=datetime(2026, 11, 21, 10, 18, 12, tzinfo=UTC),
        machine="Linux 6.1, Some Processor 3.0 GHz",
        cores=2,
        memory_bytes=8 * 2**30,
        versions={"python": "3.11.7", "nodewise": "0.1.0", "pyspark": "4.0.1", "ray": "2.50.0"},
        source="scikit-learn's handwritten digits, 1,797 images in 10 classes",
        fingerprint="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        commands=("nodewise compare digits.yaml",),
        price_notes=("Standard_DS3_v2, eastus: $0.293 + 0.75 DBU x $0.30 per hour, 2026-06-18",),
        warnings=("One run each: repeat with --repeat 3 to see the spread.",),
    )
