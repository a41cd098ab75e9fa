"""One hand-made run for each kind of limit, and two where kinds compete."""

from collections.abc import Sequence

import pytest
from tests.analysis.made_runs import a_sample, a_stage, a_task

from nodewise.analysis.limiter import Limit, LimitKind, what_limits
from nodewise.analysis.time_split import split_time
from nodewise.specs.place import NodeLimits
from nodewise.specs.run import StageRecord, TaskRecord
from nodewise.specs.usage import UsageSample

NO_LIMITS = NodeLimits()


def limit_of(
    stages: Sequence[StageRecord],
    tasks: Sequence[TaskRecord],
    usage: Sequence[UsageSample] = (),
    *,
    nodes: int,
    slots: int = 1,
    limits: NodeLimits = NO_LIMITS,
    cluster_s: float = 10.0,
    start_up_s: float = 0.0,
) -> Limit:
    split = split_time(
        stages, tasks, usage, nodes=nodes, slots_per_node=slots, limits=limits, cluster_s=cluster_s,
        start_up_s=start_up_s,
    )  # fmt: skip
    return what_limits(split, stages, tasks, usage, slots_per_node=slots, limits=limits, cluster_s=cluster_s)


def even(stage: str, nodes: int, length: float, *, at: float = 0.0, **told: float) -> list[TaskRecord]:
    """One task on each node, all of the same length."""
    return [a_task(stage, f"node-{node}", at, at + length, task=node, **told) for node in range(nodes)]


def test_cpu() -> None:
    limit = limit_of(
        [a_stage("prepare", 9)],
        even("prepare", 2, 9, cpu_s=2.0),
        nodes=2,
        limits=NodeLimits(cpus=0.25),
        start_up_s=1,
    )
    assert (limit.kind, limit.stage) == (LimitKind.CPU, "prepare")
    assert limit.share == pytest.approx(0.8)
    assert limit.sentence == (
        "CPU limits this run (80 % of the nodes' time): in prepare the nodes computed for 89 % of the time, each with "
        "0.25 CPU."
    )
    assert limit.evidence["start-up"] == pytest.approx(0.1)


def test_storage() -> None:
    limit = limit_of([a_stage("prepare", 10)], even("prepare", 2, 10, cpu_s=3, read_s=5, write_s=1), nodes=2)
    assert (limit.kind, limit.stage) == (LimitKind.STORAGE, "prepare")
    assert limit.sentence == (
        "Storage limits this run (60 % of the nodes' time): in prepare the nodes read and wrote for 60 % of the time."
    )


def test_network_by_what_tasks_tell() -> None:
    limit = limit_of([a_stage("train", 10)], even("train", 2, 10, cpu_s=4, communicate_s=6), nodes=2)
    assert (limit.kind, limit.stage) == (LimitKind.NETWORK, "train")
    assert limit.sentence.endswith("in train the nodes exchanged data for 60 % of the time.")


def test_network_by_links_at_their_limit() -> None:
    # 8 of 10 seconds at 12 of 12.5 MB/s. Reading took 9 s by the tasks' own word, but the link is why.
    usage = [
        a_sample(f"node-{node}", at, received_bytes=12_000_000 if at <= 8 else 0)
        for node in range(2)
        for at in range(1, 11)
    ]
    limit = limit_of(
        [a_stage("prepare", 10)],
        even("prepare", 2, 10, cpu_s=1, read_s=9),
        usage,
        nodes=2,
        limits=NodeLimits(network_bits_per_s=100_000_000),
    )
    assert (limit.kind, limit.stage, limit.share) == (LimitKind.NETWORK, "prepare", 1.0)
    assert limit.sentence == (
        "The network limits this run (100 % of the nodes' time): in prepare the nodes' links of 100 Mbit/s ran at 85 % "
        "or more of that for 80 % of the time."
    )


def test_a_link_that_is_full_for_less_than_half_of_a_stage_does_not_limit_it() -> None:
    usage = [a_sample("node-0", at, received_bytes=12_500_000 if at <= 4 else 0) for at in range(1, 11)]
    limits = NodeLimits(network_bits_per_s=100_000_000)
    limit = limit_of([a_stage("prepare", 10)], even("prepare", 1, 10, read_s=9), usage, nodes=1, limits=limits)
    assert limit.kind is LimitKind.STORAGE


def test_driver_between_the_stages() -> None:
    stages = [a_stage("prepare", 2), a_stage("score", 2, at=8)]
    tasks = even("prepare", 2, 2, cpu_s=2) + even("score", 2, 2, at=8, cpu_s=2)
    limit = limit_of(stages, tasks, nodes=2)
    assert (limit.kind, limit.stage) == (LimitKind.DRIVER, None)
    assert limit.sentence == (
        "The driver limits this run (60 % of the nodes' time): between the stages the nodes had nothing to do for "
        "6.0 s."
    )


def test_driver_that_hands_tasks_out_too_slowly() -> None:
    # Two slots; a task of 1 s begins every 2 s, so of 20 slot seconds 5 have a task and 13 none before the last began.
    tasks = [a_task("prepare", "node-0", 2 * number, 2 * number + 1, cpu_s=1, task=number) for number in range(5)]
    limit = limit_of([a_stage("prepare", 10)], tasks, nodes=2)
    assert (limit.kind, limit.stage) == (LimitKind.DRIVER, "prepare")


