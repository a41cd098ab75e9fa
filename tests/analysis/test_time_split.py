import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.made_runs import a_sample, a_stage, a_task

from nodewise.analysis.time_split import NodeTime, TimeSplit, held_limits, split_time
from nodewise.specs.place import EmulationTier, NodeLimits
from nodewise.specs.run import StageRecord, TaskRecord
from nodewise.specs.usage import UsageSample


def split(
    stages: Sequence[StageRecord],
    tasks: Sequence[TaskRecord],
    usage: Sequence[UsageSample] = (),
    *,
    nodes: int = 1,
    slots: int = 1,
    cpus: float | None = None,
    network: int | None = None,
    cluster_s: float = 10.0,
    start_up_s: float = 0.0,
) -> TimeSplit:
    limits = NodeLimits(cpus=cpus, network_bits_per_s=network)
    return split_time(
        stages, tasks, usage, nodes=nodes, slots_per_node=slots, limits=limits, cluster_s=cluster_s,
        start_up_s=start_up_s,
    )  # fmt: skip


def seconds(time: NodeTime) -> tuple[float, float, float, float, float]:
    values = (time.compute_s, time.read_write_s, time.communicate_s, time.wait_s, time.idle_s)
    return tuple(round(value, 9) for value in values)  # type: ignore[return-value]


def test_a_node_s_time_is_split_by_what_its_tasks_tell() -> None:
    # 20 s of cluster: 4 to start, 10 of a stage, so 6 idle. The task: 8 s, of which 5 computed, 1 + 0.5 moved data,
    # 1 exchanged; 0.5 unexplained and 2 without a task are waited.
    task = a_task("prepare", "node-0", 0, 8, cpu_s=5, read_s=1, write_s=0.5, communicate_s=1)
    result = split([a_stage("prepare", 10)], [task], cluster_s=20, start_up_s=4)
    assert seconds(result.nodes["node-0"]) == (5, 1.5, 1, 2.5, 6)
    assert seconds(result.stages["prepare"]) == (5, 1.5, 1, 2.5, 0)
    assert result.start_up_s == 4
    assert result.ideal_s == 5


def test_computing_on_a_held_node_takes_as_long_as_it_took() -> None:
    # 2.5 s of CPU time with 0.25 CPU are 10 s.
    result = split([a_stage("prepare", 10)], [a_task("prepare", "node-0", 0, 10, cpu_s=2.5)], cpus=0.25)
    assert seconds(result.nodes["node-0"]) == (10, 0, 0, 0, 0)


def test_computing_never_takes_more_than_the_rest_of_the_task() -> None:
    task = a_task("prepare", "node-0", 0, 10, cpu_s=9, read_s=4)
    assert seconds(split([a_stage("prepare", 10)], [task]).nodes["node-0"]) == (6, 4, 0, 0, 0)


def test_slots_share_their_node() -> None:
    # Two slots on 2 CPUs: one task computed for all 10 s, one for 5 s of its 5: 7.5 s of the node.
    tasks = [a_task("prepare", "node-0", 0, 10, cpu_s=10), a_task("prepare", "node-0", 0, 5, cpu_s=5, task=1)]
    assert seconds(split([a_stage("prepare", 10)], tasks, slots=2).nodes["node-0"]) == (7.5, 0, 0, 2.5, 0)
    # The same on 1 CPU for both: half a CPU each, so 5 s of CPU time are 10 s.
    tasks = [a_task("prepare", "node-0", 0, 10, cpu_s=5), a_task("prepare", "node-0", 0, 10, cpu_s=5, task=1)]
    assert seconds(split([a_stage("prepare", 10)], tasks, slots=2, cpus=1).nodes["node-0"]) == (10, 0, 0, 0, 0)


def test_a_gang_s_member_has_its_node_to_itself() -> None:
    # 16 s of CPU time on two cores are 8 s.
    task = a_task("train", "node-0", 0, 10, cpu_s=16, communicate_s=1)
    assert seconds(split([a_stage("train", 10)], [task], slots=2).nodes["node-0"]) == (8, 0, 1, 1, 0)


def test_a_node_without_tasks_waits_and_halves_the_ideal() -> None:
    result = split([a_stage("prepare", 10)], [a_task("prepare", "node-0", 0, 10, cpu_s=10)], nodes=2)
    assert seconds(result.nodes["node-0"]) == (10, 0, 0, 0, 0)
    assert seconds(result.nodes["node-1"]) == (0, 0, 0, 10, 0)
    assert seconds(result.total) == (10, 0, 0, 10, 0)
    assert result.ideal_s == 5


