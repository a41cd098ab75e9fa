"""The definition of a cluster: what is read, what is refused, and what never gets into it."""

from __future__ import annotations

import dataclasses
import json
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.core.errors import InputError, SpecError
from nodewise.metering.prices import node_type_names
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.cluster_checks import check_definition
from nodewise.specs.codec import definition_from_json, definition_to_json, load_definition
from nodewise.specs.definition import Autoscale, ClusterDefinition, Platform
from nodewise.specs.limits import Quota
from nodewise.specs.place import NodeLimits
from nodewise.specs.scenario import DatabricksFee

EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"

WHOLE = """\
name: my-cluster.1
engine: spark
node_type: Standard_DS3_v2
driver_node_type: m4.large
autoscale: {min: 2, max: 5}
cores_per_node: 3
cpus_per_node: 0.25
memory_per_node: 512MiB
network_per_node: 100Mbit/s
latency_per_node: 5ms
libraries: ["pandas>=2.2", polars]
environment: {MODE: fast, DB_PASSWORD: "${DB_PASSWORD}", URL: "https://u:${DB_PASSWORD}@h"}
init_script: scripts/init.sh
tags: {owner: me, 2026: autumn}
autotermination_minutes: 30
platform: {name: databricks, tier: standard}
pricing: spot
quota: {vcpus: 24, addresses: 8}
budget_usd: 2.50
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, extra: str, head: str = "name: c\nengine: ray\n") -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_definition(write(tmp_path, head + extra), node_type_names=["m4.large"])
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value


def test_a_whole_definition_is_read(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, WHOLE), node_type_names=["Standard_DS3_v2", "m4.large"])
    assert definition == ClusterDefinition(
        name="my-cluster.1",
        engine="spark",
        node_type="Standard_DS3_v2",
        driver_node_type="m4.large",
        autoscale=Autoscale(min=2, max=5),
        cores_per_node=3,
        cpus_per_node=0.25,
        memory_per_node="512MiB",
        network_per_node="100Mbit/s",
        latency_per_node="5ms",
        libraries=("pandas>=2.2", "polars"),
        environment={"MODE": "fast", "DB_PASSWORD": "${DB_PASSWORD}", "URL": "https://u:${DB_PASSWORD}@h"},
        init_script=str(tmp_path / "scripts" / "init.sh"),
        tags={"owner": "me", "2026": "autumn"},
        autotermination_minutes=30,
        platform=Platform(name="databricks", tier="standard"),
        pricing="spot",
        quota=Quota(vcpus=24, addresses=8),
        budget_usd=Decimal("2.5"),
    )


def test_it_comes_to_a_cluster_of_any_number_of_equal_nodes(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, WHOLE))
    assert (definition.min_nodes, definition.max_nodes) == (2, 5)
    assert definition.spec(4, machine_cores=2) == ClusterSpec(
        engine="spark",
        nodes=4,
        cores_per_node=3,
        node_type="Standard_DS3_v2",
        limits=NodeLimits(cpus=0.25, memory_bytes=512 << 20, network_bits_per_s=100_000_000, network_latency_s=0.005),
    )


def test_the_shortest_definition_is_one_node_without_limits(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, "name: c\nengine: ray\n"))
    assert (definition.min_nodes, definition.max_nodes, definition.autotermination_minutes) == (1, 1, 60)
    assert definition.spec(1, machine_cores=8) == ClusterSpec(engine="ray", nodes=1, cores_per_node=8)


def test_several_nodes_share_the_machine_and_keep_their_share_when_the_cluster_shrinks() -> None:
    definition = ClusterDefinition(name="c", engine="ray", autoscale=Autoscale(min=1, max=4))
    for num_nodes in (1, 4):
        spec = definition.spec(num_nodes, machine_cores=6)
        assert (spec.limits.cpus, spec.cores_per_node) == (1.5, 1)


@pytest.mark.parametrize(("cpus", "slots"), [(0.25, 1), (1.0, 1), (2.5, 3)])
def test_slots_follow_the_cpus_of_a_node(cpus: float, slots: int) -> None:
    definition = ClusterDefinition(name="c", engine="ray", cpus_per_node=cpus)
    assert definition.spec(1, machine_cores=64).cores_per_node == slots


def test_a_cluster_that_exists_has_its_address_and_no_limits() -> None:
    definition = ClusterDefinition(name="c", engine="spark", provider="existing", address="spark://h:7077", workers=3)
    check_definition(definition)
    spec = definition.spec(3, machine_cores=2)
    assert (spec.address, spec.limits, spec.emulated) == ("spark://h:7077", NodeLimits(), False)


def test_the_fee_of_databricks_depends_on_how_the_cluster_is_used() -> None:
    definition = ClusterDefinition(name="c", engine="spark", platform=Platform(name="databricks"))
    assert definition.platform_fee() == DatabricksFee(tier="premium", compute="all-purpose")
    assert definition.platform_fee(for_one_run=True) == DatabricksFee(tier="premium", compute="jobs")
    assert dataclasses.replace(definition, platform=Platform(name="dataproc")).platform_fee() == "dataproc"
    assert dataclasses.replace(definition, platform=None).platform_fee() is None


def test_variables_are_taken_from_whoever_starts_it(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, WHOLE))
    assert definition.environment_from({"DB_PASSWORD": "a$b", "OTHER": "x"}) == {
        "MODE": "fast",
        "DB_PASSWORD": "a$b",
        "URL": "https://u:a$b@h",
    }
    with pytest.raises(InputError, match="its environment refers to DB_PASSWORD, not set here") as caught:
        definition.environment_from({})
    assert caught.value.hint == "export DB_PASSWORD=... before this command"


def test_what_is_stored_is_the_same_and_holds_no_secret(tmp_path: Path) -> None:
    definition = load_definition(write(tmp_path, WHOLE))
    stored = json.dumps(definition_to_json(definition))
    assert definition_from_json(json.loads(stored)) == definition
    assert definition_from_json({**json.loads(stored), "of_a_later_version": 1}) == definition
    with pytest.raises(SpecError, match=r"stored cluster 'my-cluster\.1': workers"):
        definition_from_json({**json.loads(stored), "workers": "many"})


@pytest.mark.parametrize(
    "line",
    [
        "environment: {DB_PASSWORD: Zq7Kv2m}",
        "environment: {AUTH_TOKEN: 'x-${TOKEN}'}",
        "environment: {URL: 'https://u:Zq7Kv2m@h'}",
        "environment: {OPTIONS: '--token Zq7Kv2m'}",
        "libraries: ['p @ https://u:Zq7Kv2m@h/p.whl']",
        "environment: {API_KEY: 977432}",
    ],
)
def test_a_secret_in_clear_is_refused_and_not_repeated(tmp_path: Path, line: str) -> None:
    error = refusal(tmp_path, line)
    assert "line 3" in error.message
    assert "Zq7Kv2m" not in error.message + str(error.hint)
    assert "977432" not in error.message + str(error.hint)


def test_a_secret_in_clear_is_refused_with_what_to_write(tmp_path: Path) -> None:
    error = refusal(tmp_path, "environment: {DB_PASSWORD: x}")
    assert error.message.endswith("line 3: environment.DB_PASSWORD holds a secret in clear")
    assert error.hint == "write DB_PASSWORD: ${DB_PASSWORD} and export DB_PASSWORD"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("worker: 2", "line 3: worker is not a known key"),
        ("autoscale: {min: 1, max: 2, mid: 1}", "line 3: autoscale.mid is not a known key"),
        ("quota: {cpus: 1}", "line 3: quota.cpus is not a known key"),
        ("workers: 0", "line 3: workers must be at least 1, not 0"),
        ("workers: 2\nautoscale: {min: 1, max: 2}", "line 3: workers and autoscale exclude each other"),
        ("autoscale: {min: 0, max: 2}", "line 3: autoscale.min must be at least 1, not 0"),
        ("autoscale: {min: 3, max: 2}", "line 3: autoscale.max must be at least min, which is 3, not 2"),
        ("cores_per_node: 0", "line 3: cores_per_node must be at least 1, not 0"),
        ("cpus_per_node: 0", "line 3: cpus_per_node must be at least 0.01, not 0"),
        ("cpus_per_node: .nan", "line 3: cpus_per_node must be"),
        ("memory_per_node: 512 parsecs", "line 3: memory_per_node is wrong: '512 parsecs' is no number of bytes"),
        ("memory_per_node: 1MiB", "line 3: memory_per_node must be at least 64MiB, not 1MiB"),
        ("memory_per_node: 512", "line 3: memory_per_node must be text, not the number 512"),
        ("network_per_node: 100", "line 3: network_per_node must be text, not the number 100"),
        ("network_per_node: 100Mb", "line 3: network_per_node is wrong: '100Mb' is no rate"),
        ("latency_per_node: 2h", "line 3: latency_per_node must be at most 60s, not 2h"),
        ("node_type: m5.larg", "line 3: node_type 'm5.larg' is unknown"),
        ("driver_node_type: x", "line 3: driver_node_type 'x' is unknown"),
        ("libraries: ['-r other.txt']", "line 3: libraries[0] must be a requirement such as 'pandas>=2.2'"),
        ("environment: {A-B: x}", "line 3: environment.A-B is not the name of a variable"),
        ("autotermination_minutes: 0", "line 3: autotermination_minutes must be above 0, not 0"),
        ("platform: {name: dataproc, tier: premium}", "line 3: platform.tier is for databricks; dataproc has none"),
        ("platform: {name: emr}", "line 3: platform.name must be 'databricks' or 'dataproc', not the text 'emr'"),
        ("pricing: cheap", "line 3: pricing must be 'list' or 'spot', not the text 'cheap'"),
        ("quota: {vcpus: 0}", "line 3: quota.vcpus must be at least 1, not 0"),
        ("budget_usd: 0", "line 3: budget_usd must be above 0, not 0"),
        ("budget_usd: much", "line 3: budget_usd must be a number, not the text 'much'"),
        ("address: auto", "line 3: address is for a cluster that exists"),
        ("provider: existing", "line 1: address is missing"),
        ("provider: existing\naddress: auto\nworkers: 2\nmemory_per_node: 1GiB", "line 6: memory_per_node is for emul"),
        ("provider: existing\naddress: auto\ninit_script: x", "line 5: init_script is for emulated nodes"),
    ],
)
def test_what_cannot_work_is_refused_with_its_line(tmp_path: Path, lines: str, message: str) -> None:
    assert message in refusal(tmp_path, lines).message


@pytest.mark.parametrize("name", ["", "-a", "a b", "a/b", "a" * 65, "ä"])
def test_a_name_that_no_file_could_have_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="name must be of letters"):
        check_definition(ClusterDefinition(name=name, engine="ray"))


def test_the_local_engine_neither_scales_nor_has_an_address(tmp_path: Path) -> None:
    head = "name: c\nengine: local\n"
    assert "autoscale is for the engines" in refusal(tmp_path, "autoscale: {min: 1, max: 2}", head).message
    assert "engine must be 'spark' or 'ray'" in refusal(tmp_path, "provider: existing\naddress: x", head).message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.yaml does not exist") as caught:
        load_definition(tmp_path / "nothing.yaml")
    assert caught.value.hint == "give the path of a cluster definition (YAML)"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_can_be_loaded_and_has_a_type_of_node_with_a_price(path: Path) -> None:
    definition = load_definition(path, node_type_names=node_type_names())
    assert definition.node_type is not None
    assert f"nodewise clusters create examples/clusters/{path.name}" in path.read_text()


def test_the_shapes_among_the_examples_differ_in_nothing_but_their_shape() -> None:
    shapes = [load_definition(EXAMPLES / f"{name}.yaml") for name in ("1x8", "4x2", "8x1")]
    specs = [shape.spec(shape.max_nodes, machine_cores=2) for shape in shapes]
    assert [(spec.nodes, spec.cores_per_node) for spec in specs] == [(1, 8), (4, 2), (8, 1)]
    assert [spec.nodes * (spec.limits.cpus or 0) for spec in specs] == [2, 2, 2]
    assert [spec.node_type for spec in specs] == ["n1-standard-8", "n1-standard-2", "n1-standard-1"]
