"""Engine ``spark``."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from pathlib import Path

import psutil
import pytest

from nodewise.core.errors import InputError, MissingDependencyError
from nodewise.core.java import require_java
from nodewise.engines.base import Engine
from nodewise.engines.registry import create_engine
from nodewise.engines.spark import _with_attempts
from nodewise.engines.spark_crew import _own_host
from nodewise.specs.cluster import ClusterSpec

from . import tasks
from .clusters import on_cluster, on_no_cluster
from .contract import EngineContract
from .crew_contract import CrewContract, kill_and_await, meanwhile, meeting, members_per_node
from .lifecycle import EngineLifecycle
from .processes import LeftOver


@on_cluster("spark", 3)
class TestSparkEngine(EngineContract):
    """A standalone master and three workers."""

    # Spark looks every two seconds for interpreters of cancelled tasks to kill, and may hit one that it has just given
    # to the next attempt.
    most_restarts = 2


@on_cluster("spark", 3)
class TestSparkCrew(CrewContract):
    """A stage with a task for each member."""

    def test_more_members_than_slots_are_refused(self, engine: Engine) -> None:
        with pytest.raises(InputError, match="meet needs 2 slots per node at once, and Spark has 1") as caught:
            engine.crew("meet", tasks.crew_meets, "", 2)
        assert (caught.value.hint or "").startswith("at most 1 members per node")


@pytest.mark.slow
@on_cluster("spark", 2, cores_per_node=2)
class TestSparkCrewOnTwoCores:
    @pytest.mark.parametrize(("members", "threads"), [(1, 2), (2, 1)])
    def test_members_are_spread_evenly(self, engine: Engine, tmp_path: Path, members: int, threads: int) -> None:
        results = meeting(engine, tmp_path, members)
        assert members_per_node(results) == {"node-0": members, "node-1": members}
        assert {result.value[0].threads for result in results} == {threads}

    def test_a_member_comes_back_to_its_node(self, engine: Engine, tmp_path: Path, repetitions: int) -> None:
        for number in range(repetitions):
            (folder := tmp_path / str(number)).mkdir()
            with meanwhile(lambda to=folder: kill_and_await(to, 0, 0.0, size=2)):
                results = list(engine.crew("go on", tasks.crew_goes_on, (str(folder), "goes on")))
            assert members_per_node(results) == {"node-0": 1, "node-1": 1}
            assert {result.index: result.record.retries for result in results} == {0: 1, 1: 0}


@on_no_cluster("spark")
class TestSparkLifecycle(EngineLifecycle):
    """JVMs and their Python workers."""

    name = "spark"

    def check_running(self, workspace: Path, processes: list[psutil.Process]) -> None:
        (configuration,) = workspace.glob("clusters/*/spark-defaults.conf")
        assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
        settings = dict(line.split(" ", 1) for line in configuration.read_text().splitlines())
        assert settings["spark.authenticate"] == "true"
        secret = settings["spark.authenticate.secret"]
        assert len(secret) == 64
        assert not [process for process in psutil.process_iter(["cmdline"]) if secret in _command(process)]
        listening = {
            connection.laddr.ip.removeprefix("::ffff:")
            for process in processes
            for connection in process.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        }
        # Addresses of this machine and of the cluster's own network, which nobody else reaches.
        assert listening
        assert {address for address in listening if not address.startswith(("127.", "10.231."))} == set()

    @pytest.mark.parametrize("nodes", [1, 2])
    def test_without_pyspark_the_error_says_what_to_install(
        self, left_over: LeftOver, temp: Path, monkeypatch: pytest.MonkeyPatch, nodes: int
    ) -> None:
        monkeypatch.setitem(sys.modules, "pyspark", None)
        engine = create_engine(ClusterSpec(engine="spark", nodes=nodes))
        with pytest.raises(MissingDependencyError, match="needs the package pyspark") as caught:
            engine.start()
        assert caught.value.hint == "pip install 'nodewise[spark]'"
        engine.stop()
        assert left_over() == []
        assert list(temp.iterdir()) == []


def _command(process: psutil.Process) -> str:
    return " ".join(process.info["cmdline"] or [])


def fake_java(folder: Path, version: str) -> Path:
    """A home of Java whose program tells a version, on standard error as the real one does."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!{shutil.which('sh')}\necho '{version}' >&2\n")
    program.chmod(0o755)
    return folder


@pytest.mark.parametrize("nodes", [1, 2])
def test_without_java_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nodes: int
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = create_engine(ClusterSpec(engine="spark", nodes=nodes))
    with pytest.raises(MissingDependencyError, match="needs Java 17 or later: no java on the PATH") as caught:
        engine.start()
    assert "openjdk-17-jre-headless" in (caught.value.hint or "")
    engine.stop()


def test_a_wrong_java_home_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=f"JAVA_HOME is {tmp_path}, which has no bin/java"):
        require_java()


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ('openjdk version "11.0.2" 2019-01-15', "is 11"),
        ('java version "1.8.0_292"', "is 8"),
        ("some other program", "is of unknown version"),
    ],
)
@pytest.mark.parametrize("found_by", ["JAVA_HOME", "PATH"])
def test_a_java_that_is_too_old_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, shown: str, found_by: str
) -> None:
    home = fake_java(tmp_path / "java", version)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv(found_by, str(home if found_by == "JAVA_HOME" else home / "bin"))
    with pytest.raises(MissingDependencyError, match=rf"needs Java 17 or later: {home}/bin/java {shown}") as caught:
        require_java()
    assert "\n" not in caught.value.message
    assert "openjdk-17-jre-headless" in (caught.value.hint or "")


@pytest.mark.parametrize("version", ['openjdk version "17.0.1" 2021-10-19', 'openjdk version "21" 2023-09-19'])
def test_a_java_that_is_new_enough_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path, version)))
    before = dict(os.environ)
    require_java()
    assert dict(os.environ) == before


@pytest.mark.parametrize(("bound_to", "host"), [("10.231.0.3", "10.231.0.3"), (None, "127.0.0.1")])
def test_a_member_is_at_the_address_that_spark_is_bound_to_or_that_leads_to_the_driver(
    monkeypatch: pytest.MonkeyPatch, bound_to: str | None, host: str
) -> None:
    monkeypatch.delenv("SPARK_LOCAL_IP", raising=False)
    if bound_to is not None:
        monkeypatch.setenv("SPARK_LOCAL_IP", bound_to)
    assert _own_host("127.0.0.1") == host


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("local", "local[1,4]"),
        ("local[3]", "local[3,4]"),
        ("local[*]", "local[*,4]"),
        ("local[2,1]", "local[2,1]"),
    ],
)
def test_a_with_attempts_that_does_not_say_otherwise_retries_lost_tasks(given: str, wanted: str) -> None:
    assert _with_attempts(given) == wanted
    assert ClusterSpec(engine="spark", address=given).emulated
