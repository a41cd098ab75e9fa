"""Programs as runs: what is kept of their output, their end and their tasks."""

from __future__ import annotations

import io
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.engines.processes import MARK, LeftOver, marked_processes

import nodewise
from nodewise.core.errors import InputError, ProgramFailedError
from nodewise.isolation.tiers import detect_tier
from nodewise.runs.node_cpu import NodeCpu
from nodewise.specs.place import EmulationTier, NodePlace
from nodewise.specs.results import CommandResult
from nodewise.specs.run import RunRecord, RunStatus, TaskRecord
from nodewise.workspace import Workspace

SECRET = "hunter2-9f8e7d"


class Ran:
    """Runs a program and keeps what it wrote."""

    def __init__(self, root: Path) -> None:
        self.workspace = Workspace(root / "workspace")
        self.stdout, self.stderr = io.BytesIO(), io.BytesIO()

    def __call__(self, *command: str, **options: Any) -> CommandResult:
        options = {"workspace": self.workspace.root, **options}
        return nodewise.run(command, stdout=self.stdout, stderr=self.stderr, **options)

    @property
    def record(self) -> RunRecord:
        (run,) = self.workspace.list_runs()
        return run

    @property
    def tasks(self) -> list[TaskRecord]:
        return list(self.workspace.read_tasks(self.record.run_id))


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    monkeypatch.chdir(tmp_path)
    return Ran(tmp_path)


@pytest.fixture
def left_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> LeftOver:
    monkeypatch.setenv(MARK, str(tmp_path))
    return lambda: marked_processes(str(tmp_path))


def python(code: str) -> list[str]:
    return [sys.executable, "-c", textwrap.dedent(code)]


def test_a_program_is_one_task_of_one_stage_on_the_first_node(ran: Ran) -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass\nprint('done')"
    result = ran(*python(burn), tags={"team": "a"})
    assert (result.kind, result.exit_status) == ("program", 0)
    assert (result.stages, result.tasks, result.failed_tasks) == (1, 1, 0)
    assert ran.stdout.getvalue() == b"done\n"
    assert (Path(result.stdout_path).read_text(), Path(result.stderr_path).read_text()) == ("done\n", "")
    (task,) = ran.tasks
    assert (task.node, task.task, task.retries) == ("node-0", 0, 0)
    # The interpreter's start is its, too; the keeper beside it is not.
    assert 0.4 <= task.cpu_s < 2
    assert task.wall_s >= 0.4
    assert task.peak_memory_bytes > 2**20
    run = ran.record
    assert (run.status, run.command, run.tags) == (RunStatus.FINISHED, "run", {"team": "a"})
    assert run.result == {"command": json.loads(json.dumps(run.result))["command"]}
    assert [stage.num_tasks for stage in run.stages] == [1]
    assert run.cluster_s is not None
    assert run.cluster_s >= result.seconds + result.start_up_seconds


def test_no_shell_looks_at_a_command_unless_it_is_one(ran: Ran) -> None:
    ran("echo", "$HOME", "a;b", "*")
    ran("sh", "-c", "echo one; echo two >&2")
    assert ran.stdout.getvalue() == b"$HOME a;b *\none\n"
    assert ran.stderr.getvalue() == b"two\n"


def test_a_program_finds_its_node_the_cluster_and_a_folder(ran: Ran, tmp_path: Path) -> None:
    code = "import os; print(*(os.environ['NODEWISE_' + name] for name in ('NODE', 'NODES', 'OUTPUT')), sep='|')"
    result = ran(*python(code), output=tmp_path / "mine")
    assert ran.stdout.getvalue().decode() == f"node-0|1|{tmp_path / 'mine'}\n"
    assert result.stdout_path == str(tmp_path / "mine" / "stdout.log")


def test_on_several_nodes_a_program_runs_in_the_place_of_the_first(ran: Ran, left_over: LeftOver) -> None:
    result = ran(*python("import os; print(os.environ['NODEWISE_NODE'], os.environ['NODEWISE_NODES'])"), nodes=2)
    assert ran.stdout.getvalue() == b"node-0 2\n"
    assert result.nodes == 2
    assert ran.record.emulation_tier is not None
    assert left_over() == []


