"""``nodewise run`` as people use it: on every engine, and however it ends."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.engines.clusters import requires_java

from nodewise.workspace import Workspace

from .conftest import Cli, Mark

EXAMPLES = Path(__file__).parents[2] / "examples"
SPARK = """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("sums").getOrCreate()
numbers = spark.sparkContext.parallelize(range(8), 4).map(lambda i: (i % 2, i))
print(sorted(numbers.reduceByKey(lambda a, b: a + b, 2).collect()), sys.argv[1:], flush=True)
spark.stop()
"""
RAY = """
import sys
import ray
ray.init(log_to_driver=False)

@ray.remote
def double(number):
    return 2 * number

@ray.remote(max_retries=0)
def fail():
    raise ValueError("on purpose")

print(ray.get([double.remote(number) for number in range(5)]), sys.argv[1:], flush=True)
try:
    ray.get(fail.remote())
except ValueError:
    sys.exit(4)
"""
WAITING = {
    "program": "import time\nprint('READY', flush=True)\ntime.sleep(600)",
    "spark": """
import time
from pyspark.sql import SparkSession
context = SparkSession.builder.getOrCreate().sparkContext
print('READY', flush=True)
context.parallelize(range(2), 2).foreach(lambda _: time.sleep(600))
""",
    "ray": """
import time
import ray
ray.init(log_to_driver=False)

@ray.remote
def wait():
    time.sleep(600)

