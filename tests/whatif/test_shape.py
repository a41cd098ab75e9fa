from __future__ import annotations

import numpy as np
import pytest

from nodewise.whatif.program import Program, Tasks
from nodewise.whatif.shape import Cluster, fit, recut, slots_of

from .made_programs import made_program, made_stage, made_tasks


def fitted(program: Program, **cluster: float) -> Tasks:
    (stage,) = fit(program, Cluster(**{"nodes": 1, "slots_per_node": 2, **cluster})).stages  # type: ignore[arg-type]
    return stage.tasks


def test_faster_cores_take_less_time_to_compute_and_for_nothing_else() -> None:
    tasks = made_tasks([4.0], wait_s=[1.0], read_s=[2.0], fetch_s=[3.0], write_s=[5.0], other_s=[6.0])

    assert fitted(made_program(made_stage(tasks)), core_speed=2.0).slot_s.tolist() == [2 + 1 + 2 + 3 + 5 + 6]


@pytest.mark.parametrize(("nodes", "fetch_s"), [(2, 6.0), (4, 9.0), (1, 0.0)])
def test_more_of_a_shuffle_comes_from_elsewhere_on_more_nodes(nodes: int, fetch_s: float) -> None:
    # On 2 nodes half of it does, on 4 three quarters.
    program = made_program(made_stage(made_tasks([1.0], fetch_s=[6.0])), slots=4, nodes=2)

    assert fitted(program, nodes=nodes).fetch_s.tolist() == [fetch_s]


def test_from_one_node_nothing_is_known_of_fetching_from_others() -> None:
    program = made_program(made_stage(made_tasks([1.0], fetch_s=[6.0])))

    assert fitted(program, nodes=8).fetch_s.tolist() == [6]


def test_a_limit_is_shared_by_the_slots_of_a_node() -> None:
    tasks = made_tasks([1.0], read_bytes=[100.0], write_s=[9.0], write_bytes=[100.0], fetch_bytes=[100.0])
    program = made_program(made_stage(tasks), slots=4, nodes=2)

    # 50 bytes/s for 2 slots: 25 for each. Half of what is fetched comes over a network of 10 bytes/s for 2 slots.
    found = fitted(program, nodes=2, disk_bytes_per_s=50.0, network_bits_per_s=80.0)
    assert (found.read_s.tolist(), found.write_s.tolist(), found.fetch_s.tolist()) == ([4], [9], [10])


def test_what_a_known_limit_took_is_told_from_the_rest() -> None:
    tasks = made_tasks([1.0], fetch_s=[12.0], fetch_bytes=[100.0])
    program = made_program(made_stage(tasks), slots=4, nodes=2, network_bits_per_s=80.0)

    # 50 bytes over 5 bytes/s were 10 of the 12 s; without a limit 2 are left, with twice the limit 5 more.
    assert fitted(program, nodes=2).fetch_s.tolist() == [2]
    assert fitted(program, nodes=2, network_bits_per_s=160.0).fetch_s.tolist() == [7]
    assert fitted(program, nodes=2, network_bits_per_s=80.0).fetch_s.tolist() == [12]


def test_a_gang_shares_its_work_among_its_nodes() -> None:
    tasks = made_tasks([6.0, 8.0], fetch_s=[2.0, 1.0], other_s=[1.0, 1.0])
    program = made_program(made_stage(tasks, is_gang=True), slots=4, nodes=2)

    found = fitted(program, nodes=4)
    # The slowest of 2 had 8 s; fetching is half as much again.
    assert (found.cpu_s.tolist(), found.fetch_s.tolist(), found.other_s.tolist()) == ([4] * 4, [3] * 4, [1] * 4)
    assert fitted(program, nodes=2).cpu_s.tolist() == [6, 8]


def test_the_recorded_cluster_changes_nothing() -> None:
    generator = np.random.default_rng(0)
    columns = {name: generator.random(50) for name in ("wait_s", "read_s", "fetch_s", "write_s", "fetch_bytes")}
    tasks = made_tasks(generator.random(50).tolist(), **columns)
    program = made_program(made_stage(tasks), slots=8, nodes=4, network_bits_per_s=1e9)

    found = fitted(program, nodes=4, slots_per_node=2, network_bits_per_s=1e9)
    assert found.slot_s == pytest.approx(tasks.slot_s)


def test_recutting_keeps_the_work_and_how_it_is_spread() -> None:
    tasks = made_tasks([1.0, 3.0], other_s=[0.5, 0.5], read_bytes=[10.0, 30.0])
    more, fewer = (recut(made_program(made_stage(tasks)), count).stages[0].tasks for count in (4, 1))

    assert more.cpu_s.tolist() == [0.5, 0.5, 1.5, 1.5]
    assert more.read_bytes.tolist() == [5, 5, 15, 15]
    assert more.other_s.tolist() == [0.5] * 4
    assert (fewer.cpu_s.tolist(), fewer.other_s.tolist()) == ([4], [0.5])


def test_what_was_one_task_or_a_gang_is_not_cut() -> None:
    program = made_program(made_stage([1.0]), made_stage([1.0, 1.0], is_gang=True), made_stage([]))

    assert [len(stage.tasks) for stage in recut(program, 8).stages] == [1, 2, 0]


def test_all_nodes_are_there_from_the_start() -> None:
    program = made_program(slots=2)
    (group,) = slots_of(program, Cluster(nodes=3, slots_per_node=4))

    assert (group.count, group.paid_from_s, group.ready_s, group.until_s) == (12, 0, 0, np.inf)