def test_too_few_partitions_name_the_number_that_fills_the_slots_and_one_that_does_not_help() -> None:
    limit = limit_of([a_stage("prepare", 10)], even("prepare", 2, 10, cpu_s=10), nodes=5)
    assert (limit.kind, limit.stage) == (LimitKind.PARTITIONS, "prepare")
    assert limit.share == pytest.approx(0.6)
    assert limit.sentence == (
        "Too few partitions limit this run (60 % of the nodes' time): prepare had 2 partitions for 5 slots, so 3 had "
        "nothing to do; 5 fill them, 6 would not help: one slot would have two, and the others wait for it."
    )


def test_a_last_round_that_is_not_full_is_a_matter_of_partitions() -> None:
    # 6 tasks of 5 s on 5 slots: in the second round 4 slots have nothing to do for 5 s, 20 of 50 slot seconds.
    tasks = [a_task("prepare", f"node-{number % 5}", 5 * (number // 5), 5 * (number // 5) + 5, cpu_s=1.5, task=number)
             for number in range(6)]  # fmt: skip
    limit = limit_of([a_stage("prepare", 10)], tasks, nodes=5)
    assert limit.kind is LimitKind.PARTITIONS
    assert limit.share == pytest.approx(0.4)
    assert (
        "6 partitions for 5 slots, so in the last round 4 had nothing to do; 5 or 10 fill every round" in limit.sentence
    )


def test_a_gang_has_one_member_per_node_on_purpose() -> None:
    limit = limit_of([a_stage("train", 10)], even("train", 2, 10, cpu_s=20), nodes=2, slots=2)
    assert limit.kind is LimitKind.CPU
    assert "partitions" not in limit.evidence


def test_skew() -> None:
    # Three tasks of 2 s, one of 10 s: the others wait 24 of 40 seconds.
    tasks = [a_task("prepare", f"node-{node}", 0, 10 if node == 3 else 2, cpu_s=2, task=node) for node in range(4)]
    limit = limit_of([a_stage("prepare", 10)], tasks, nodes=4)
    assert (limit.kind, limit.stage) == (LimitKind.SKEW, "prepare")
    assert limit.share == pytest.approx(0.6)
    assert limit.sentence == (
        "Skew limits this run (60 % of the nodes' time): the slowest of the 4 tasks of prepare took 10.0 s, 5.0 times "
        "the median, and slots stood empty until it ended."
    )


def test_start_up_and_stop() -> None:
    limit = limit_of([a_stage("prepare", 2)], even("prepare", 2, 2, cpu_s=2), nodes=2, cluster_s=10, start_up_s=7)
    assert (limit.kind, limit.stage) == (LimitKind.START_UP, None)
    assert limit.share == pytest.approx(0.8)
    assert limit.sentence == (
        "Start-up limits this run (80 % of the nodes' time): starting the cluster took 7.0 s and stopping it 1.0 s of "
        "10.0 s."
    )


def test_memory_comes_first() -> None:
    usage = [a_sample("node-0", 1, memory_kills=2), a_sample("node-1", 1, memory_kills=1)]
    limits = NodeLimits(memory_bytes=512 * 2**20)
    limit = limit_of([a_stage("prepare", 10)], even("prepare", 2, 10, cpu_s=10), usage, nodes=2, limits=limits)
    assert limit.kind is LimitKind.MEMORY
    assert limit.sentence == (
        "Memory limits this run: 3 processes were killed at a limit of 512.0 MiB per node, and the work was done again."
    )
    assert limit.evidence["kills"] == 3


@pytest.mark.parametrize(("length", "kind"), [(4.0, LimitKind.PARTITIONS), (1.0, LimitKind.START_UP)])
def test_of_two_causes_the_larger_wins(length: float, kind: LimitKind) -> None:
    # 2 of 4 slots empty for ``length`` seconds against 1.5 s of start-up.
    limit = limit_of(
        [a_stage("prepare", length)],
        even("prepare", 2, length, cpu_s=length / 4),
        nodes=4,
        cluster_s=length + 1.5,
        start_up_s=1.5,
    )
    assert limit.kind is kind
    assert set(limit.evidence) >= {"partitions", "start-up", "cpu"}


def test_partitions_and_skew_of_one_stage_are_told_apart() -> None:
    # 3 tasks on 4 slots: one slot is empty for 10 s, two wait 9 s each for the slowest: skew is the larger.
    tasks = [a_task("prepare", f"node-{node}", 0, 10 if node == 0 else 1, cpu_s=1, task=node) for node in range(3)]
    limit = limit_of([a_stage("prepare", 10)], tasks, nodes=4)
    assert limit.kind is LimitKind.SKEW
    assert limit.evidence["skew"] == pytest.approx(18 / 40)
    assert limit.evidence["partitions"] == pytest.approx(10 / 40)


def test_a_run_of_no_time_still_has_a_limit() -> None:
    limit = limit_of([], [], nodes=1, cluster_s=0)
    assert limit.kind in LimitKind
    assert limit.share == 0