def test_a_program_that_fails_fails_the_run_with_its_status_and_last_lines(ran: Ran) -> None:
    with pytest.raises(ProgramFailedError) as caught:
        ran("sh", "-c", "echo out; echo first >&2; echo last >&2; exit 7")
    error = caught.value
    assert error.message == "sh ended with exit status 7: first | last"
    assert error.hint == f"its output: {error.result.stderr_path}"
    assert (error.exit_code, error.result.exit_status, error.result.failed_tasks) == (1, 7, 1)
    run = ran.record
    assert (run.status, run.error) == (RunStatus.FAILED, error.to_json())
    assert run.result is not None
    assert run.result["command"]["exit_status"] == 7
    assert (ran.tasks, len(run.stages)) == ([], 1)


def test_a_program_that_a_signal_ends_has_the_status_that_a_shell_gives_it(ran: Ran) -> None:
    with pytest.raises(ProgramFailedError, match="sh was ended by SIGSEGV: it wrote nothing") as caught:
        ran("sh", "-c", "kill -SEGV $$")
    assert caught.value.result.exit_status == 139


@pytest.mark.skipif(
    detect_tier(None).tier is EmulationTier.PROCESSES, reason="this machine has no control groups to limit memory with"
)
def test_a_program_that_outgrows_its_node_is_told_why_it_was_killed(ran: Ran, left_over: LeftOver) -> None:
    with pytest.raises(ProgramFailedError) as caught:
        ran(*python("bytearray(200 << 20)"), memory_per_node="64MiB")
    assert caught.value.result.exit_status == 137
    assert "was ended by SIGKILL" in caught.value.message
    assert "(1 processes were ended at the node's memory limit of 64.0 MiB)" in caught.value.message
    assert left_over() == []


def test_a_folder_can_take_one_program_after_another(ran: Ran, tmp_path: Path) -> None:
    Path("work.ipynb").write_text(notebook("1"))
    ran("work.ipynb", output=tmp_path / "mine")
    Path("work.ipynb").write_text('{"nbformat": 4}')
    with pytest.raises(ProgramFailedError, match=r"work\.ipynb is no notebook: ") as caught:
        ran("work.ipynb", output=tmp_path / "mine")
    # Nothing of the first is taken for the second's.
    assert (caught.value.result.tasks, caught.value.result.notebook_path) == (0, None)


def test_what_a_program_leaves_running_is_ended_with_it(ran: Ran, left_over: LeftOver) -> None:
    ran("sh", "-c", "sleep 300 & setsid sh -c 'trap \"\" TERM; sleep 300; sleep 300' & echo left")
    assert ran.stdout.getvalue() == b"left\n"
    assert left_over() == []


def test_secrets_reach_the_terminal_alone(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", SECRET)
    code = f"import os, sys; print(os.environ['MY_API_TOKEN']); sys.exit('password={SECRET}')"
    with pytest.raises(ProgramFailedError) as caught:
        ran(*python(code), "--token", SECRET, f"https://user:{SECRET}@host/")
    assert ran.stdout.getvalue().decode() == f"{SECRET}\n"
    assert SECRET not in str(caught.value.to_json())
    kept = [path for path in ran.workspace.root.rglob("*") if path.is_file()]
    assert any(path.name == "stdout.log" and path.read_text() == "***\n" for path in kept)
    assert [path for path in kept if SECRET.encode() in path.read_bytes()] == []


def test_output_of_any_length_and_any_bytes_is_passed_on(ran: Ran) -> None:
    code = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 8192); sys.stderr.write('e' * 300000)"
    result = ran(*python(code))
    assert ran.stdout.getvalue() == bytes(range(256)) * 8192
    assert ran.stderr.getvalue() == b"e" * 300000
    assert Path(result.stdout_path).read_bytes() == ran.stdout.getvalue()


