"""Which clusters a search chooses from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nodewise.core.errors import InputError, UnknownNameError
from nodewise.metering.pricing import Pricing
from nodewise.runs.candidates import Chosen, choose_candidates
from nodewise.specs.advice_request import Candidates
from nodewise.specs.job import CommandSpec
from nodewise.specs.scenario import CompareSpec, JobsSpec, Scenario

SCENARIOS = (
    Scenario(name="small", engine="spark", nodes=1, node_type="m5.large"),
    Scenario(name="large", engine="spark", nodes=8, node_type="m5.xlarge"),
    Scenario(name="nameless", engine="spark", nodes=2),
)
SPEC = CompareSpec(name="job", jobs=JobsSpec(command=CommandSpec(run=("true",))), scenarios=SCENARIOS, baseline="small")
SPOT = Pricing(market="spot")


def chosen(wanted: Candidates, pricing: Pricing | None = None, *, is_run: bool = False) -> Chosen:
    return choose_candidates(SPEC, wanted, pricing or Pricing(), is_run=is_run)


def names(wanted: Candidates) -> list[str]:
    return [one.name for one in chosen(wanted).spec.scenarios]


def types(wanted: Candidates) -> set[str | None]:
    return {one.node_type for one in chosen(wanted).spec.scenarios}


def test_without_a_wish_the_scenarios_are_the_candidates() -> None:
    assert chosen(Candidates()) == Chosen(spec=SPEC, left_out={})


def test_limits_leave_out_scenarios_and_count_them_each_once() -> None:
    # One m5.large has 8 GiB for $0.096 an hour, eight m5.xlarge have 128 GiB for $1.536.
    few = chosen(Candidates(max_nodes=2, max_usd_per_hour=0.5))
    assert [one.name for one in few.spec.scenarios] == ["small"]
    assert few.left_out == {"with more than 2 nodes": 1, "without a known list price": 1}
    assert few.spec.baseline is None
    much = chosen(Candidates(min_memory_gib=128))
    assert [one.name for one in much.spec.scenarios] == ["large"]
    assert much.left_out == {"with less than 128 GiB of memory in all": 1, "without a known memory": 1}
    assert [one.name for one in chosen(Candidates(max_usd_per_hour=1.536)).spec.scenarios] == ["small", "large"]


def test_named_node_types_take_every_count() -> None:
    assert names(Candidates(node_types=("m5.large", "c5.large"), nodes=(4, 2, 2))) == [
        "2 x m5.large",
        "4 x m5.large",
        "2 x c5.large",
        "4 x c5.large",
    ]
    (first, *_) = chosen(Candidates(node_types=("m5.large",), nodes=(2,))).spec.scenarios
    assert (first.engine, first.nodes, first.node_type, first.cpus_per_node) == ("spark", 2, "m5.large", None)


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1]), (5, [1, 2, 3, 4, 5]), (16, [1, 2, 3, 4, 6, 8, 12, 16]), (20, [*range(1, 5), 6, 8])]
)
def test_without_counts_they_grow_by_a_third_to_a_half(most: int, counts: list[int]) -> None:
    found = [one.nodes for one in chosen(Candidates(node_types=("m5.large",), max_nodes=most)).spec.scenarios]
    assert found[: len(counts)] == counts
    assert found[-1] == most


def test_a_family_is_all_its_sizes_in_one_region() -> None:
    assert types(Candidates(families=("m5",), nodes=(1,))) == {
        f"m5.{size}"
        for size in ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge", "24xlarge")
    }
    assert all(
        str(name).startswith("n2-standard-") for name in types(Candidates(families=("n2-standard",), nodes=(1,)))
    )


def test_a_cloud_is_without_gpus_unless_they_are_named() -> None:
    found = chosen(Candidates(cloud="aws", nodes=(1,)))
    assert {"m5.large", "r6i.xlarge"} <= {one.node_type for one in found.spec.scenarios}
    assert not any("p3." in one.name or "g5." in one.name for one in found.spec.scenarios)
    assert found.left_out == {"with GPUs, whose type or family was not named": 106 - len(found.spec.scenarios)}
    assert "p3.2xlarge" in types(Candidates(families=("p3",), nodes=(1,)))


def test_another_region_is_had_once_its_prices_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = Candidates(cloud="azure", region="westeurope", nodes=(1,), max_usd_per_hour=1)
    with pytest.raises(InputError, match="no prices are known of region 'westeurope'; they are of eastus") as refused:
        chosen(wanted)
    assert "nodes refresh --cloud azure --region westeurope" in str(refused.value.hint)
    monkeypatch.setenv("NODEWISE_PRICES", str(tmp_path))
    prices = {"cloud": "azure", "region": "westeurope", "source": "a list", "date": "2026-11-01"}
    prices["prices"] = {"Standard_D2s_v5": ["0.12", "0.03"]}  # type: ignore[assignment]
    (tmp_path / "azure-westeurope.json").write_text(json.dumps(prices))
    assert types(wanted) == {"Standard_D2s_v5@westeurope"}
    assert "Standard_D2s_v5@westeurope" not in types(Candidates(cloud="azure", nodes=(1,)))


def test_spot_prices_that_are_not_known_leave_out_and_can_be_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODEWISE_PRICES", str(tmp_path))
    wanted = Candidates(families=("m5",), nodes=(1, 2))
    with pytest.raises(InputError, match="no candidate is left of 16: 16 without a known spot price") as refused:
        chosen(wanted, SPOT)
    path = tmp_path / "aws-us-east-1.json"
    assert str(path) in str(refused.value.hint)
    prices = {"cloud": "aws", "region": "us-east-1", "source": "the console", "date": "2026-11-01"}
    path.write_text(json.dumps(prices | {"prices": {"m5.large": [None, "0.035"]}}))
    found = chosen(wanted, SPOT)
    assert [one.name for one in found.spec.scenarios] == ["1 x m5.large", "2 x m5.large"]
    assert found.left_out == {"without a known spot price": 14}
    assert [one.name for one in chosen(replace(wanted, max_usd_per_hour=0.05), SPOT).spec.scenarios] == ["1 x m5.large"]


def test_emulated_nodes_have_shares_like_their_vcpus_when_they_are_run() -> None:
    wanted = Candidates(node_types=("m5.large", "m5.xlarge"), nodes=(1, 2))
    small, _, large, _ = chosen(wanted, is_run=True).spec.scenarios
    assert small.cpus_per_node is not None
    assert large.cpus_per_node == 2 * small.cpus_per_node
    assert small.cores_per_node == 1
    existing = replace(SPEC, scenarios=(replace(SCENARIOS[0], address="spark://there:7077"),))
    (there,) = choose_candidates(
        existing, replace(wanted, node_types=("m5.large",), nodes=(2,)), Pricing(), is_run=True
    ).spec.scenarios
    assert there.cpus_per_node is None


def test_a_machine_too_small_to_stand_in_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nodewise.runs.candidates.machine_cores", lambda: 2)
    wanted = Candidates(families=("m5",), nodes=(16,))
    with pytest.raises(InputError, match=r"2 cores cannot stand in for clusters of up to 1536 vCPUs") as refused:
        chosen(wanted, is_run=True)
    assert "--no-run" in str(refused.value.hint)
    assert len(chosen(wanted).spec.scenarios) == 8


def test_too_many_candidates_are_refused_with_their_number() -> None:
    with pytest.raises(InputError, match="1,600 candidates are too many") as refused:
        chosen(Candidates(families=("m5",), nodes=tuple(range(1, 201))))
    assert "--max-nodes" in str(refused.value.hint)


def test_no_candidate_left_says_which_limit_took_how_many() -> None:
    with pytest.raises(InputError) as refused:
        chosen(Candidates(node_types=("m5.large", "m5.xlarge"), nodes=(1, 2), max_usd_per_hour=0.2, min_memory_gib=17))
    # Of 8, 16, 16 and 32 GiB only the last is enough, at $0.384 an hour.
    told = "no candidate is left of 4: 3 with less than 17 GiB of memory in all; 1 above $0.2 an hour"
    assert refused.value.message == told


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        (Candidates(cloud="ibm", nodes=(1,)), UnknownNameError, "unknown cloud 'ibm'"),
        (Candidates(families=("m6",), nodes=(1,)), UnknownNameError, "unknown family 'm6'"),
        (Candidates(node_types=("m5.huge",), nodes=(1,)), UnknownNameError, "unknown node type 'm5.huge'"),
        (Candidates(node_types=("m5.large",), cloud="gcp", nodes=(1,)), InputError, "no node type is of that cloud"),
        (Candidates(cloud="aws"), InputError, "how many nodes of each type is not said"),
        (Candidates(nodes=(1, 2)), InputError, "numbers of nodes are for node types"),
        (Candidates(node_types=("m5.large",), nodes=(0,)), InputError, "0 is no number of nodes"),
        (Candidates(max_nodes=0), InputError, "max_nodes is 0"),
        (Candidates(max_usd_per_hour=-1), InputError, "max_usd_per_hour is -1"),
        (Candidates(min_memory_gib=float("nan")), InputError, "min_memory_gib is nan"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wanted: Candidates, error: type[InputError], message: str) -> None:
    with pytest.raises(error, match=message):
        chosen(wanted)
