"""Runs of one job are found in the workspace, and told apart from others."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from nodewise.core.errors import InputError, UnknownNameError
from nodewise.forecast_api import forecast
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.forecast import ScalingForecast
from nodewise.specs.run import RunRecord, RunStatus, StageRecord, TaskRecord
from nodewise.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def add_run(
    workspace: Workspace,
    nodes: int,
    seconds: float,
    *,
    command: str = "compare",
    experiment: str | None = "flowers-20261121-101500",
    engine: Any = "spark",
    node_type: str | None = "m5.large",
    status: RunStatus = RunStatus.FINISHED,
    jobs: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    cost_usd: Decimal | None = None,
    read_bytes: int = 0,
) -> RunRecord:
    cluster = ClusterSpec(engine=engine, nodes=nodes, node_type=node_type)
    begun = workspace.create_run(command, cluster, scenario=f"{engine} {nodes}", experiment=experiment)
    stage = StageRecord(name="prepare", wall_s=seconds, records=100, started_at=1000.0)
    run = replace(
        begun,
        status=status,
        cluster_s=seconds + 5.0,
        start_up_s=5.0,
        cost_usd=cost_usd,
        stages=(stage,),
        result=result,
        provenance={"jobs": jobs or {}},
    )
    workspace.finish_run(run)
    task = TaskRecord(
        stage="prepare",
        task=0,
        node="node-0",
        started_at=1001.0,
        ended_at=1000.0 + seconds,
        cpu_s=1.0,
        records=100,
        read_bytes=read_bytes,
        written_bytes=0,
        peak_memory_bytes=0,
        retries=0,
    )
    workspace.write_tasks(run.run_id, [task])
    return run


def add_scaling(workspace: Workspace, **changes: Any) -> list[RunRecord]:
    """10 + 100 / n, on 1, 2, 4 and 8 nodes."""
    return [add_run(workspace, nodes, 10 + 100 / nodes, **changes) for nodes in (1, 2, 4, 8)]


def ask(workspace: Workspace, experiment: str | None = None, **options: Any) -> ScalingForecast:
    return forecast(experiment, workspace=workspace.root, **options)


def test_the_only_job_is_found_and_forecast(workspace: Workspace) -> None:
    runs = add_scaling(workspace)
    found = ask(workspace, nodes=[16])
    assert found.job == "flowers"
    assert set(found.run_ids) == {run.run_id for run in runs}
    assert [point.nodes for point in found.points] == [1, 2, 4, 8, 16]
    assert found.points[0].seconds == pytest.approx(115.0)
    assert found.emulated


def test_what_failed_and_what_was_not_timed_is_left_out(workspace: Workspace) -> None:
    add_scaling(workspace)
    add_run(workspace, 16, 1.0, status=RunStatus.FAILED)
    add_run(workspace, 16, 0.0)
    assert len(ask(workspace).run_ids) == 4


def test_several_groups_are_listed_with_how_to_choose(workspace: Workspace) -> None:
    add_scaling(workspace)
    add_scaling(workspace, engine="ray")
    with pytest.raises(InputError, match=r"2 jobs: flowers \(spark, m5.large, .* on 1/2/4/8 nodes") as raised:
        ask(workspace)
    assert "--engine" in (raised.value.hint or "")
    assert ask(workspace, engine="ray").engine == "ray"


def test_node_types_are_told_apart(workspace: Workspace) -> None:
    add_scaling(workspace)
    add_scaling(workspace, node_type="m5.xlarge")
    assert ask(workspace, node_type="m5.xlarge").node_type == "m5.xlarge"


def test_jobs_with_other_settings_are_told_apart_and_chosen_by_a_run(workspace: Workspace) -> None:
    small = add_scaling(workspace, command="prepare", experiment=None, jobs={"prepare": {"size": 32}})
    add_scaling(workspace, command="prepare", experiment=None, jobs={"prepare": {"size": 192}})
    with pytest.raises(InputError, match="2 jobs: prepare"):
        ask(workspace, "prepare")
    assert set(ask(workspace, small[0].run_id).run_ids) == {run.run_id for run in small}


def test_networks_are_told_apart_and_trained_models_are_not(workspace: Workspace) -> None:
    for name in ("cnn", "resnet"):
        add_scaling(workspace, command="train", experiment=None, jobs={"train": {"model": name}})
    for nodes in (1, 2, 4):
        add_run(workspace, nodes, 9.0, command="score", experiment=None, jobs={"score": {"model": f"/{nodes}.bin"}})
    with pytest.raises(InputError, match="2 jobs: train"):
        ask(workspace, "train")
    assert len(ask(workspace, "score").run_ids) == 3


def test_a_worker_alone_and_several_that_average_are_one_job(workspace: Workspace) -> None:
    for nodes, strategy in ((1, "single"), (2, "all-reduce"), (4, "all-reduce")):
        add_run(workspace, nodes, 9.0, command="train", experiment=None, jobs={"train": {"strategy": strategy}})
    assert len(ask(workspace).run_ids) == 3


def test_programs_are_told_apart_by_their_words(workspace: Workspace) -> None:
    for words in (["sort.py"], ["grep.py", "x"]):
        add_scaling(workspace, command="run", experiment=None, result={"command": {"command": words}})
    assert ask(workspace, "grep.py x").job == "grep.py x"


def test_runs_on_one_number_of_nodes_do_not_stand_in_the_way(workspace: Workspace) -> None:
    add_scaling(workspace)
    add_run(workspace, 1, 3.0, command="prepare", experiment=None)
    assert ask(workspace).job == "flowers"


def test_an_experiments_id_chooses_its_runs_alone(workspace: Workspace) -> None:
    add_scaling(workspace)
    add_scaling(workspace, experiment="flowers-20261122-090000")
    assert len(ask(workspace, "flowers").run_ids) == 8
    assert len(ask(workspace, "flowers-20261122-090000").run_ids) == 4


def test_an_unknown_name_is_refused_with_the_nearest(workspace: Workspace) -> None:
    add_scaling(workspace)
    with pytest.raises(UnknownNameError, match="'flower'") as raised:
        ask(workspace, "flower")
    assert "flowers" in (raised.value.hint or "")


def test_an_empty_workspace_is_told_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="no finished run") as raised:
        ask(workspace)
    assert "run the job" in (raised.value.hint or "")


def test_records_are_the_amount_of_data(workspace: Workspace) -> None:
    add_scaling(workspace, jobs={"prepare": {"sample": 0.5}}, result={"prepare": {"records": 1000}})
    for nodes in (1, 2, 4, 8):
        result = {"prepare": {"records": 2000}}
        add_run(workspace, nodes, 10 + 200 / nodes, jobs={"prepare": {"sample": 1.0}}, result=result)
    found = ask(workspace, nodes=[4], data="2x")
    assert found.points[0].data == 4.0
    assert not found.data_is_assumed


def test_bytes_read_are_the_amount_of_data_of_a_program(workspace: Workspace) -> None:
    add_scaling(workspace, read_bytes=10**6)
    add_scaling(workspace, read_bytes=3 * 10**6)
    assert ask(workspace).points[0].data == 3.0


def test_the_price_is_what_the_runs_were_charged_else_the_list_price(workspace: Workspace) -> None:
    # 115 s of one node for $0.115: $3.60 an hour.
    add_run(workspace, 1, 110.0, cost_usd=Decimal("0.115"))
    found = ask(workspace)
    assert found.price_usd_per_hour == pytest.approx(3.6)
    add_run(workspace, 1, 110.0, experiment="listed-20261121-101500")
    assert ask(workspace, "listed").price_usd_per_hour == pytest.approx(0.096)
    add_run(workspace, 1, 110.0, experiment="none-20261121-101500", node_type=None)
    assert ask(workspace, "none").price_usd_per_hour is None


def test_the_physics_is_that_of_a_run_on_the_most_nodes(workspace: Workspace) -> None:
    runs = add_scaling(workspace)
    found = ask(workspace)
    assert found.physics_run_id == runs[-1].run_id
    # Of 22.5 s on 8 nodes the task ran for all but the first.
    lines = {line.what: line.seconds for line in found.physics}
    assert lines["start-up"] == 5.0
    assert lines["prepare: driver"] == pytest.approx(1.0)


@pytest.mark.parametrize("data", ["0x", "x", "-1", "twice", ""])
def test_what_is_no_multiple_of_the_data_is_refused(workspace: Workspace, data: str) -> None:
    with pytest.raises(InputError, match="is no multiple"):
        ask(workspace, data=data)


def test_no_number_of_nodes_is_below_one(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="0 is no number of nodes"):
        ask(workspace, nodes=[0])


def test_the_page_is_written_where_asked_and_nowhere_else(workspace: Workspace, tmp_path: Path) -> None:
    add_scaling(workspace)
    path = tmp_path / "new" / "forecast.html"
    found = ask(workspace, nodes=[16], report=path)
    assert found.report_path == str(path)
    assert "Time against nodes" in path.read_text()
    assert ask(workspace).report_path is None
