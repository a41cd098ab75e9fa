"""What would fail is found before anything is started: all of it at once, each with its remedy."""

from __future__ import annotations

import dataclasses
import json
import pickle
import socket
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import pytest

from nodewise.billing.budgets import make_budget
from nodewise.core.errors import InputError, PreflightError
from nodewise.core.findings import Finding
from nodewise.core.machine import machine_cores
from nodewise.core.progress import SilentProgress
from nodewise.preflight.check import check, require
from nodewise.preflight.plan import Plan
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.definition import ClusterDefinition
from nodewise.specs.limits import Quota
from nodewise.specs.place import NodeLimits
from nodewise.workspace import Workspace


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """One local node without limits, which nothing is wrong with."""
    return Plan(cluster=ClusterSpec(engine="local"), workspace=Workspace(tmp_path / "ws"), base=tmp_path)


def with_cluster(plan: Plan, **settings: Any) -> Plan:
    return dataclasses.replace(plan, cluster=dataclasses.replace(plan.cluster, **settings))


def texts(plan: Plan) -> list[str]:
    findings = check(plan)
    assert all(finding.remedy for finding in findings)
    return [f"{finding.level}: {finding.text}" for finding in findings]


def test_nothing_is_found_and_nothing_made_where_nothing_is_wrong(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jpg").write_bytes(b"x" * 100)
    assert check(dataclasses.replace(plan, inputs=("data", "data/*.jpg", "digits", "s3://bucket/x"), num_tasks=1)) == []
    assert not plan.workspace.root.exists()


def test_inputs_must_exist_and_match_a_file(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    (tmp_path / "empty" / "nested").mkdir(parents=True)
    findings = check(dataclasses.replace(plan, inputs=("photo", "photos/*.png", "empty", "photos/**/*.jpg")))
    assert [(finding.level, finding.what) for finding in findings] == [
        ("error", "photo does not exist"),
        ("error", "nothing matches 'photos/*.png'"),
        ("error", "empty holds no file"),
    ]
    assert findings[0].remedy == "did you mean 'photos'?"
    assert findings[1].remedy == f"see what is there: ls {tmp_path}/photos"


def test_what_will_be_written_must_have_room(plan: Plan, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(1 << 40)  # takes no space
    too_much = dataclasses.replace(plan, inputs=("huge",), output=tmp_path / "a" / "b", input_factor=1000)
    (finding,) = check(too_much)
    assert finding.what == f"no room in {tmp_path}/a/b"
    assert finding.detail.endswith("are free, and about 1000.0 TiB will be written")


def test_a_missing_engine_is_an_error(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", "/nothing")
    found = texts(with_cluster(plan, engine="spark"))
    assert found == ["error: engine 'spark' needs Java 17 or later: JAVA_HOME is /nothing, which has no bin/java"]


def test_nodes_share_no_more_cpus_than_there_are(plan: Plan) -> None:
    cores = machine_cores()
    assert check(with_cluster(plan, nodes=4, limits=NodeLimits(cpus=cores / 4))) == []
    (finding,) = check(with_cluster(plan, nodes=3, limits=NodeLimits(cpus=cores)))
    assert finding.what == f"3 nodes of {cores} CPUs need {3 * cores}, and this machine has {cores}"
    # Two thirds of two cores, rounded down.
    assert finding.remedy.startswith(f"give each at most {int(100 * cores / 3) / 100:g} (cpus_per_node)")


def test_a_node_holds_its_engine_and_the_machine_holds_the_nodes(plan: Plan) -> None:
    ray = with_cluster(plan, engine="ray")
    (small,) = check(with_cluster(ray, limits=NodeLimits(memory_bytes=256 << 20)))
    assert small.text == "a node of 256.0 MiB is too small for the engine ray: idle it takes about 300.0 MiB"
    (many,) = check(with_cluster(ray, nodes=200_000))
    assert many.level == "error"
    assert many.what.startswith("200000 nodes of ray take about 57.2 TiB when idle")
    half = psutil.virtual_memory().total // 2
    (loose,) = check(with_cluster(ray, nodes=3, limits=NodeLimits(memory_bytes=half)))
    assert loose.level == "warning"
    (large,) = check(with_cluster(ray, limits=NodeLimits(memory_bytes=5 * half)))
    assert (large.level, "is larger than this machine" in large.what) == ("error", True)


def test_limits_that_will_not_be_held_are_told(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODEWISE_EMULATION_TIER", "processes")
    limited = with_cluster(plan, limits=NodeLimits(cpus=0.25, network_bits_per_s=10**8))
    found = [finding.what for finding in check(limited)]
    assert found == [
        "nodes will not be isolated on this machine",
        "the network limit of the nodes will not be held on this machine",
    ]
    require([limited])


def test_a_port_that_is_taken_is_an_error(plan: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert texts(with_cluster(plan, engine="ray", port=port)) == [
            f"error: port {port} is in use by another program"
        ]
    assert texts(with_cluster(plan, engine="ray", port=port)) == []


def test_fewer_tasks_than_slots_is_a_warning_that_names_the_count(plan: Plan) -> None:
    two = dataclasses.replace(with_cluster(plan, nodes=4, cores_per_node=2), num_tasks=2)
    (finding,) = check(two)
    assert (finding.level, finding.text) == ("warning", "2 tasks for 8 slots: 6 slots will have nothing to do")
    assert finding.remedy == "cut the work into at least 8 parts, better 24; or take fewer nodes"
    assert check(dataclasses.replace(two, num_tasks=8)) == []


def test_a_stated_quota_is_kept(plan: Plan) -> None:
    # n1-standard-1 has one vCPU: eight nodes and a driver of two are ten, and nine addresses.
    shape = with_cluster(plan, nodes=8, node_type="n1-standard-1")
    ok = dataclasses.replace(shape, quota=Quota(vcpus=10, addresses=9), driver_node_type="n1-standard-2")
    assert check(ok) == []
    found = check(dataclasses.replace(ok, quota=Quota(vcpus=9, addresses=8)))
    assert [(finding.what, finding.remedy) for finding in found] == [
        (
            "8 nodes and a driver need 9 addresses, and the quota is 8",
            "take at most 7 nodes, or have the quota raised",
        ),
        (
            "8 x 1 vCPUs and 2 of the driver are 10, and the quota is 9",
            "take at most 7 nodes, a smaller node type, or have the quota raised",
        ),
    ]
    (unknown,) = check(dataclasses.replace(with_cluster(ok, node_type=None), quota=Quota(vcpus=9)))
    assert (unknown.level, unknown.what) == ("warning", "the quota of 9 vCPUs cannot be checked")


def test_a_definition_brings_its_own_quota_budget_and_needs(plan: Plan, tmp_path: Path) -> None:
    definition = ClusterDefinition(
        name="c",
        engine="local",
        workers=2,
        quota=Quota(addresses=2),
        budget_usd=Decimal("1.50"),
        environment={"A": "${NOT_SET}"},
        init_script=str(tmp_path / "init.sh"),
    )
    found = texts(
        dataclasses.replace(
            with_cluster(plan, nodes=2), definition=definition, expected_usd=Decimal("2"), variables={"OTHER": "x"}
        )
    )
    assert found == [
        "error: cluster 'c': its environment refers to NOT_SET, not set here",
        f"error: the init script {tmp_path}/init.sh does not exist",
        "error: 2 nodes and a driver need 3 addresses, and the quota is 2",
        "error: it is expected to cost $2.00, and its budget is $1.50",
    ]


def test_a_budget_of_a_tag_is_kept(plan: Plan) -> None:
    plan.workspace.create()
    stop = make_budget("team=vision", warn=None, stop=Decimal(1), period="total")
    warn = make_budget("owner=me", warn=Decimal(1), stop=Decimal(5), period="total")
    for budget in (stop, warn):
        plan.workspace.budgets.put(budget)
    tagged = dataclasses.replace(plan, tags={"team": "vision", "owner": "me"}, expected_usd=Decimal(2))
    assert [finding.level for finding in check(tagged)] == ["error", "warning"]
    assert check(tagged)[0].what.startswith("budget team=vision: 0.00 USD spent so far and 2.00 more expected")


def test_a_cluster_that_is_up_or_elsewhere_asks_nothing_of_this_machine(plan: Plan) -> None:
    far = with_cluster(plan, engine="ray", nodes=200_000, address="ray://h:10001")
    assert check(far) == []
    assert check(dataclasses.replace(with_cluster(plan, engine="ray", nodes=200_000), is_up=True)) == []


def test_all_errors_of_all_plans_come_at_once_errors_first(plan: Plan) -> None:
    plans = [dataclasses.replace(plan, name=name, inputs=("nothing",), num_tasks=0) for name in ("one", "two")]
    with pytest.raises(PreflightError) as caught:
        require(plans)
    error = caught.value
    assert isinstance(error, InputError)
    assert error.exit_code == 2
    assert error.headline == "2 problems found before anything was started"
    assert error.message == f"{error.headline}: one: nothing does not exist; two: nothing does not exist"
    assert [finding.level for finding in error.findings] == ["error", "warning", "error", "warning"]
    facts = json.loads(json.dumps(error.to_json()))
    assert facts["code"] == "preflight"
    assert error.findings[1] == Finding(
        level="warning",
        what="one: 0 tasks for 1 slot",
        detail="1 slot will have nothing to do",
        remedy="cut the work into at least 1 parts, better 3; or take fewer nodes",
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.message, copy.findings) == (error.message, error.findings)


def test_warnings_alone_are_noted_and_stop_nothing(plan: Plan) -> None:
    class Notes(SilentProgress):
        def __init__(self) -> None:
            self.notes: list[str] = []

        def note(self, message: str) -> None:
            self.notes.append(message)

    progress = Notes()
    require([dataclasses.replace(with_cluster(plan, nodes=2), num_tasks=1)] * 2, progress)
    assert progress.notes == [
        "1 task for 2 slots: 1 slot will have nothing to do "
        "(cut the work into at least 2 parts, better 6; or take fewer nodes)"
    ]


def test_one_problem_is_one() -> None:
    error = PreflightError([Finding(level="error", what="x", remedy="do y")])
    assert (error.message, error.hint) == ("x", "do y")
