"""``nodewise compare`` and ``nodewise demo`` as processes, with the real engines."""

import json
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nodewise.workspace import Workspace

SPEC = """
name: digits
dataset: {source: digits}
jobs:
  prepare: {size: 32, sample: 0.2, shard_records: 40}
  train: {epochs: 2}
scenarios:
  - {name: one, engine: local, node_type: Standard_DS3_v2, tags: {project: test}}
  - {name: three, engine: local, nodes: 3, node_type: Standard_DS3_v2}
"""
PROGRAMS = re.sub(r"dataset.*epochs: 2}", "jobs: {command: {run: ['true']}}", SPEC, flags=re.DOTALL)


def write_spec(folder: Path, text: str = SPEC) -> str:
    (folder / "spec.yaml").write_text(text)
    return "spec.yaml"


def check_contract(result: dict[str, Any]) -> None:
    keys = {"scenarios", "baseline", "speedup", "cost_ratio", "verdict", "report_path"}
    assert keys <= set(result)
    for scenario in result["scenarios"]:
        wanted = {"name", "engine", "emulated", "nodes", "node_type", "stages", "seconds", "cost_usd", "accuracy"}
        assert wanted | {"run_ids"} <= set(scenario)
        assert [stage["name"] for stage in scenario["stages"]] == ["prepare", "train", "score"]
        for stage in scenario["stages"]:
            assert {"name", "seconds", "records"} <= set(stage)
        parts = sum(stage["seconds"] for stage in scenario["stages"])
        assert scenario["seconds"] >= parts + scenario["start_up_seconds"]
    by_name = {scenario["name"]: scenario for scenario in result["scenarios"]}
    baseline = by_name[result["baseline"]]
    for name, ratio in result["speedup"].items():
        assert ratio == pytest.approx(baseline["seconds"] / by_name[name]["seconds"])
    for name, ratio in result["cost_ratio"].items():
        assert ratio == pytest.approx(by_name[name]["cost_usd"] / baseline["cost_usd"])


def test_two_scenarios_side_by_side(cli: Any, read_json: Any, mark: Any, tmp_path: Path) -> None:
    done = cli("compare", write_spec(tmp_path), "--json", "out.json")
    assert done.returncode == 0, done.stderr
    result = read_json(tmp_path / "out.json")["result"]
    check_contract(result)
    one, three = result["scenarios"]
    assert (one["nodes"], three["nodes"], one["emulated"], result["baseline"]) == (1, 3, True, "one")
    # 0.293 $/h is the list price of the node type; the report says under which condition it would be paid.
    assert one["cost_usd"] == pytest.approx(0.293 * one["seconds"] / 3600, abs=2e-6)
    assert three["cost_usd"] == pytest.approx(3 * 0.293 * three["seconds"] / 3600, abs=2e-6)
    prepared, trained, scored = (stage["records"] for stage in one["stages"])
    # A fifth of 1,797; of these a fifth of each class is held out, the rest goes through two epochs.
    assert (prepared, trained / 2 + scored) == (359, 359)
    assert scored == pytest.approx(359 / 5, abs=5)
    report = Path(result["report_path"])
    html = report.read_text()
    assert "if run on Standard_DS3_v2 at this speed" in html
    assert not re.search(r"""(src|href|@import)\s*=?\s*["'(]?\s*https?://""", html)
    assert html.count("data:image/") >= 9
    assert str(report) in done.stdout.replace("\n", "")
    assert "emulated" in done.stdout
    # What was in the way is gone: shards take room and can be made again. The models and predictions stay.
    runs = tmp_path / "ws" / "runs"
    assert not list(runs.glob("*/shards"))
    assert len(list(runs.glob("*/model.safetensors"))) == len(list(runs.glob("*/predictions"))) == 2
    listed = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"]
    assert {run["scenario"] for run in listed} == {"one", "three"}
    assert {run["experiment"] for run in listed} == {result["experiment"]}
    assert next(run for run in listed if run["scenario"] == "one")["tags"] == {"project": "test"}
    assert mark.left() == []


def test_repeats_are_runs_of_their_own_with_a_range(cli: Any, read_json: Any, tmp_path: Path) -> None:
    done = cli("compare", write_spec(tmp_path, PROGRAMS), "--json", "out.json", "--repeat", "2")
    assert done.returncode == 0, done.stderr
    for scenario in read_json(tmp_path / "out.json")["result"]["scenarios"]:
        assert len(set(scenario["run_ids"])) == 2
        assert scenario["seconds_min"] <= scenario["seconds"] <= scenario["seconds_max"]


