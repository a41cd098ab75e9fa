"""Searches by real runs, and by runs that people told of; they are kept and go on."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import nodewise
from nodewise.advice_api import advise
from nodewise.core.errors import CorruptFileError, InputError
from nodewise.runs.advise import _node_gib
from nodewise.runs.advise_state import SearchState
from nodewise.specs.advice import AdviceStep, ConfigurationName
from nodewise.specs.advice_request import Candidates, SpotSpec, StreamSpec
from nodewise.specs.job import CommandSpec
from nodewise.specs.scenario import CompareSpec, JobsSpec, Scenario
from nodewise.workspace import Workspace

SCENARIOS = tuple(
    Scenario(name=f"on {nodes}", engine="local", nodes=nodes, node_type="Standard_DS3_v2") for nodes in (1, 2)
)
TYPES = ("m5.large", "m5.xlarge", "c5.large", "c5.xlarge")


def among(*nodes: int, types: tuple[str, ...] = TYPES) -> Candidates:
    return Candidates(node_types=types, nodes=nodes)


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompareSpec:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work.py").write_text("import os, time\ntime.sleep(1 / int(os.environ['NODEWISE_NODES']))\n")
    command = CommandSpec(run=(sys.executable, "work.py"))
    return CompareSpec(name="Nightly job", jobs=JobsSpec(command=command), scenarios=SCENARIOS)


def test_all_of_two_candidates_are_run_and_kept(spec: CompareSpec) -> None:
    advice = advise(spec, workspace="workspace")
    assert [(step.configuration.nodes, step.source, step.is_ok) for step in advice.steps] in (
        [(1, "run", True), (2, "run", True)],
        [(2, "run", True), (1, "run", True)],
    )
    runs = {run.run_id: run for run in Workspace(Path("workspace")).list_runs()}
    assert {step.run_id for step in advice.steps} == set(runs)
    for step in advice.steps:
        run = runs[step.run_id or ""]
        assert (run.experiment, run.cluster.nodes) == ("advise-nightly-job", step.configuration.nodes)
        assert step.seconds == run.cluster_s
        # Over before there was much to be seen of it.
        assert step.used_gib is None
        assert step.cost_usd == pytest.approx(float(run.cost_usd or 0), abs=2e-6)
    page = Path(advice.report_path).read_text()
    assert "Nightly job" in page
    assert advice.sentence in page.replace("&#39;", "'")
    assert "<script" not in page
    assert any(line.startswith("The last run of the choice: ") for line in advice.limits)
    assert advice.choice is not None
    assert (advice.is_settled, advice.reason) == (True, "every configuration was run")
    # What was run is not run again.
    again = advise(spec, workspace="workspace")
    assert again.steps == advice.steps
    assert len(Workspace(Path("workspace")).list_runs()) == 2


def test_what_a_run_used_of_the_memory_is_kept_with_it(spec: CompareSpec) -> None:
    Path("work.py").write_text("import time\nheld = bytearray(200 << 20)\ntime.sleep(13)\n")
    advice = advise(replace(spec, scenarios=SCENARIOS[1:]), workspace="workspace")
    (step,) = advice.steps
    assert step.configuration.nodes == 2
    # Of two nodes, of which one alone works.
    assert step.used_gib is not None
    assert 2 * 200 / 1024 < step.used_gib < 2 * 300 / 1024
    (line,) = (line for line in advice.limits if line.startswith("Memory used"))
    assert line == f"Memory used: at most {step.used_gib:.3g} of 28 GiB on 2 x Standard_DS3_v2"
    # A node that was held to less might have used more.
    workspace = Workspace(Path("workspace"))
    run = workspace.get_run(step.run_id or "")
    assert _node_gib(run, workspace) == step.used_gib / 2
    held = replace(run, cluster=replace(run.cluster, limits=replace(run.cluster.limits, memory_bytes=1 << 30)))
    assert _node_gib(held, workspace) is None


def test_a_run_that_fails_teaches_and_the_search_goes_on(spec: CompareSpec) -> None:
    Path("work.py").write_text("import os, sys\nsys.exit(int(os.environ['NODEWISE_NODES']) - 1)\n")
    advice = advise(spec, workspace="workspace")
    assert {(step.configuration.nodes, step.is_ok) for step in advice.steps} == {(1, True), (2, False)}
    assert advice.choice is not None
    assert advice.choice.configuration.nodes == 1
    (failed,) = (one for one in advice.ranked if one.configuration.nodes == 2)
    assert (failed.basis, failed.why) == ("predicted", "a run on it failed")


def test_a_person_can_make_the_runs(spec: CompareSpec) -> None:
    settings = {"candidates": among(2, 4, 8), "run": False, "workspace": "workspace"}
    first = advise(spec, **settings)
    assert (first.steps, first.candidates) == ((), 12)
    assert first.proposal is not None
    told = [f"{first.proposal.configuration.nodes} x {first.proposal.configuration.instance_type} = 20m"]
    for _ in range(10):
        advice = advise(spec, told=told, **settings)
        if advice.proposal is None:
            break
        next_one = advice.proposal.configuration
        told = [f"{next_one.nodes} x {next_one.instance_type} = {4800 / next_one.nodes / (next_one.vcpus or 1):.0f}s"]
    assert advice.is_settled
    assert 3 <= len(advice.steps) <= 8
    assert {step.source for step in advice.steps} == {"told"}
    assert not Workspace(Path("workspace")).list_runs()
    anew = advise(spec, anew=True, **settings)
    assert anew.steps == ()


def test_a_failed_run_can_be_told(spec: CompareSpec) -> None:
    advice = advise(
        spec, candidates=among(2, 4), run=False, told=["2 x m5.large failed after 3m"], workspace="workspace"
    )
    (step,) = advice.steps
    assert (step.is_ok, step.seconds, step.configuration.nodes) == (False, 180.0, 2)
    assert advice.choice is None


def test_the_memory_of_a_run_can_be_told(spec: CompareSpec) -> None:
    settings = {"candidates": among(2, 8), "run": False, "workspace": "workspace", "anew": True}
    plain, little = (
        advise(spec, told=["8 x m5.large = 3m", f"8 x c5.large = 3m{more}"], **settings)
        for more in ("", " with 0.5GiB per node")
    )
    assert [step.used_gib for step in little.steps] == [None, 4.0]
    assert not any(line.startswith("Memory used") for line in plain.limits)
    assert "Memory used: at most 4 of 32 GiB on 8 x c5.large" in little.limits
    # Kept with the run.
    assert advise(spec, **{**settings, "anew": False}).steps == little.steps


def test_another_job_has_a_search_of_its_own(spec: CompareSpec) -> None:
    settings = {"candidates": among(2, 4), "run": False, "workspace": "workspace"}
    assert len(advise(spec, told=["2 x m5.large = 100s"], **settings).steps) == 1
    other = replace(spec, jobs=JobsSpec(command=CommandSpec(run=("python", "other.py"))))
    assert advise(other, **settings).steps == ()
    assert len(advise(spec, **settings).steps) == 1


def test_a_job_of_the_same_name_with_other_data_is_counted_on(spec: CompareSpec) -> None:
    settings = {"candidates": among(2, 4), "run": False, "workspace": "workspace"}
    told = ["2 x m5.large = 200s", "4 x m5.large = 100s", "2 x c5.large = 190s"]
    assert not advise(spec, told=told[:2], **settings).notes
    other = replace(spec, jobs=JobsSpec(command=CommandSpec(run=("python", "other.py"))))
    assert not advise(other, **settings).notes
    advise(spec, told=told[2:], **settings)
    (note,) = advise(other, **settings).notes
    assert note.startswith("1 other job of this name")
    # Nor is one that was run elsewhere left out.
    lines = ["workload,framework,dataset,instance_type,nodes,runtime_s"]
    lines += [
        f"Nightly job,{engine},old,m5.large,{nodes},{400 / nodes}" for engine in ("local", "spark") for nodes in (2, 4)
    ]
    lines += [f"Nightly job,{engine},old,c5.large,2,180" for engine in ("local", "spark")]
    Path("library.csv").write_text("\n".join(lines))
    (note,) = advise(other, known_library="library.csv", **settings).notes
    assert note.startswith("2 other jobs of this name")


def test_what_was_found_of_other_candidates_is_not_lost(spec: CompareSpec) -> None:
    settings = {"run": False, "workspace": "workspace"}
    advise(spec, candidates=among(2), told=["2 x m5.large = 100s"], **settings)
    narrow = advise(spec, candidates=among(2, types=TYPES[2:]), told=["2 x c5.large = 90s"], **settings)
    assert [step.seconds for step in narrow.steps] == [90]
    assert [step.seconds for step in advise(spec, candidates=among(2), **settings).steps] == [100, 90]


def test_the_search_stops_before_it_costs_too_much(spec: CompareSpec) -> None:
    settings = {"candidates": among(1, 2), "workspace": "workspace"}
    # The first run has no forecast; the second may cost more than the millionth of a dollar that is left.
    advice = advise(spec, max_search_usd=1e-6, **settings)
    assert len(advice.steps) <= 1
    assert advice.is_settled is False


def test_what_was_left_out_is_told_and_a_search_goes_on_among_the_rest(spec: CompareSpec) -> None:
    settings = {"run": False, "workspace": "workspace"}
    both = advise(spec, candidates=among(2, 4), told=["4 x m5.large = 100s"], **settings)
    assert (both.candidates, both.left_out) == (8, {})
    # m5.large is $0.096 and c5.large $0.085 an hour, four of them $0.384 and $0.34; an xlarge is twice that.
    limited = replace(among(2, 4), max_usd_per_hour=0.35)
    advice = advise(spec, candidates=limited, **settings)
    assert (advice.candidates, advice.left_out, advice.steps) == (4, {"above $0.35 an hour": 4}, ())
    assert "4 candidates; left out: 4 above $0.35 an hour" in Path(advice.report_path).read_text()


def test_spot_prices_are_of_the_table_and_interruptions_assumed(spec: CompareSpec) -> None:
    spot = SpotSpec(interruptions_per_hour=0.1)
    types = Candidates(node_types=("n2-standard-2", "n2-standard-4"), nodes=(2, 4))
    settings = {"candidates": types, "told": ["2 x n2-standard-4 = 1h"], "run": False, "workspace": "workspace"}
    spot_advice, advice = advise(spec, spot=spot, report="spot.html", **settings), advise(spec, **settings)
    assert spot_advice.choice is not None
    assert advice.choice is not None
    chosen, on_demand = spot_advice.choice.configuration, advice.choice.configuration
    assert chosen.usd_per_node_hour_on_demand == on_demand.usd_per_node_hour
    assert (chosen.usd_per_node_hour or 1) < (on_demand.usd_per_node_hour or 0)
    assert spot_advice.choice.expected_s is not None
    assert "at spot prices" in Path("spot.html").read_text()


def test_a_stream_takes_the_images_of_an_earlier_run_or_asks_for_the_records(
    spec: CompareSpec, digits_folder: Path
) -> None:
    stream, workspace = StreamSpec(rate_per_s=10, p95_s=1), Workspace(Path("workspace"))
    settings = {"run": False, "workspace": "workspace"}
    with pytest.raises(InputError, match="how many records a run"):
        advise(spec, stream=stream, **settings)
    nodewise.prepare(digits_folder, "shards", size=32, sample=0.05, workspace="workspace")
    (run,) = workspace.list_runs()
    name = ConfigurationName(instance_type="Standard_DS3_v2", nodes=2)
    step = AdviceStep(
        configuration=name, source="run", seconds=2.0, is_ok=True, cost_usd=None, best=None, run_id=run.run_id
    )
    SearchState(spec, workspace).save([step])
    advice = advise(spec, stream=stream, report="stream.html", **settings)
    assert advice.stream is not None
    assert advice.stream.records_per_run == run.stages[0].records > 50
    assert advice.choice is not None
    assert advice.choice.stream is not None
    assert advice.choice.stream.records_per_s == pytest.approx(run.stages[0].records / 2)
    page = Path("stream.html").read_text()
    assert "least price per hour for 10/s, 95 % within 1.0 s" in page
    assert "Throughput against price" in page


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ("m5.large 3m", "does not tell of a run"),
        ("2 x m5.large = soon", "'soon' is no duration"),
        ("2 x m5.huge = 3m", "2 x m5.huge is not among the candidates"),
        ("2 x m5.large = 0s", "cannot be compared"),
        ("2 x m5.large = 3m with much per node", "'much' is no number of bytes"),
        ("2 x m5.large = 3m with 9GiB", "is no duration"),
    ],
)
def test_what_is_told_wrongly_is_refused_and_nothing_is_kept(spec: CompareSpec, told: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        advise(spec, candidates=among(2), told=["2 x m5.large = 3m", told], run=False, workspace="workspace")
    assert not Path("workspace").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": among(0)}, "0 is no number of nodes"),
        ({"deadline": "soon"}, "'soon' is no duration"),
        ({"deadline": "0s"}, "deadline is 0, and must be a number above 0"),
        ({"budget_usd": 1}, "a budget goes with the goal time"),
        ({"minimise": "time", "deadline": "5m"}, "a deadline goes with the goal cost"),
        ({"max_runs": 0}, "max_runs is 0"),
        ({"spot": SpotSpec(interruptions_per_hour=0)}, "interruptions_per_hour is 0"),
        ({"spot": SpotSpec(interruptions_per_hour=0.1, checkpoint_s=-1)}, "checkpoint_s is -1"),
        ({"spot": SpotSpec(interruptions_per_hour=0.1, restart_s=-1)}, "restart_s is -1"),
        ({"stream": StreamSpec(rate_per_s=0, p95_s=1)}, "rate_per_s is 0"),
        ({"stream": StreamSpec(rate_per_s=1, p95_s=1, records_per_run=0)}, "records_per_run is 0"),
        ({"stream": StreamSpec(rate_per_s=1, p95_s=1), "deadline": "5m"}, "a stream goes with no goal, deadline"),
    ],
)
def test_a_wrong_request_is_refused(spec: CompareSpec, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        advise(spec, run=False, workspace="workspace", **settings)  # type: ignore[arg-type]


def test_a_damaged_file_is_named(spec: CompareSpec) -> None:
    settings = {"candidates": among(2, 4), "run": False, "workspace": "workspace"}
    advise(spec, told=["2 x m5.large = 100s"], **settings)
    (path,) = Path("workspace/advice").iterdir()
    assert json.loads(path.read_text())["steps"][0]["seconds"] == 100
    path.write_text("{")
    with pytest.raises(CorruptFileError, match=r"\.json: no search can be read from it"):
        advise(spec, **settings)
    assert advise(spec, anew=True, **settings).steps == ()
