"""Run times on larger clusters, from the smallest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.advice.made import COUNTS, TYPES, needs_memory, scaling, workload, write_csv

from nodewise.advice.traces import Workload
from nodewise.core.errors import InputError
from nodewise.core.progress import SILENT
from nodewise.runs.scaleout import replay_scale_out
from nodewise.specs.advice import ScaleOutResult


def replay(tmp_path: Path, *workloads: Workload, train_smallest: int = 3, coverage: float = 0.9) -> ScaleOutResult:
    return replay_scale_out(write_csv(tmp_path / "t.csv", workloads), train_smallest, SILENT, coverage)


def test_the_smallest_counts_of_every_type_predict_all_larger_ones(tmp_path: Path) -> None:
    made = workload(scaling)
    rows = replay(tmp_path, made).rows
    assert [(row.instance_type, row.nodes) for row in rows] == [(name, count) for name in TYPES for count in COUNTS[3:]]
    measured = {one.configuration.name: one.runtime_s for one in made.measured}
    for row in rows:
        assert row.measured_s == next(
            seconds
            for name, seconds in measured.items()
            if (name.instance_type, name.nodes) == (row.instance_type, row.nodes)
        )
        assert row.low_s < row.predicted_s < row.high_s
        assert row.gpus is None
        assert row.error < 0.1


def test_where_memory_is_short_at_first_the_others_are_still_foretold(tmp_path: Path) -> None:
    assert replay(tmp_path, workload(needs_memory)).mean_error < 0.4


def test_runs_that_failed_are_neither_learned_from_nor_predicted(tmp_path: Path) -> None:
    fails_on_two = workload(lambda one: None if one.nodes == 2 else scaling(one))
    assert {row.nodes for row in replay(tmp_path, fails_on_two).rows} == {16}
    assert replay(tmp_path, workload(lambda _: None)).rows == ()


def test_with_as_many_counts_as_there_are_nothing_is_left_to_predict(tmp_path: Path) -> None:
    assert replay(tmp_path, workload(scaling), train_smallest=len(COUNTS)).rows == ()


def test_neither_cores_nor_memory_need_to_be_known(tmp_path: Path) -> None:
    made = workload(lambda one: 30 + 1200 / one.nodes)
    bare = tuple(
        replace(one, configuration=replace(one.configuration, vcpus=None, memory_gib=None)) for one in made.measured
    )
    assert replay(tmp_path, replace(made, measured=bare)).mean_error < 0.1


def test_a_higher_coverage_makes_intervals_wider(tmp_path: Path) -> None:
    half, most = (replay(tmp_path, workload(scaling), coverage=share).rows for share in (0.5, 0.9))
    for narrow, wide in zip(half, most, strict=True):
        assert wide.low_s < narrow.low_s < narrow.high_s < wide.high_s


def trainings(path: Path, runtime_s: Callable[[int, int], float]) -> Path:
    """Up to four nodes of up to four GPUs."""
    placements = [(nodes, gpus) for nodes in (1, 2, 4) for gpus in (1, 2, 3, 4, 8, 16) if nodes <= gpus <= 4 * nodes]
    lines = ["workload,framework,dataset,instance_type,nodes,runtime_s,extra"]
    lines += [f'bert,torch,b8,4xT4,{n},{runtime_s(n, k)},"{{""gpus"": {k}}}"' for n, k in placements]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_of_training_the_powers_of_two_predict_all_larger_numbers_of_gpus(tmp_path: Path) -> None:
    # A step takes 1 s, and between nodes 0.8 s (k - 1) / k more; 1,000 steps of one GPU are shared.
    def runtime_s(nodes: int, gpus: int) -> float:
        # Three GPUs would spoil it if they were learned from.
        return 1e6 if gpus == 3 else 1000 / gpus * (1 + (0.8 if nodes > 1 else 0) * (gpus - 1) / gpus)

    rows = replay_scale_out(trainings(tmp_path / "t.csv", runtime_s), 3, SILENT).rows
    assert [(row.nodes, row.gpus) for row in rows] == [(2, 8), (4, 8), (4, 16)]
    for row in rows:
        assert row.predicted_s == pytest.approx(row.measured_s, rel=0.01)
        assert row.low_s < row.predicted_s < row.high_s


def test_a_file_that_is_none_is_an_error_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        replay_scale_out(tmp_path / "none.csv", 3, SILENT)
    path = tmp_path / "bad.csv"
    path.write_text("workload,framework,dataset,instance_type,nodes,runtime_s\nsort,spark,big,m5.large,0,50\n")
    with pytest.raises(InputError, match="line 2: nodes is '0'"):
        replay_scale_out(path, 3, SILENT)


BETTER_LAW = {"bbo_arena.csv": 0.212, "c3o.csv": 0.129}
"""Mean errors of the better of Ernest and ``a + b / n`` on these traces (``benchmarks/forecast.py``)."""


@pytest.mark.parametrize("file", BETTER_LAW)
def test_on_public_traces_it_is_a_fifth_better_than_the_better_law(test_data: Path, file: str) -> None:
    result = replay_scale_out(test_data / "traces" / file, 3, SILENT)
    assert result.mean_error < 0.8 * BETTER_LAW[file]
    assert result.covered >= 0.85


def test_of_training_on_public_traces_8_and_16_gpus_are_foretold_to_a_tenth(test_data: Path) -> None:
    rows = replay_scale_out(test_data / "traces" / "gpu_adaptdl.csv", 3, SILENT).rows
    errors = [row.error for row in rows if row.gpus in (8, 16)]
    assert len(errors) == 270
    assert np.mean(errors) < 0.1
