from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.core.errors import SpecError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import load_compare, run_from_json, run_to_json, to_json
from nodewise.specs.job import PrepareSpec, ScoreSpec, TrainSpec
from nodewise.specs.run import RunRecord, RunStatus, StageRecord
from nodewise.specs.scenario import DatabricksFee

WHOLE = """\
name: one node against five
dataset:
  source: [../data, cifar10]
jobs:
  prepare: {sample: 0.5, quality: 90, strict: true}
  train:
    epochs: 2
    learning_rate: 1e-3
databricks: {tier: standard}
baseline: one
repeat: 3
scenarios:
  - {name: one, engine: local}
  - name: five
    engine: spark
    nodes: 5
    node_type: Standard_DS3_v2
    port: 7077
    tags: {on: "Spark", 2026: autumn, due: 2026-12-01}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    return path


def refusal(tmp_path: Path, text: str, **names: list[str]) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_compare(write(tmp_path, text), **names)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2
    return caught.value


def minimal(extra: str = "", scenario: str = "name: a, engine: local") -> str:
    return f"name: n\ndataset: {{source: d}}\nscenarios:\n  - {{{scenario}}}\n{extra}"


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    spec = load_compare(write(tmp_path, WHOLE), node_type_names=["Standard_DS3_v2"])

    assert spec.name == "one node against five"
    assert spec.dataset.sources == ("../data", "cifar10")
    assert spec.jobs.prepare == PrepareSpec(sample=0.5, quality=90, strict=True)
    assert spec.jobs.train == TrainSpec(epochs=2, learning_rate=0.001)
    assert spec.jobs.score == ScoreSpec()
    assert spec.databricks == DatabricksFee(tier="standard", compute="jobs")
    assert (spec.baseline_name, spec.repeat) == ("one", 3)
    assert [scenario.nodes for scenario in spec.scenarios] == [1, 5]


def test_keys_and_dates_among_tags_stay_text(tmp_path: Path) -> None:
    assert load_compare(write(tmp_path, WHOLE)).scenarios[1].tags == {
        "on": "Spark",
        "2026": "autumn",
        "due": "2026-12-01",
    }


def test_the_shortest_file_takes_every_default(tmp_path: Path) -> None:
    spec = load_compare(write(tmp_path, minimal()))

    assert spec.jobs.prepare == PrepareSpec()
    assert spec.baseline_name == "a"
    assert spec.databricks is None


def test_a_whole_number_is_taken_for_a_number(tmp_path: Path) -> None:
    assert load_compare(write(tmp_path, minimal("jobs: {prepare: {sample: 1}}"))).jobs.prepare.sample == 1.0


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (minimal("bsaeline: a"), "line 5: bsaeline is not a known key", "did you mean 'baseline'?"),
        (minimal("jobs:\n  trian: {}"), "line 6: jobs.trian is not a known key", "did you mean 'train'?"),
        (
            minimal("jobs:\n  prepare:\n    size: 64\n    qualty: 3"),
            "line 8: jobs.prepare.qualty is not a known key",
            "did you mean 'quality'?",
        ),
        (
            minimal(scenario="name: a, engine: local, node: 2"),
            "line 4: scenarios[0].node is not a known key",
            "did you mean 'nodes'?",
        ),
        (
            minimal("databricks: {xyz: 1}"),
            "line 5: databricks.xyz is not a known key",
            "known keys here: tier, compute",
        ),
    ],
    ids=["top", "jobs", "prepare", "scenario", "databricks"],
)
def test_an_unknown_key_is_refused_at_every_level(tmp_path: Path, text: str, message: str, hint: str) -> None:
    error = refusal(tmp_path, text)

    assert error.message == f"{tmp_path}/c.yaml, {message}"
    assert error.hint == hint


@pytest.mark.parametrize(
    ("scenario", "message"),
    [
        ('name: a, engine: local, nodes: "3"', "nodes must be a whole number, not the text '3'"),
        ("name: a, engine: local, nodes: true", "nodes must be a whole number, not true"),
        ("name: a, engine: local, nodes: 1.0", "nodes must be a whole number, not the number 1.0"),
        ("name: 5, engine: local", "name must be text, not the number 5"),
        ("name: a, engine: sprak", "engine must be 'local', 'spark' or 'ray', not the text 'sprak'"),
        ("name: a, engine: local, tags: [x]", "tags must be a mapping (key: value), not a list"),
        ("name: a, engine: local, tags: {x: 1}", "tags.x must be text, not the number 1"),
        ("name: a", "engine is missing"),
    ],
)
def test_no_type_is_taken_for_another(tmp_path: Path, scenario: str, message: str) -> None:
    assert refusal(tmp_path, minimal(scenario=scenario)).message == f"{tmp_path}/c.yaml, line 4: scenarios[0].{message}"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("3", "dataset.source must be text or a list of texts, not the number 3"),
        ("[a, 3]", "dataset.source[1] must be text, not the number 3"),
        ("[]", "dataset.source must name a folder, an archive or a data set"),
        ("' '", "dataset.source must name a folder, an archive or a data set"),
    ],
)
def test_a_source_is_text_or_a_list_of_texts(tmp_path: Path, source: str, message: str) -> None:
    text = f"name: n\ndataset:\n  source: {source}\nscenarios: [{{name: a, engine: ray}}]\n"
    assert refusal(tmp_path, text).message == f"{tmp_path}/c.yaml, line 3: {message}"


def test_the_first_problem_in_the_file_is_named_and_the_others_are_counted(tmp_path: Path) -> None:
    error = refusal(tmp_path, minimal("repeat: 0\njobs: {train: {epochs: 0}}", "name: a, engine: local, nodes: 0"))

    assert (
        error.message
        == f"{tmp_path}/c.yaml, line 4: scenarios[0].nodes must be at least 1, not 0 (and 2 more problems)"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (minimal("repeat: 0"), "line 5: repeat must be at least 1, not 0"),
        (minimal("baseline: b"), "line 5: baseline 'b' is not the name of a scenario"),
        (minimal("jobs: {prepare: {sample: 0}}"), "jobs.prepare.sample must be above 0 and at most 1, not 0"),
        (minimal("jobs: {prepare: {sample: .nan}}"), "jobs.prepare.sample must be above 0 and at most 1, not nan"),
        (minimal("jobs: {prepare: {test_fraction: 1}}"), "test_fraction must be at least 0 and below 1, not 1"),
        (minimal("jobs: {train: {epochs: 0}}"), "jobs.train.epochs must be at least 1, not 0"),
        (minimal("jobs: {score: {batch_size: 0}}"), "jobs.score.batch_size must be at least 1, not 0"),
        (minimal("  - {name: a, engine: ray}"), "line 5: scenarios[1].name 'a' is already the name of scenarios[0]"),
        (minimal(scenario="name: a, engine: spark, port: 0"), "scenarios[0].port must be from 1 to 65535, not 0"),
        (
            minimal(scenario="name: a, engine: local, address: h"),
            "scenarios[0].address is for the engines spark and ray",
        ),
        (minimal(scenario="name: a, engine: ray, cores_per_node: 0"), "cores_per_node must be at least 1, not 0"),
        ("name: n\ndataset: {source: d}\nscenarios: []\n", "line 3: scenarios must hold at least one scenario"),
        (minimal().replace("name: n", "name: ''"), "line 1: name must not be empty"),
    ],
)
def test_values_out_of_range_are_refused(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text).message


def test_an_unknown_node_type_gives_the_nearest(tmp_path: Path) -> None:
    text = minimal(scenario="name: a, engine: ray, node_type: Standard_DS3v2")

    error = refusal(tmp_path, text, node_type_names=["Standard_DS3_v2", "m4.large"])

    assert error.message == f"{tmp_path}/c.yaml, line 4: scenarios[0].node_type 'Standard_DS3v2' is unknown"
    assert error.hint == "did you mean 'Standard_DS3_v2'?"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", " is empty"),
        ("- a\n", ", line 1: the file must be a mapping (key: value), not a list"),
        ("name: [1\nb: 2\n", ", line 2, column 2: not valid YAML: while parsing a flow sequence expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3\n", ", line 3, column 1: the key 'a' stands already in line 1"),
        ("a: {b: 1, b: 2}\n", ", line 1, column 11: the key 'b' stands already in line 1"),
        (
            "a: !!python/object/apply:os.system ['exit 3']\n",
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        ("a: !!int x\n", ", line 1, column 4: 'x' is not a value of its type"),
        ("a: &a {<<: *a}\n", "merge keys (<<) are not supported"),
        ("a: &a [*a]\n", ": nested too deeply"),
        ("[" * 5000, ": nested too deeply"),
        ("a: 1\n---\nb: 2\n", "not valid YAML: expected a single document"),
        ("a: \x00\n", ": not valid YAML: "),
        ("? [x]\n: 1\n", "a key must be text"),
    ],
)
def test_what_is_not_a_plain_yaml_mapping_is_refused(tmp_path: Path, text: str, message: str) -> None:
    assert refusal(tmp_path, text).message.startswith(f"{tmp_path}/c.yaml")
    assert message in refusal(tmp_path, text).message


def test_aliases_cannot_grow_without_bound(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    assert "more than 10,000 values, aliases written out" in refusal(tmp_path, "\n".join(lines)).message


def test_an_alias_repeats_a_value(tmp_path: Path) -> None:
    text = minimal("  - {name: b, engine: ray, tags: *t}", "name: a, engine: ray, tags: &t {who: me}")

    assert load_compare(write(tmp_path, text)).scenarios[1].tags == {"who": "me"}


def test_a_path_that_is_no_text_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"none\.yaml does not exist"):
        load_compare(tmp_path / "none.yaml")
    with pytest.raises(SpecError, match="is a folder"):
        load_compare(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(SpecError, match=r"not text in UTF-8 \(byte 9\)"):
        load_compare(tmp_path / "latin.yaml")


RUN = RunRecord(
    run_id="20261121-114530-3f9a",
    command="prepare",
    status=RunStatus.FAILED,
    created_at=datetime(2026, 11, 21, 11, 45, 30, 5, tzinfo=UTC),
    ended_at=datetime(2026, 11, 21, 11, 46, tzinfo=UTC),
    cluster=ClusterSpec(engine="spark", nodes=5, node_type="m4.large"),
    tags={"a": "b"},
    cost_usd=Decimal("0.100001"),
    stages=(StageRecord(name="prepare", wall_s=1.5, records=3, num_tasks=2),),
    error={"code": "c", "message": "m", "hint": None},
    result={"losses": [0.5]},
)


def test_a_stored_run_comes_back_equal() -> None:
    assert run_from_json(json.loads(json.dumps(run_to_json(RUN)))) == RUN


def test_a_run_that_a_later_version_stored_is_read() -> None:
    data = run_to_json(RUN) | {"mood": "good"}
    data["cluster"]["colour"] = "red"

    assert run_from_json(data) == RUN


def test_a_damaged_run_is_named() -> None:
    with pytest.raises(SpecError, match="stored run '20261121-114530-3f9a': status"):
        run_from_json(run_to_json(RUN) | {"status": "ASLEEP"})


@dataclass
class Holder:
    path: Path
    pair: tuple[float, Decimal]


def test_to_json_gives_plain_data() -> None:
    data = to_json({"h": Holder(Path("a/b"), (float("nan"), Decimal("0.25"))), 1: RunStatus.KILLED})

    assert data == {"h": {"path": "a/b", "pair": [None, 0.25]}, "1": "KILLED"}
    assert type(data["1"]) is str
    assert to_json(RUN)["created_at"] == "2026-11-21T11:45:30.000005+00:00"
    with pytest.raises(TypeError, match="no JSON for a value of type object"):
        to_json(object())
