"""Engine ``ray``."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from nodewise.core.errors import InputError, MissingDependencyError, WorkerLostError
from nodewise.engines.base import Engine
from nodewise.engines.registry import create_engine
from nodewise.specs.cluster import ClusterSpec

from . import tasks
from .clusters import on_cluster, on_no_cluster
from .contract import EngineContract
from .crew_contract import CrewContract, await_end, await_members, meanwhile, meeting, processes_of
from .lifecycle import EngineLifecycle

if TYPE_CHECKING:
    from ray.cluster_utils import Cluster


@on_cluster("ray", 3)
class TestRayEngine(EngineContract):
    """A head and three nodes."""


@on_cluster("ray", 3)
class TestRayCrew(CrewContract):
    """Tasks in a placement group."""

    def test_two_members_per_node_are_ranked_node_by_node(self, engine: Engine, tmp_path: Path) -> None:
        first, *others = (result.record.node for result in meeting(engine, tmp_path, members_per_node=2))
        assert others[0] == first
        assert others[1] == others[2]
        assert others[3] == others[4]
        assert len({first, *others}) == 3


@pytest.mark.slow
@on_no_cluster("ray")
class TestRayCrewWhoseNodesAreLost:
    """Two nodes with two cores each, which nobody brings back."""

    @pytest.fixture
    def nodes(self, engine: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
        from ray.cluster_utils import Cluster

        monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        tasks.carry_by_value()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            for _ in range(2):
                cluster.add_node(num_cpus=2)
            yield cluster
        finally:
            cluster.shutdown()

    @pytest.fixture
    def connected(self, nodes: Cluster) -> Iterator[Engine]:
        engine = create_engine(ClusterSpec(engine="ray", nodes=2, cores_per_node=2, address=nodes.address))
        try:
            engine.start()
            yield engine
        finally:
            engine.stop()

    def test_its_members_move_to_another_one_and_are_given_up_if_there_is_none(
        self, nodes: Cluster, connected: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        together, moved, given_up = (tmp_path / name for name in ("together", "moved", "given up"))
        for folder in (together, moved, given_up):
            folder.mkdir()
        # Three shares of two cores each, which must not be rounded up.
        assert len(meeting(connected, together, members_per_node=3)) == 6

        # Nodes are started by the main thread only.
        with ThreadPoolExecutor(1) as pool:
            crew = pool.submit(lambda: list(connected.crew("go on", tasks.crew_goes_on, (str(moved), "goes on"))))
            await_members(moved, 2)
            nodes.remove_node(next(iter(nodes.worker_nodes)))
            nodes.add_node(num_cpus=2)
            tasks.wait_until(lambda: sum(len(processes_of(moved, rank)) for rank in range(2)) == 3)
            (moved / "enough").touch()
        assert sorted(result.value for result in crew.result()) == [0, 1]
        assert sorted(result.record.retries for result in crew.result()) == [0, 1]

        def remove_a_node() -> None:
            await_members(given_up, 2)
            nodes.remove_node(next(iter(nodes.worker_nodes)))

        monkeypatch.setattr("nodewise.engines.ray_crew.REPLACEMENT_TIMEOUT_S", 0.5)
        with meanwhile(remove_a_node), pytest.raises(WorkerLostError, match=r"member \d was lost and no other one has"):
            list(connected.crew("go on", tasks.crew_goes_on, (str(given_up), "goes on")))
        await_end(given_up, 0, 1)

        monkeypatch.setattr("nodewise.engines.ray_members.NODE_TIMEOUT_S", 0.5)
        with pytest.raises(InputError, match="late needs 2 nodes with 2 free cores each at the same time"):
            list(connected.crew("late", tasks.crew_goes_on, (str(given_up), "goes on")))


@on_no_cluster("ray")
class TestRayLifecycle(EngineLifecycle):
    """Raylets and the head's services."""

    name = "ray"

    def check_running(self, workspace: Path, processes: list[psutil.Process]) -> None:
        names = set()
        for process in processes:
            # An idle worker may end at any moment.
            with suppress(psutil.NoSuchProcess):
                names.add(process.name())
        assert {"raylet", "gcs_server"} <= names
        (path,) = workspace.glob("clusters/*/ray-token")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        token = path.read_text()
        assert len(token) == 64
        commands = [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
        assert not [command for command in commands if token in command]


@pytest.mark.parametrize("nodes", [1, 2])
def test_without_ray_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: int
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = create_engine(ClusterSpec(engine="ray", nodes=nodes))
    with pytest.raises(MissingDependencyError, match="needs the package ray") as caught:
        engine.start()
    assert caught.value.hint == "pip install 'nodewise[ray]'"
    engine.stop()
