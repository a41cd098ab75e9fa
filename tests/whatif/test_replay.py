from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from nodewise.specs.whatif import ClusterShape, WhatIfResult
from nodewise.whatif import replay
from nodewise.whatif.program import Program
from nodewise.whatif.replay import node_counts, replay_program

from .made_programs import made_program, made_stage, made_tasks


def replayed(program: Program, *shapes: ClusterShape, partitions: int | None = None) -> WhatIfResult:
    """With nodes at a dollar an hour."""
    return replay_program(
        program,
        shapes or [ClusterShape()],
        lambda node_type, node_s: None if node_type == "unknown" else Decimal(node_s) / 3600,
        source="made",
        partitions=partitions,
    )


def a_program(spread: float = 0.5) -> Program:
    cpu_s = np.random.default_rng(1).lognormal(1.0, spread, 64)
    return made_program(
        made_stage(cpu_s.tolist(), gap_s=2.0), made_stage([1.0] * 8, (0,), gap_s=1.0), slots=8, nodes=4, measured_s=28.0
    )


def test_equal_tasks_take_as_many_waves_as_they_need() -> None:
    program = made_program(made_stage([10.0] * 8, gap_s=4.0), slots=2, nodes=2, measured_s=44.0)
    result = replayed(program, ClusterShape(min_nodes=1, max_nodes=10))

    assert [point.predicted_s for point in result.curve] == [84, 44, 34, 24, 24, 24, 24, 14, 14, 14]
    assert [point.nodes for point in result.curve] == list(range(1, 11))
    assert result.curve[1].cost_usd == pytest.approx(2 * 44 / 3600)
    assert (result.measured_s, result.replayed_s, result.critical_path_s) == (44, 44, 14)
    assert [point.utilisation for point in result.curve[:2]] == pytest.approx([80 / 84, 80 / 88])
    assert result.useful_core_hours == pytest.approx(80 / 3600)
    assert result.wasted_core_hours.start_up == pytest.approx(8 / 3600)


def test_without_a_cluster_it_is_the_recorded_nodes_up_to_four_times_as_many() -> None:
    result = replayed(a_program())

    assert [point.nodes for point in result.curve] == list(range(1, 17))
    assert result.clusters == (ClusterShape(min_nodes=1, max_nodes=16, cores_per_node=2),)
    assert {point.slots // point.nodes for point in result.curve} == {2}


def test_the_interval_holds_the_prediction_and_widens_away_from_what_was_recorded() -> None:
    result = replayed(a_program(), ClusterShape(min_nodes=1, max_nodes=64))

    assert all(point.low_s < point.predicted_s < point.high_s for point in result.curve)
    widths = {point.nodes: point.high_s / point.low_s for point in result.curve}
    assert widths[64] > widths[16] > widths[4]
    assert {point.nodes: point.basis for point in result.curve}[64] == "extrapolated"
    assert {point.nodes: point.basis for point in result.curve}[16] == "predicted"


def test_tasks_that_differ_more_are_less_certain() -> None:
    shape = ClusterShape(min_nodes=4, max_nodes=4)
    (equal,), (unequal,) = (replayed(a_program(spread), shape).curve for spread in (0.0, 1.0))

    assert equal.high_s / equal.low_s < unequal.high_s / unequal.low_s


def test_the_same_replay_says_the_same() -> None:
    assert replayed(a_program()) == replayed(a_program())


def test_more_nodes_are_not_slower_and_not_below_the_critical_path() -> None:
    result = replayed(a_program(), ClusterShape(min_nodes=1, max_nodes=500))

    seconds = [point.predicted_s for point in result.curve]
    assert seconds == sorted(seconds, reverse=True)
    assert seconds[-1] == pytest.approx(result.critical_path_s)
    for point in result.curve:
        assert point.useful_core_hours + point.wasted.total == pytest.approx(point.core_hours)


def test_every_cluster_has_its_curve() -> None:
    one, other = (
        ClusterShape(min_nodes=2, max_nodes=3),
        ClusterShape(min_nodes=1, max_nodes=1, cores_per_node=16, node_type="unknown"),
    )
    result = replayed(a_program(), one, other)

    assert [(point.cluster, point.nodes, point.slots, point.node_type) for point in result.curve] == [
        (0, 2, 4, None),
        (0, 3, 6, None),
        (1, 1, 16, "unknown"),
    ]
    assert [point.cost_usd is None for point in result.curve] == [False, False, True]


def test_more_partitions_help_where_tasks_are_too_few() -> None:
    program = made_program(made_stage(made_tasks([10.0, 10.0], other_s=[1.0, 1.0])), slots=8, measured_s=11.0)
    shape = ClusterShape(min_nodes=1, max_nodes=1)

    assert replayed(program, shape).curve[0].predicted_s == 11
    assert replayed(program, shape, partitions=8).curve[0].predicted_s == 3.5


def test_what_would_take_too_long_is_not_resampled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MAX_RESAMPLED_TASKS", 100)
    result = replayed(a_program())

    assert any("not resampled" in note for note in result.notes)
    recorded = next(point for point in result.curve if point.nodes == 4)
    assert recorded.low_s <= recorded.predicted_s <= recorded.high_s


def test_a_training_on_one_node_does_not_tell_of_gradients() -> None:
    program = made_program(made_stage([8.0], is_gang=True), measured_s=8.0)
    result = replayed(program, ClusterShape(min_nodes=4, max_nodes=4))

    assert result.curve[0].predicted_s == 2
    assert any("exchanging gradients" in note for note in result.notes)


def test_a_long_range_is_gone_through_in_steps_of_the_same_ratio() -> None:
    assert node_counts(3, 18) == list(range(3, 19))
    counts = node_counts(1, 10_000)
    assert (counts[0], counts[-1]) == (1, 10_000)
    assert len(counts) <= 16
    assert counts == sorted(set(counts))