def test_a_stream_that_takes_text_alone_gets_text(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    nodewise.run(["printf", "gr\\303\\274n\\n"], stderr=ran.stderr, workspace=ran.workspace.root)
    assert shown.getvalue() == "gr\u00fcn\n"


class Closed(io.BytesIO):
    """A terminal that is gone."""

    def write(self, _data: object) -> int:
        raise BrokenPipeError("gone")


def test_a_program_is_ended_when_nobody_takes_its_output(ran: Ran, left_over: LeftOver) -> None:
    ran.stdout = Closed()
    with pytest.raises(BrokenPipeError):
        ran("sh", "-c", "echo one; sleep 300")
    assert left_over() == []
    assert ran.record.status is RunStatus.FAILED


def test_a_program_that_is_not_there_starts_nothing(ran: Ran) -> None:
    with pytest.raises(InputError, match="there is no program 'no-such-program'"):
        ran("no-such-program")
    assert ran.workspace.list_runs() == []


def notebook(*sources: str) -> str:
    cells = [
        {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source}
        for source in sources
    ]
    text = {"cell_type": "markdown", "metadata": {}, "source": "# A title"}
    metadata = {"kernelspec": {"name": "somebody-elses", "display_name": "x", "language": "python"}}
    return json.dumps({"cells": [text, *cells], "metadata": metadata, "nbformat": 4, "nbformat_minor": 4})


def test_the_cells_of_a_notebook_are_tasks_and_the_executed_one_is_kept(ran: Ran) -> None:
    folder = Path("notes")
    folder.mkdir()
    before = notebook("import os; x = 20", "", "print(os.path.basename(os.getcwd())); x + 22")
    (folder / "work.ipynb").write_text(before)
    result = ran("notes/work.ipynb")
    assert (result.kind, result.stages, result.tasks, result.failed_tasks) == ("notebook", 1, 2, 0)
    assert ran.stdout.getvalue() == b"notes\n42\n"
    assert [(task.stage, task.task, task.node) for task in ran.tasks] == [
        ("work.ipynb", 0, "node-0"),
        ("work.ipynb", 1, "node-0"),
    ]
    executed = json.loads(Path(str(result.notebook_path)).read_text())
    assert executed["cells"][3]["outputs"][-1]["data"]["text/plain"] == ["42"]
    assert (folder / "work.ipynb").read_text() == before


def test_a_notebook_whose_cell_fails_is_kept_up_to_there(ran: Ran, left_over: LeftOver) -> None:
    Path("work.ipynb").write_text(notebook("print('one')", "1 / 0", "print('never')"))
    with pytest.raises(ProgramFailedError, match=r"exit status 1: .*ZeroDivisionError") as caught:
        ran("work.ipynb")
    result = caught.value.result
    assert (result.tasks, result.failed_tasks) == (1, 1)
    cells = json.loads(Path(str(result.notebook_path)).read_text())["cells"]
    assert [len(cell["outputs"]) for cell in cells[1:]] == [1, 1, 0]
    assert ran.stdout.getvalue() == b"one\n"
    assert left_over() == []


def task(node: str, started_at: float, ended_at: float, cpu_s: float) -> TaskRecord:
    return TaskRecord(
        stage="s",
        task=0,
        node=node,
        started_at=started_at,
        ended_at=ended_at,
        cpu_s=cpu_s,
        records=0,
        read_bytes=0,
        written_bytes=0,
        peak_memory_bytes=0,
        retries=0,
    )


def test_cpu_time_of_a_node_is_shared_by_wall_time_beyond_what_tasks_tell(tmp_path: Path) -> None:
    def used(seconds: float) -> None:
        (tmp_path / "cpu.stat").write_text(f"usage_usec {round(seconds * 1e6)}\n")

    used(5)
    cpu = NodeCpu([NodePlace(name="node-0", host="127.0.0.3", cgroup_dirs=(str(tmp_path),))])
    used(15)
    # Of 10 s the tasks tell 2; the other 8 are 3 : 1. What has no group keeps what it tells.
    shared = cpu.shared([task("node-0", 0, 3, 2.0), task("node-0", 3, 4, 0.0), task("elsewhere", 0, 1, 0.5)])
    assert [one.cpu_s for one in shared] == [8.0, 2.0, 0.5]
