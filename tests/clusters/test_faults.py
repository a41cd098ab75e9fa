"""Tests of what is left of a cluster, and what is said of it, when a process of it or above it is killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from tests.clusters.conftest import Site, wait_until
from tests.engines import tasks
from tests.engines.clusters import on_no_cluster

from nodewise.clusters.lifecycle import create_cluster, list_clusters, stop_cluster
from nodewise.clusters.link import take_cluster
from nodewise.clusters.plan import ClusterPlan, access_from_json
from nodewise.core.errors import ClusterStateError
from nodewise.engines.registry import create_engine
from nodewise.jobs.prepare_folder import JOURNAL_NAME
from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.clusters import ClusterRecord, ClusterState
from nodewise.specs.place import EmulationTier
from nodewise.specs.run import RunStatus

ALL = os.environ.get("NODEWISE_TEST_ALL") == "1"
# About how long the command below takes on each engine, so that a random moment may lie anywhere in its life.
LIVES_S: dict[EngineName, float] = {"local": 5.0, "spark": 25.0, "ray": 20.0}
MOMENTS: dict[EngineName, int] = dict.fromkeys(LIVES_S, 10) if ALL else {"local": 3, "spark": 1, "ray": 1}


@pytest.fixture(autouse=True)
def _no_other_engine(engine: None) -> None:
    tasks.carry_by_value()


def on_every_engine(function: object) -> object:
    """Run a test on each engine while no cluster of other tests is up."""
    marks = [on_no_cluster(name).args[1][0] for name in LIVES_S]
    named = [pytest.param(None, name, id=name, marks=param.marks) for name, param in zip(LIVES_S, marks, strict=True)]
    return pytest.mark.parametrize(("engine", "name"), named, indirect=["engine"])(function)


def start_job(site: Site, name: EngineName, images: Path, dest: Path, *, size: int) -> subprocess.Popen[str]:
    settings = ["--size", str(size), "--shard-records", "5", "--engine", name, "--nodes", "2"]
    return site.start("prepare", str(images), str(dest), *settings, "--cores-per-node", "1", "--no-preflight")


def start_long_job(site: Site, name: EngineName, images: Path, dest: Path) -> subprocess.Popen[str]:
    """A command that is at work; it would be for longer than a test may take."""
    command = start_job(site, name, images, dest, size=1024)
    journal = dest / JOURNAL_NAME
    wait_until(lambda: command.poll() is not None or (journal.exists() and journal.read_text().count("\n") > 2))
    assert command.poll() is None, command.communicate()[1]
    return command


def supervisor_of(site: Site, record: ClusterRecord) -> psutil.Process:
    owner = site.workspace.clusters.supervisor(record.cluster_id)
    assert owner is not None
    return psutil.Process(owner.pid)


def only_cluster(site: Site) -> ClusterRecord:
    (record,) = site.workspace.clusters.all()
    return record


@pytest.mark.timeout(1200)
@on_every_engine
def test_a_command_killed_at_any_moment_leaves_nothing(
    site: Site, digits_folder: Path, tmp_path: Path, name: EngineName
) -> None:
    for number in range(MOMENTS[name]):
        seed = f"{name}-{number}"
        moment_s = random.Random(seed).uniform(0.3, LIVES_S[name])
        print(f"seed {seed}: killed after {moment_s:.2f} s")
        command = start_job(site, name, digits_folder, tmp_path / seed, size=200)
        try:
            command.wait(moment_s)
        except subprocess.TimeoutExpired:
            command.kill()
        command.communicate()
        site.check_nothing_left()
        ended = (ClusterState.TERMINATED, ClusterState.FAILED)
        assert [record for record in site.workspace.clusters.all() if record.state not in ended] == []
        expected = RunStatus.FINISHED if command.returncode == 0 else RunStatus.KILLED
        assert {run.status for run in site.workspace.list_runs(1)} <= {expected}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@on_no_cluster("local")
def test_a_command_that_is_asked_to_end_takes_its_cluster_along(
    site: Site, digits_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = start_long_job(site, "local", digits_folder, tmp_path / "shards")
    command.send_signal(number)
    _, said = command.communicate(timeout=20)
    assert command.returncode == 128 + number, said
    site.check_nothing_left()
    assert only_cluster(site).state is ClusterState.TERMINATED
    (run,) = site.workspace.list_runs()
    assert run.status is RunStatus.KILLED


@on_every_engine
@pytest.mark.slow("spark", "ray")
def test_a_command_ends_when_its_cluster_has_lost_its_supervisor(
    site: Site, digits_folder: Path, tmp_path: Path, name: EngineName
) -> None:
    command = start_long_job(site, name, digits_folder, tmp_path / "shards")
    supervisor_of(site, only_cluster(site)).kill()
    _, said = command.communicate(timeout=30)
    assert command.returncode == 1, said
    assert "error: the cluster ended during the run: its supervisor ended by signal 9" in said
    site.check_nothing_left()
    assert only_cluster(site).state is ClusterState.FAILED
    (run,) = site.workspace.list_runs()
    assert run.status is RunStatus.FAILED


@on_no_cluster("local")
def test_a_supervisor_without_its_guard_ends_itself(site: Site, digits_folder: Path, tmp_path: Path) -> None:
    command = start_long_job(site, "local", digits_folder, tmp_path / "shards")
    guard = supervisor_of(site, only_cluster(site)).parent()
    assert guard is not None
    guard.kill()
    _, said = command.communicate(timeout=30)
    assert command.returncode == 1
    assert "error: the cluster ended during the run: its guard is gone" in said
    site.check_nothing_left()


@pytest.mark.parametrize("tier", EmulationTier if ALL else [EmulationTier.PROCESSES])
@on_no_cluster("spark")
def test_what_is_left_when_nobody_looks_after_a_cluster_any_more_goes_with_the_next_look(
    site: Site, tier: EmulationTier
) -> None:
    plan = ClusterPlan(cluster=ClusterSpec(engine="spark", nodes=1), tier=tier)
    record = create_cluster(site.workspace, "orphan", plan)
    supervisor = supervisor_of(site, record)
    guard = supervisor.parent()
    assert guard is not None
    # The guard first: it would end the cluster.
    guard.suspend()
    supervisor.kill()
    guard.kill()
    wait_until(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE)
    assert len(site.processes()) >= 2
    (listed,) = list_clusters(site.workspace)
    assert (listed.state, listed.name) == (ClusterState.FAILED, "orphan")
    assert (listed.state_message or "").startswith("its supervisor ended by signal 9")
    site.check_nothing_left()


def processes_named(site: Site, words: Sequence[str]) -> list[psutil.Process]:
    return [process for process in site.processes() if all(word in " ".join(process.cmdline()) for word in words)]


@pytest.mark.parametrize(
    ("engine", "name", "node", "driver"),
    [
        pytest.param(None, name, node, driver, id=name, marks=on_no_cluster(name).args[1][0].marks)
        for name, node, driver in [
            ("spark", ["org.apache.spark.deploy.worker.Worker"], ["org.apache.spark.deploy.master.Master"]),
            ("ray", ["raylet", "node-1"], ["gcs_server"]),
        ]
    ],
    indirect=["engine"],
)
@pytest.mark.slow("ray")
def test_a_lost_node_is_replaced_and_a_lost_driver_is_the_end(
    site: Site, name: EngineName, node: list[str], driver: list[str]
) -> None:
    spec = ClusterSpec(engine=name, nodes=2)
    record = create_cluster(site.workspace, "hurt", ClusterPlan(cluster=spec))
    lost = [process for process in processes_named(site, node) if process.name() != "bash"]
    lost[-1].kill()
    wait_until(lambda: "NODE_ADDED" in kinds(site, record))
    assert kinds(site, record)[-2:] == ["NODE_LOST", "NODE_ADDED"]
    _, link = take_cluster(site.workspace, "hurt", "run", "prepare", {})
    engine = create_engine(spec, link.access)
    try:
        engine.start()
        assert sorted(result.value for result in engine.map("squares", tasks.square, range(4))) == [0, 1, 4, 9]
        with pytest.raises(ClusterStateError, match=r"cluster 'hurt' is busy with run run \(prepare\)"):
            stop_cluster(site.workspace, "hurt")
    finally:
        engine.stop()
        link.close()
    processes_named(site, driver)[0].kill()
    wait_until(lambda: site.workspace.clusters.get("hurt").state is ClusterState.FAILED)
    message = site.workspace.clusters.get("hurt").state_message or ""
    assert message.startswith("master ended with status -9" if name == "spark" else "head ended with status 1")
    site.check_nothing_left()


def kinds(site: Site, record: ClusterRecord) -> list[str]:
    return [event.kind for event in site.workspace.clusters.events(record.cluster_id)]


@on_no_cluster("local")
def test_a_cluster_outlives_the_terminal_that_started_it_and_ends_when_nobody_uses_it(
    site: Site, tmp_path: Path
) -> None:
    definition = tmp_path / "small.yaml"
    definition.write_text("name: small\nengine: local\nworkers: 2\nautotermination_minutes: 0.1\n")
    # The command is the leader of the session of a terminal, which hangs up on all processes of it when it is closed.
    ours, theirs = os.openpty()
    command = site.start(
        "clusters", "create", str(definition), "--no-preflight",
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while command.poll() is None:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break
    assert command.wait(20) == 0, said.decode()
    os.close(ours)
    time.sleep(0.5)
    record = only_cluster(site)
    assert record.state is ClusterState.RUNNING
    assert access_from_json(record.access or {}).places
    wait_until(lambda: only_cluster(site).state is ClusterState.TERMINATED)
    assert only_cluster(site).state_message == "no run for 0.1 minutes"
    site.check_nothing_left()


@on_no_cluster("local")
def test_of_two_clusters_with_one_name_that_are_created_at_the_same_moment_one_comes_up(
    site: Site, tmp_path: Path
) -> None:
    definition = tmp_path / "small.yaml"
    definition.write_text("name: small\nengine: local\nworkers: 2\n")
    commands = [site.start("clusters", "create", str(definition), "--no-preflight") for _ in range(2)]
    said = [command.communicate(timeout=60)[1] for command in commands]
    assert sorted(command.returncode for command in commands) == [0, 2], said
    refused = next(text for command, text in zip(commands, said, strict=True) if command.returncode)
    assert "error: there is a cluster 'small' already" in refused
    assert only_cluster(site).state is ClusterState.RUNNING
