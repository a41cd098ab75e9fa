"""``nodewise clusters`` as processes: the whole life of a cluster that stays up between commands."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DEFINITION = """\
name: small
engine: local
workers: 2
cpus_per_node: 0.5
node_type: Standard_DS3_v2
tags: {team: blue}
autotermination_minutes: 5
"""


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(DEFINITION)
    return path


@pytest.fixture
def small(cli: Any, definition: Path) -> Any:
    """A cluster that is up; terminated when the test is over."""
    done = cli("clusters", "create", str(definition))
    assert done.returncode == 0, done.stderr
    yield "small"
    cli("clusters", "delete", "small", "--force", "-y")


def test_a_cluster_lives_from_create_to_delete(
    cli: Any, read_json: Any, tmp_path: Path, mark: Any, definition: Path
) -> None:
    assert cli("clusters", "create", str(definition), "--json", "c.json").returncode == 0
    created = read_json(tmp_path / "c.json")["result"]
    assert (created["name"], created["state"], created["nodes"]) == ("small", "RUNNING", 2)
    # The command is over; the cluster is not.
    assert mark.processes()

    assert cli("clusters", "list", "--json", "l.json").returncode == 0
    (listed,) = read_json(tmp_path / "l.json")["result"]["clusters"]
    keys = {"name", "engine", "provider", "state", "nodes", "node_type", "cost_usd", "idle_s", "tags"}
    assert keys <= set(listed)
    assert (listed["engine"], listed["provider"], listed["tags"]) == ("local", "emulated", {"team": "blue"})
    assert listed["node_type"] == "Standard_DS3_v2"
    assert 0 <= listed["idle_s"] < 60
    assert listed["cost_usd"] >= 0

    done = cli("clusters", "list", "--all-terminated")
    assert done.returncode == 1
    assert "error: still up: small" in done.stderr

    done = cli("prepare", "digits", "shards", "--size", "32", "--sample", "0.1", "--cluster", "small", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert mark.processes()

    assert cli("clusters", "resize", "small", "--workers", "3").returncode == 0
    assert cli("clusters", "stop", "small").returncode == 0
    assert mark.left() == []
    assert cli("clusters", "list", "--all-terminated").returncode == 0
    assert cli("clusters", "start", "small", "--json", "s.json").returncode == 0
    # As it was defined, whatever it was resized to.
    assert read_json(tmp_path / "s.json")["result"]["nodes"] == 2

    assert cli("clusters", "events", "small", "--json", "e.json").returncode == 0
    kinds = [event["kind"] for event in read_json(tmp_path / "e.json")["result"]["events"]]
    assert kinds == [
        *("CREATED", "STARTING", "RUNNING", "RUN_STARTED", "RUN_ENDED", "RESIZING", "RESIZED"),
        *("TERMINATING", "TERMINATED", "STARTING", "RUNNING"),
    ]
    assert cli("clusters", "delete", "small", "-y").returncode == 0
    assert mark.left() == []
    done = cli("clusters", "show", "small")
    assert done.returncode == 2
    assert "unknown cluster 'small'" in done.stderr


def test_what_a_run_on_a_cluster_used_is_kept_and_priced(cli: Any, read_json: Any, tmp_path: Path, small: str) -> None:
    command = ("prepare", "digits", "shards", "--size", "32", "--sample", "0.1", "--cluster", small, "--tag", "who=me")
    assert cli(*command).returncode == 0
    assert cli("runs", "list", "--json", "r.json").returncode == 0
    (run,) = read_json(tmp_path / "r.json")["result"]["runs"]
    assert (run["cluster_name"], run["cluster"]["nodes"]) == ("small", 2)
    assert run["cluster"]["limits"]["cpus"] == 0.5
    assert run["emulation_tier"] in ("namespaces", "cgroups", "processes")
    assert run["cost_usd"] > 0
    assert cli("costs", "--by", "tag:who", "--json", "c.json").returncode == 0
    rows = {row["key"]: row for row in read_json(tmp_path / "c.json")["result"]["rows"]}
    # The driver, which definitions bill as a node unless they say otherwise, and two workers.
    assert float(rows["me"]["node_hours"]) > 0
    assert (tmp_path / "ws" / "runs" / run["run_id"] / "usage.parquet").is_file()


def test_a_second_cluster_of_one_name_is_refused(cli: Any, small: str, definition: Path) -> None:
    done = cli("clusters", "create", str(definition))
    assert done.returncode == 2
    assert "error: there is a cluster 'small' already (RUNNING)" in done.stderr
    assert "hint: take another name, or remove it with `nodewise clusters delete small`" in done.stderr


def test_a_cluster_that_is_up_is_not_started_again(cli: Any, small: str) -> None:
    done = cli("clusters", "start", small)
    assert done.returncode == 2
    assert "error: cluster 'small' is RUNNING already" in done.stderr


def test_two_commands_do_not_share_a_cluster(
    cli: Any, environment: dict[str, str], tmp_path: Path, small: str, digits_folder: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from nodewise.clusters.link import take_cluster;"
        "from nodewise.workspace import Workspace;"
        "held = take_cluster(Workspace(Path(sys.argv[1])), 'small', 'run-1', 'train', {});"
        "print('HAS IT', flush=True); time.sleep(600)"
    )
    holder = [sys.executable, "-c", code, environment["NODEWISE_WORKSPACE"]]
    with subprocess.Popen(holder, env=environment, stdout=subprocess.PIPE) as first:
        try:
            assert first.stdout is not None
            assert first.stdout.readline() == b"HAS IT\n"
            done = cli("prepare", str(digits_folder), "shards", "--size", "32", "--cluster", small)
            assert done.returncode == 2
            assert "error: cluster 'small' is busy with run run-1 (train)" in done.stderr
            done = cli("clusters", "stop", small)
            assert done.returncode == 2
            assert "hint: wait for it, or stop it all the same with --force" in done.stderr
        finally:
            os.kill(first.pid, signal.SIGKILL)
    # Whoever had it is gone, so it is free.
    done = cli("prepare", str(digits_folder), "shards", "--size", "32", "--sample", "0.1", "--cluster", small)
    assert done.returncode == 0, done.stderr


def test_a_job_on_a_cluster_that_is_down_says_how_to_bring_it_up(cli: Any, small: str) -> None:
    assert cli("clusters", "stop", small).returncode == 0
    done = cli("prepare", "digits", "shards", "--size", "32", "--cluster", small)
    assert done.returncode == 2
    assert "error: cluster 'small' is TERMINATED, not RUNNING" in done.stderr
    assert "hint: `nodewise clusters start small` brings it up" in done.stderr


def test_a_cluster_nobody_knows_is_named(cli: Any) -> None:
    done = cli("prepare", "digits", "shards", "--cluster", "nowhere")
    assert done.returncode == 2
    assert "error: unknown cluster 'nowhere'" in done.stderr


def test_deleting_needs_a_yes(cli: Any, small: str) -> None:
    done = cli("clusters", "delete", small)
    assert done.returncode == 2
    assert "add -y; nothing was deleted" in done.stderr
    assert cli("clusters", "show", small).returncode == 0
