"""The files in examples/ are valid, and what they describe can be run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import nodewise
from nodewise.metering.cost import price_cluster
from nodewise.metering.prices import node_type_names
from nodewise.metering.pricing import Pricing
from nodewise.specs.codec import load_compare
from nodewise.specs.scenario import CompareSpec

FOLDER = Path(__file__).parents[2] / "examples"
FILES = sorted(path.name for path in FOLDER.glob("*.yaml"))


def load(name: str) -> CompareSpec:
    return load_compare(FOLDER / name, node_type_names=node_type_names())


def test_all_examples_are_looked_at() -> None:
    assert {"cifar10.yaml", "photos.yaml", "program.yaml"} <= set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_an_example_is_valid_and_every_scenario_has_a_price(name: str) -> None:
    spec = load(name)
    assert spec.scenarios
    for scenario in spec.scenarios:
        assert price_cluster(scenario.cluster(1), Pricing(platform=spec.databricks)) is not None


def test_cifar10_is_one_node_against_five_with_the_fee_of_databricks() -> None:
    spec = load("cifar10.yaml")
    assert [(scenario.engine, scenario.nodes) for scenario in spec.scenarios] == [("spark", 1), ("spark", 5)]
    price = price_cluster(spec.scenarios[1].cluster(1), Pricing(platform=spec.databricks))
    # $0.293 for Standard_DS3_v2, and 0.75 Databricks units of $0.30.
    assert price is not None
    assert str(price.usd_per_node_hour.normalize()) == "0.518"


def test_the_jobs_of_photos_run_on_local_nodes(test_data: Path, tmp_path: Path) -> None:
    photos = test_data / "flowers"
    if not photos.is_dir():
        pytest.skip(f"no photos at {photos}")
    spec = load("photos.yaml")
    jobs = replace(
        spec.jobs,
        prepare=replace(spec.jobs.prepare, sample=0.05, shard_records=8),
        train=replace(spec.jobs.train, epochs=1),
    )
    local = tuple(scenario for scenario in spec.scenarios if scenario.engine == "local")
    result = nodewise.compare(
        replace(spec, jobs=jobs, scenarios=local),
        source=photos,
        report=tmp_path / "report.html",
        workspace=tmp_path / "workspace",
    )
    assert [(scenario.name, scenario.nodes) for scenario in result.scenarios] == [("local x1", 1), ("local x3", 3)]
    assert result.baseline == "local x1"
    assert result.left_out == {}
    for scenario in result.scenarios:
        # A twentieth of 800 photos; what is not held out is trained on once, what is held out is scored.
        prepare, train, score = scenario.stages
        assert (prepare.name, train.name, score.name) == ("prepare", "train", "score")
        assert prepare.records == 40
        assert train.records + score.records == 40
        assert score.records > 0
        assert scenario.cost_usd is not None
    assert "photos of flowers" in (tmp_path / "report.html").read_text()