print('READY', flush=True)
ray.get([wait.remote() for _ in range(2)])
""",
}

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def workspace(environment: dict[str, str]) -> Workspace:
    return Workspace(Path(environment["NODEWISE_WORKSPACE"]))


@pytest.fixture
def started(tmp_path: Path, environment: dict[str, str]) -> Iterator[Started]:
    """Starts a program that waits, with these options, and returns when it runs."""
    processes: list[subprocess.Popen[str]] = []

    def start(script: str, *options: str) -> subprocess.Popen[str]:
        (tmp_path / "waits.py").write_text(script)
        process = subprocess.Popen(
            [sys.executable, "-m", "nodewise", "run", *options, "--", "python", "waits.py"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        for line in process.stdout:
            if line == "READY\n":
                return process
        raise AssertionError(process.communicate()[1])

    yield start
    for process in processes:
        with process:
            process.kill()


def test_output_and_json_keep_apart(cli: Cli, tmp_path: Path, workspace: Workspace) -> None:
    done = cli("run", "--json", "-", "--", "sh", "-c", "echo out; echo err >&2")
    assert done.returncode == 0
    content = json.loads(done.stdout)
    assert (content["ok"], content["command"]) == (True, "run")
    result = content["result"]
    assert {"run_id", "kind", "exit_status", "seconds", "start_up_seconds", "stages", "tasks"} <= set(result)
    assert {"failed_tasks", "stdout_path", "stderr_path", "cluster"} <= set(result)
    assert "out\n" in done.stderr
    assert "err\n" in done.stderr
    assert Path(result["stdout_path"]).read_text() == "out\n"
    assert workspace.get_run(result["run_id"]).command == "run"


def test_options_after_the_dashes_are_the_programs(cli: Cli) -> None:
    done = cli("run", "--", "echo", "--help", "--json", "--", "-x")
    assert (done.returncode, done.stdout) == (0, "--help --json -- -x\n")


def test_a_program_that_fails_is_told_with_its_status(
    cli: Cli, tmp_path: Path, read_json: Callable[[Path], dict[str, Any]]
) -> None:
    done = cli("run", "--json", "run.json", "--", "sh", "-c", "echo no luck >&2; exit 3")
    assert done.returncode == 1
    assert "error: sh ended with exit status 3: no luck\n" in done.stderr
    content = read_json(tmp_path / "run.json")
    assert (content["ok"], content["error"]["code"]) == (False, "program_failed")
    assert content["result"]["exit_status"] == 3
    assert content["result"]["stderr_path"] in content["error"]["hint"]


def test_a_script_for_another_engine_starts_nothing(cli: Cli, tmp_path: Path, workspace: Workspace) -> None:
    (tmp_path / "sums.py").write_text(SPARK)
    done = cli("run", "--engine", "ray", "--nodes", "2", "--", "python", "sums.py")
    assert done.returncode == 2
    assert "error: sums.py is a program for spark, and the cluster's engine is 'ray'\n" in done.stderr
    assert workspace.list_runs() == []


def test_a_reader_that_leaves_ends_the_program(tmp_path: Path, environment: dict[str, str], mark: Mark) -> None:
    command = f"{sys.executable} -m nodewise run -- yes | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (141, "y\n")
    assert mark.left() == []


def wait_for(process: subprocess.Popen[str]) -> int:
    return process.wait(60)


@pytest.mark.parametrize(
    ("number", "status", "kept"),
    [
        pytest.param(signal.SIGINT, 130, "KILLED", id="ctrl-c"),
        pytest.param(signal.SIGTERM, 143, "KILLED", id="sigterm"),
        pytest.param(signal.SIGKILL, -9, "RUNNING", id="kill-9"),
    ],
)
@pytest.mark.parametrize("nodes", ["1", "2"])
def test_nothing_of_a_program_outlives_the_command(
    number: signal.Signals, status: int, kept: str, nodes: str, started: Started, mark: Mark, workspace: Workspace
) -> None:
    process = started(WAITING["program"], "--nodes", nodes)
    process.send_signal(number)
    assert wait_for(process) == status
    assert mark.left() == []
    (run,) = workspace.list_runs()
    assert run.status.value in (kept, "KILLED")
    assert (workspace.run_dir(run.run_id) / "stdout.log").read_text() == "READY\n"


def test_a_program_that_will_not_end_is_killed(started: Started, mark: Mark) -> None:
    script = "import signal, subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITING["program"]
    process = started(script)
    process.send_signal(signal.SIGTERM)
    assert wait_for(process) == 143
    assert mark.left(0.5) == []


def test_a_program_whose_keeper_is_killed_ends_with_it(started: Started, mark: Mark) -> None:
    process = started(WAITING["program"])
    (keeper,) = [each for each in mark.processes() if any("keeper.py" in word for word in each.cmdline())]
    keeper.kill()
    assert wait_for(process) == 1
    assert process.stderr is not None
    assert "the process that looks after the program was killed" in process.stderr.read()
    assert mark.left() == []


@requires_java
@pytest.mark.xdist_group("spark")
def test_the_spark_example_runs_on_all_nodes_and_its_stages_are_kept(
    cli: Cli, tmp_path: Path, workspace: Workspace, read_json: Callable[[Path], dict[str, Any]], mark: Mark
) -> None:
    secret = "hunter2-9f8e7d"
    options = ["--engine", "spark", "--nodes", "2", "--cores-per-node", "1", "--json", "run.json"]
    script = ["spark-submit", "--conf", f"spark.my.password={secret}", str(EXAMPLES / "estimate_pi.py")]
    done = cli("run", *options, "--", *script, "--darts", "4000", "--tasks", "4")
    assert done.returncode == 0, done.stderr
    throws = [random.Random(seed).random for seed in range(4)]
    hits = sum(throw() ** 2 + throw() ** 2 < 1 for throw in throws for _ in range(1000))
    assert f"pi is about {hits / 1000:.4f}\n" in done.stdout
    result = read_json(tmp_path / "run.json")["result"]
    assert (result["kind"], result["stages"], result["tasks"], result["failed_tasks"]) == ("spark", 1, 4, 0)
    assert result["notes"] == []
    run = workspace.get_run(result["run_id"])
    assert [(stage.name.split(" at ")[0], stage.num_tasks) for stage in run.stages] == [("0: sum", 4)]
    tasks = workspace.read_tasks(run.run_id)
    assert {task.node for task in tasks} == {"node-0", "node-1"}
    assert all(task.cpu_s > 0 for task in tasks)
    kept = [path for path in workspace.root.rglob("*") if path.is_file()]
    assert [path for path in kept if secret.encode() in path.read_bytes()] == []
    assert mark.left() == []


@requires_java
@pytest.mark.xdist_group("spark")
@pytest.mark.slow
def test_a_spark_script_that_dies_keeps_what_its_log_has(cli: Cli, tmp_path: Path, workspace: Workspace) -> None:
    script = SPARK.replace("spark.stop()", "import os; os.kill(os.getppid(), 9); import time; time.sleep(60)")
    (tmp_path / "sums.py").write_text(script)
    done = cli("run", "--engine", "spark", "--cores-per-node", "1", "--", "sums.py")
    assert done.returncode == 1, done.stderr
    (run,) = workspace.list_runs()
    assert run.status.value == "FAILED"
    assert run.stages[0].name.startswith("0: reduceByKey")
    assert run.result is not None
    assert run.result["command"]["exit_status"] == 137
    assert run.result["command"]["notes"] == ["the event log lacks the application's end"]


@pytest.mark.xdist_group("ray")
def test_a_ray_script_is_a_job_whose_tasks_are_kept(
    cli: Cli, tmp_path: Path, workspace: Workspace, read_json: Callable[[Path], dict[str, Any]], mark: Mark
) -> None:
    (tmp_path / "doubles.py").write_text(RAY)
    options = ["--engine", "ray", "--cores-per-node", "1", "--json", "run.json"]
    done = cli("run", *options, "--", "python", "doubles.py", "a b")
    assert done.returncode == 1, done.stderr
    assert "[0, 2, 4, 6, 8] ['a b']\n" in done.stdout
    result = read_json(tmp_path / "run.json")["result"]
    assert (result["kind"], result["exit_status"], result["tasks"], result["failed_tasks"]) == ("ray", 4, 5, 1)
    tasks = workspace.read_tasks(result["run_id"])
    assert {(task.stage, task.node) for task in tasks} == {("double", "node-0")}
    assert mark.left() == []


@requires_java
@pytest.mark.xdist_group("spark")
def test_nothing_of_a_spark_program_outlives_a_command_that_was_killed(started: Started, mark: Mark) -> None:
    process = started(WAITING["spark"], "--engine", "spark", "--cores-per-node", "1")
    process.kill()
    assert wait_for(process) == -9
    assert mark.left() == []


@pytest.mark.xdist_group("ray")
@pytest.mark.slow
def test_a_ray_job_on_a_cluster_that_stays_up_is_stopped_when_its_command_is_killed(
    cli: Cli, tmp_path: Path, started: Started, mark: Mark, read_json: Callable[[Path], dict[str, Any]]
) -> None:
    (tmp_path / "cluster.yaml").write_text("name: stays\nengine: ray\nworkers: 1\ncores_per_node: 1\n")
    created = cli("clusters", "create", "cluster.yaml")
    assert created.returncode == 0, created.stderr

    def of_the_job() -> list[str]:
        lines = []
        for process in mark.processes():
            with suppress(psutil.Error):
                lines.append(" ".join(process.cmdline()))
        return [
            line for line in lines if any(word in line for word in ("waits.py", "nodewise.jobs.ray_job", "ray::wait"))
        ]

    try:
        process = started(WAITING["ray"], "--cluster", "stays")
        assert len(of_the_job()) >= 2
        process.kill()
        assert wait_for(process) == -9
        deadline = time.monotonic() + 10
        while of_the_job() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert of_the_job() == []
        (tmp_path / "one.txt").write_text("a word or two")
        (tmp_path / "two.txt").write_text("three")
        script = ["python", str(EXAMPLES / "word_lengths.py"), "one.txt", "two.txt"]
        done = cli("run", "--cluster", "stays", "--json", "run.json", "--", *script)
        # 1, 4, 2, 3 and 5 letters.
        assert "5 words of 3.00 letters\n" in done.stdout
        result = read_json(tmp_path / "run.json")["result"]
        assert (result["cluster"], result["stages"], result["tasks"]) == ("stays", 1, 2)
    finally:
        cli("clusters", "stop", "stays", "--force")
    assert mark.left() == []
