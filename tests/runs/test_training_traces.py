"""Which rows of a file of run times are of training."""

from __future__ import annotations

from pathlib import Path

from nodewise.runs.training_traces import MeasuredTraining, read_training_traces

HEAD = "workload,framework,dataset,instance_type,nodes,runtime_s,status,extra"


def write(path: Path, *rows: str) -> Path:
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return path


def test_gpus_are_told_of_all_nodes_together(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'bert,torch,b8,4xT4,2,50.5,ok,"{""gpus"": 8}"')
    (found,) = read_training_traces(path)
    assert (found.workload, found.framework, found.dataset, found.instance_type) == ("bert", "torch", "b8", "4xT4")
    assert found.measured == (MeasuredTraining(nodes=2, gpus=8, runtime_s=50.5),)


def test_steps_per_second_without_gpus_are_of_one_gpu_for_each_node(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 'lm,torch,b8,1xv100,4,50,,"{""steps_per_s"": 3.5}"')
    assert read_training_traces(path)[0].measured == (MeasuredTraining(nodes=4, gpus=4, runtime_s=50.0),)


def test_each_type_of_node_is_a_job_of_its_own_and_failed_runs_are_passed_over(tmp_path: Path) -> None:
    row = 'bert,torch,b8,{},2,50,{},"{{""gpus"": 2}}"'
    path = write(tmp_path / "t.csv", row.format("a", "ok"), row.format("b", "ok"), row.format("b", "failed"))
    assert [(one.instance_type, len(one.measured)) for one in read_training_traces(path)] == [("a", 1), ("b", 1)]


def test_other_rows_are_none(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv",
        "sort,spark,big,m5.large,2,50,ok,",
        "sort,spark,big,m5.large,2,50,ok,words",
        "sort,spark,big,m5.large,2,50,ok,[8]",
        'sort,spark,big,m5.large,2,50,ok,"{""input_bytes"": 5}"',
        'sort,spark,big,m5.large,2,50,ok,"{""gpus"": ""many""}"',
        'sort,spark,big,m5.large,2,50,ok,"{""gpus"": 1}"',
    )
    assert read_training_traces(path) == []
    without = tmp_path / "without.csv"
    without.write_text("workload,framework,dataset,instance_type,nodes,runtime_s\nsort,spark,big,m5.large,2,50\n")
    assert read_training_traces(without) == []
