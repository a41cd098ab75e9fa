"""Engine ``local``."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from nodewise.engines.base import Engine

from . import tasks
from .clusters import on_cluster, on_no_cluster
from .contract import EngineContract
from .crew_contract import CrewContract, is_alive, meeting
from .lifecycle import EngineLifecycle


@on_cluster("local", 3)
class TestLocalEngine(EngineContract):
    """Three processes."""

    def test_a_worker_that_dies_while_the_driver_is_busy_costs_no_result(self, engine: Engine, tmp_path: Path) -> None:
        marker = tmp_path / "died"
        partitions = [(number, str(marker)) for number in range(8)]
        results = engine.map("die", tasks.die_when_told, partitions)
        done = [next(results).index]
        # The others of the first three are at work; one of them dies before this process looks again.
        (tmp_path / "die").touch()
        tasks.wait_until(marker.exists)
        tasks.wait_until(lambda: not is_alive(int(marker.read_text() or 0)))
        done += [result.index for result in results]
        assert sorted(done) == list(range(8))

    def test_workers_that_die_between_two_jobs_are_replaced(self, engine: Engine) -> None:
        (first,) = engine.map("who", tasks.process_id, [None])
        os.kill(first.value, signal.SIGKILL)
        tasks.wait_until(lambda: not is_alive(first.value))
        assert sorted(result.value for result in engine.map("squares", tasks.square, range(4))) == [0, 1, 4, 9]


@on_cluster("local", 3)
class TestLocalCrew(CrewContract):
    """A pool of one process for each member."""

    def test_two_members_per_node_are_ranked_node_by_node(self, engine: Engine, tmp_path: Path) -> None:
        results = meeting(engine, tmp_path, members_per_node=2)
        assert [result.record.node for result in results] == ["node-0"] * 2 + ["node-1"] * 2 + ["node-2"] * 2


@on_cluster("local", 1, cores_per_node=2)
@pytest.mark.parametrize(("members", "threads"), [(1, 2), (2, 1), (3, 1)])
def test_the_cores_of_a_node_are_shared_out_among_its_members(
    engine: Engine, tmp_path: Path, members: int, threads: int
) -> None:
    told = [result.value for result in meeting(engine, tmp_path, members)]
    assert [(member.threads, variable) for member, variable in told] == [(threads, str(threads))] * members


@on_cluster("local", 1)
@pytest.mark.timeout(60)
def test_a_worker_that_has_grown_stays_on_its_node(engine: Engine) -> None:
    results = list(engine.map("grow", tasks.grow, [1, 2, 400 * 2**20, 3]))
    assert [result.value for result in results] == [1, 2, 400 * 2**20, 3]
    assert {result.record.node for result in results} == {"node-0"}


@on_no_cluster("local")
class TestLocalLifecycle(EngineLifecycle):
    """Processes of loky."""

    name = "local"
