from dataclasses import replace
from datetime import UTC, datetime

import pytest
from tests.analysis.made_runs import BEGAN, a_sample, a_stage, a_task

from nodewise.analysis.usage_lines import MOST_STEPS, usage_lines
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.place import EmulationTier, NodeLimits
from nodewise.specs.results import StageSpan
from nodewise.specs.run import RunRecord, RunStatus

LIMITS = NodeLimits(cpus=0.4, memory_bytes=2**30, network_bits_per_s=100_000_000)
RUN = RunRecord(
    run_id="run-1",
    command="compare",
    status=RunStatus.FINISHED,
    created_at=datetime.fromtimestamp(BEGAN - 2, UTC),
    cluster=ClusterSpec(engine="spark", nodes=2, limits=LIMITS),
    emulation_tier=EmulationTier.NAMESPACES,
    cluster_s=12.0,
    start_up_s=1.5,
    stages=(a_stage("prepare", 4), a_stage("score", 3, at=5)),
)


def test_lines_begin_with_the_run_and_hold_what_was_sampled() -> None:
    samples = [
        a_sample("node-0", at, cpu_cores=at / 10, received_bytes=1000, sent_bytes=0, memory_bytes=at)
        for at in range(-1, 5)
    ]
    usage = usage_lines(RUN, [], samples)
    assert usage is not None
    (node,) = usage.nodes
    # The run began two seconds before the first stage; the first sample ends one second after that.
    assert node.cpu_cores == (-0.1, 0.0, 0.1, 0.2, 0.3, 0.4)
    assert node.memory_bytes == (0, 0, 1, 2, 3, 4)
    assert (node.received_bits_per_s, node.sent_bits_per_s) == ((8000,) * 6, (0,) * 6)
    assert node.gpu_fraction == ()
    assert (usage.run_id, usage.step_s, usage.start_up_s, usage.ended_s) == ("run-1", 1.0, 1.5, 12.0)
    assert usage.stages == (
        StageSpan(name="prepare", started_s=2.0, ended_s=6.0),
        StageSpan(name="score", started_s=7.0, ended_s=10.0),
    )
    assert (usage.cpus, usage.memory_limit_bytes, usage.network_limit_bits_per_s) == (0.4, 2**30, 100_000_000)


def test_a_long_run_has_no_more_steps_than_can_be_drawn_and_the_same_sum() -> None:
    samples = [a_sample("node-0", at, cpu_cores=at % 7, memory_bytes=at) for at in range(-1, 998)]
    usage = usage_lines(RUN, [], samples)
    assert usage is not None
    line = usage.nodes[0].cpu_cores
    assert len(line) == MOST_STEPS
    assert usage.step_s == pytest.approx(999 / 200, abs=1e-3)
    total = sum((value or 0) * 999 / 200 for value in line)
    assert total == pytest.approx(sum(sample.cpu_cores for sample in samples), rel=1e-3)
    assert usage.nodes[0].memory_bytes[-1] == 997


def test_what_was_not_measured_is_missing_and_not_zero() -> None:
    usage = usage_lines(RUN, [], [a_sample("node-0", 0), a_sample("node-0", 3, cpu_cores=0.5)])
    assert usage is not None
    assert usage.nodes[0].cpu_cores == (None, 0.0, None, None, 0.5)
    assert usage.nodes[0].memory_bytes == (None, 0, None, None, 0)


def test_nodes_come_by_number_then_the_driver_then_the_machine() -> None:
    names = ["machine", "node-10", "driver", "node-9", "node-0"]
    usage = usage_lines(RUN, [], [a_sample(name, 1, gpu_fraction=0.5) for name in names])
    assert usage is not None
    assert [node.node for node in usage.nodes] == ["node-0", "node-9", "node-10", "driver", "machine"]
    assert usage.nodes[0].gpu_fraction[-1] == 0.5


def test_without_samples_there_are_no_lines() -> None:
    assert usage_lines(RUN, [], []) is None
    assert usage_lines(RUN, [], [a_sample("node-0", -5)]) is None


def test_a_stage_that_does_not_tell_when_it_began_is_placed_by_its_tasks_or_left_out() -> None:
    stages = tuple(replace(stage, started_at=0.0) for stage in RUN.stages)
    usage = usage_lines(replace(RUN, stages=stages), [a_task("prepare", "node-0", 0.5, 2)], [a_sample("node-0", 1)])
    assert usage is not None
    assert usage.stages == (StageSpan(name="prepare", started_s=2.5, ended_s=6.5),)