def test_a_full_link_explains_what_the_task_does_not() -> None:
    # 100 Mbit/s are 12.5 MB/s; at 12 MB in a second it is full, at 10 MB it is not. Half of the stage it was full.
    usage = [a_sample("node-0", at, received_bytes=12_000_000 if at <= 5 else 10_000_000) for at in range(1, 11)]
    task = a_task("read", "node-0", 0, 10, cpu_s=2)
    result = split([a_stage("read", 10)], [task], usage, network=100_000_000)
    assert seconds(result.nodes["node-0"]) == (2, 0, 5, 3, 0)
    # No more than the task's time that is left.
    busy = a_task("read", "node-0", 0, 10, cpu_s=7)
    assert seconds(split([a_stage("read", 10)], [busy], usage, network=100_000_000).nodes["node-0"]) == (7, 0, 3, 0, 0)
    # Without a limit no link is ever full.
    assert seconds(split([a_stage("read", 10)], [task], usage).nodes["node-0"]) == (2, 0, 0, 8, 0)


def test_a_stage_without_tasks_is_split_by_the_samples() -> None:
    # 0.2 cores of 0.4 for ten seconds, but the stage lies in the last five of them.
    usage = [a_sample("node-0", at, cpu_cores=0.2) for at in range(1, 11)]
    result = split([a_stage("command", 5, at=5)], [], usage, cpus=0.4)
    assert seconds(result.nodes["node-0"]) == (2.5, 0, 0, 2.5, 5)


def test_driver_and_machine_are_no_nodes() -> None:
    usage = [a_sample(name, 1, cpu_cores=1) for name in ("driver", "machine", "node-0", "node-1")]
    assert list(split([a_stage("command", 1)], [], usage, nodes=2).nodes) == ["node-0", "node-1"]


def test_nodes_that_replaced_others_count_too() -> None:
    tasks = [a_task("prepare", node, 0, 10, cpu_s=10) for node in ("host-a", "host-b", "host-c")]
    assert list(split([a_stage("prepare", 10)], tasks, nodes=2).nodes) == ["host-a", "host-b", "host-c"]


def test_a_stage_that_does_not_tell_when_it_began_began_with_its_first_task() -> None:
    stage = StageRecord(name="read", wall_s=10, records=1)
    usage = [a_sample("node-0", at, sent_bytes=12_500_000) for at in range(1, 6)]
    result = split([stage], [a_task("read", "node-0", 0, 10)], usage, network=100_000_000)
    assert seconds(result.nodes["node-0"]) == (0, 0, 5, 5, 0)


def test_no_time_at_all_is_idle() -> None:
    shares = split([], [], cluster_s=0).total.shares()
    assert shares == {"compute": 0, "read_write": 0, "communicate": 0, "wait": 0, "idle": 1}


def test_nodes_are_held_to_what_their_tier_can_hold_them_to() -> None:
    limits = NodeLimits(cpus=0.4, memory_bytes=2**30, network_bits_per_s=10**8, network_latency_s=0.01)
    assert held_limits(limits, EmulationTier.NAMESPACES) == limits
    assert held_limits(limits, EmulationTier.CGROUPS) == NodeLimits(cpus=0.4, memory_bytes=2**30)
    assert held_limits(limits, EmulationTier.PROCESSES) == held_limits(limits, None) == NodeLimits()


a_length = st.floats(0, 1e6, allow_nan=False)


@given(st.tuples(a_length, a_length, a_length, a_length, a_length))
def test_shares_add_up_to_one(lengths: tuple[float, float, float, float, float]) -> None:
    names = ("compute_s", "read_write_s", "communicate_s", "wait_s", "idle_s")
    shares = NodeTime(**dict(zip(names, lengths, strict=True))).shares()
    assert math.fsum(shares.values()) == pytest.approx(1, abs=1e-12)
    assert all(0 <= share <= 1 for share in shares.values())


@given(
    st.lists(st.tuples(st.integers(0, 3), *[st.floats(0, 100)] * 6), max_size=12),
    st.floats(0.1, 50),
    st.integers(1, 4),
    st.sampled_from([None, 0.25, 2.0]),
)
def test_every_node_has_its_whole_time_whatever_the_tasks_say(
    drawn: list[tuple[int, float, float, float, float, float, float]], wall_s: float, slots: int, cpus: float | None
) -> None:
    tasks = [
        a_task("s", f"node-{node}", start, start + length, cpu_s=cpu_s, read_s=read_s, write_s=write_s, communicate_s=c)
        for node, start, length, cpu_s, read_s, write_s, c in drawn
    ]
    result = split([a_stage("s", wall_s)], tasks, nodes=4, slots=slots, cpus=cpus, cluster_s=wall_s + 7, start_up_s=3)
    for time in result.nodes.values():
        assert time.total_s == pytest.approx(wall_s + 4)
        assert min(seconds(time)) >= 0