def test_a_scenario_that_fails_is_reported_and_the_others_are_not_lost(
    cli: Any, read_json: Any, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        spec = write_spec(tmp_path, f"{PROGRAMS}  - {{name: taken, engine: ray, nodes: 2, port: {port}}}\n")
        # Looked at before, the port would stop the whole comparison; with a network of its own nobody could take it.
        alone = {"NODEWISE_EMULATION_TIER": "processes"}
        done = cli("compare", spec, "--json", "out.json", "--no-preflight", env=alone)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"port {port}" in done.stderr
    content = read_json(tmp_path / "out.json")
    assert content["ok"] is False
    assert "taken" in content["error"]["message"]
    assert [scenario["name"] for scenario in content["result"]["scenarios"]] == ["one", "three"]
    assert content["result"]["failed"] == ["taken"]
    assert "taken" in Path(content["result"]["report_path"]).read_text()
    failed = json.loads(cli("runs", "list", "--json", "-").stdout)["result"]["runs"][0]
    assert (failed["scenario"], failed["status"], failed["error"]["code"]) == ("taken", "FAILED", "port_in_use")


def test_without_java_the_spark_scenarios_are_left_out_and_named(cli: Any, read_json: Any, tmp_path: Path) -> None:
    spec = write_spec(tmp_path, f"{PROGRAMS}  - {{name: sparks, engine: spark, nodes: 2}}\n")
    empty = tmp_path / "no-java"
    empty.mkdir()
    done = cli("compare", spec, "--json", "out.json", env={"JAVA_HOME": str(empty)})
    assert done.returncode == 0, done.stderr
    result = read_json(tmp_path / "out.json")["result"]
    assert list(result["left_out"]) == ["sparks"]
    assert "Java 17" in result["left_out"]["sparks"]
    assert "sparks is left out" in done.stderr
    assert "sparks" in done.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SPEC.replace("nodes: 3", "nodse: 3"), ["spec.yaml", "line 9", "nodse", "nodes"]),
        (SPEC.replace("nodes: 3", "nodes: three"), ["spec.yaml", "line 9", "nodes", "whole number"]),
        (SPEC.replace("Standard_DS3_v2", "Standard_DS3v2"), ["line 8", "Standard_DS3v2", "Standard_DS3_v2"]),
        (SPEC.replace("source: digits", "source: nowhere"), ["nowhere"]),
        (SPEC.replace("size: 32", "size: 10"), ["10 x 10", "--size"]),
        (SPEC.replace("name: three", "name: one"), ["one", "scenarios[0]"]),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place(cli: Any, tmp_path: Path, text: str, words: list[str]) -> None:
    done = cli("compare", write_spec(tmp_path, text))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr
    assert Workspace(tmp_path / "ws").list_runs() == []


@pytest.mark.xdist_group("demo")
@pytest.mark.timeout(700)
def test_the_demo_runs_on_spark_and_ray_and_its_report_opens_without_network(
    cli: Any, read_json: Any, mark: Any, tmp_path: Path
) -> None:
    if shutil.which("java") is None:
        pytest.skip("the demo's Spark scenarios need Java 17")
    done = cli("demo", "--json", "out.json", timeout=600)
    assert done.returncode == 0, done.stderr
    result = read_json(tmp_path / "out.json")["result"]
    check_contract(result)
    places = [(scenario["engine"], scenario["nodes"]) for scenario in result["scenarios"]]
    assert places == [("spark", 1), ("spark", 5), ("ray", 1), ("ray", 5)]
    assert all(scenario["emulated"] and scenario["accuracy"] > 0.8 for scenario in result["scenarios"])
    assert all(scenario["records"] == 1797 for scenario in result["scenarios"])
    # Every task was recorded, on every node.
    for scenario in result["scenarios"]:
        shown = json.loads(cli("runs", "show", scenario["run_ids"][0], "--json", "-").stdout)["result"]
        nodes = {f"node-{number}" for number in range(scenario["nodes"])}
        trained = [task for task in shown["tasks"] if task["stage"] == "train"]
        assert sorted(task["node"] for task in trained) == sorted(nodes)
        assert {task["node"] for task in shown["tasks"]} == nodes
    assert "emulated on this machine" in " ".join(done.stdout.split())
    assert mark.left() == []
    open_in_browser(Path(result["report_path"]), tmp_path)


def open_in_browser(report: Path, folder: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("the report was not opened: there is no Chromium on this machine")
        return
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    flags += ["--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND"]
    opened = subprocess.run(
        [
            chromium,
            *flags,
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            "--dump-dom",
            str(report),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Where the billed time went" in opened.stdout
    assert opened.stdout.count("<svg") == 3 + 1 + 4
    complaints = [line for line in opened.stderr.splitlines() if "CONSOLE" in line]
    assert complaints == []
