"""The frame of the command line, in processes of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nodewise.specs.cluster import ClusterSpec
from nodewise.workspace import Workspace

HEAVY = ("cv2", "matplotlib", "numpy", "psutil", "pyarrow", "pydantic", "ray", "sklearn", "sqlalchemy", "torch", "yaml")


def nodewise(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "NODEWISE_WORKSPACE"}
    return subprocess.run(
        [sys.executable, "-m", "nodewise", *arguments],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def with_command(body: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """``nodewise probe ...``, where probe is one more command with that body."""
    script = cwd / "probe.py"
    script.write_text(
        "from nodewise.cli.main import app, main\n"
        "from nodewise.cli.options import *\n"
        "from nodewise.core.errors import *\n"
        "@app.command()\n"
        "def probe(json_path: JsonOption = None, workspace: WorkspaceOption = None, _debug: DebugOption = False):\n"
        f"    {body}\n"
        "main()\n"
    )
    return subprocess.run(
        [sys.executable, script, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )


def killed_run(root: Path) -> str:
    """The id of a run that can be deleted: its process is gone."""
    code = (
        "import sys; from pathlib import Path; from nodewise.workspace import Workspace\n"
        "from nodewise.specs.cluster import ClusterSpec\n"
        "print(Workspace(Path(sys.argv[1])).create_run('train', ClusterSpec(engine='local')).run_id)"
    )
    return subprocess.run([sys.executable, "-c", code, root], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "command", [(), ("nodes", "list"), ("runs", "show"), ("runs", "delete"), ("datasets", "fetch")]
)
def test_help_goes_to_standard_output_with_an_example(tmp_path: Path, command: tuple[str, ...]) -> None:
    result = nodewise(*command, "--help", cwd=tmp_path)

    assert (result.returncode, result.stderr) == (0, "")
    assert "Example: nodewise" in result.stdout
    assert "--debug" in result.stdout
    assert "--workspace FOLDER" in result.stdout


def test_no_arguments_show_the_help(tmp_path: Path) -> None:
    assert nodewise(cwd=tmp_path).stdout == nodewise("--help", cwd=tmp_path).stdout


def test_the_version_is_that_of_the_package(tmp_path: Path) -> None:
    assert nodewise("--version", cwd=tmp_path).stdout == "nodewise 0.1.0\n"


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.argv = ['nodewise', '--help']\nfrom nodewise.cli.main import main\n"
        f"try:\n    main()\nfinally:\n    print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.stdout.splitlines()[-1] == "LOADED []"


@pytest.mark.parametrize(
    ("arguments", "command", "message"),
    [
        (("runs", "list", "--foo"), "runs list", "--foo"),
        (("runs", "show"), "runs show", "ID"),
        (("runs",), "runs", "--json"),
        (("rnus", "list"), "", "rnus"),
        (("nodes", "list", "--vcpus", "many"), "nodes list", "--vcpus"),
    ],
)
def test_wrong_usage_is_exit_2_on_one_line_and_in_the_json(
    tmp_path: Path, arguments: tuple[str, ...], command: str, message: str
) -> None:
    result = nodewise(*arguments, "--json", "out.json", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert hint.startswith("hint: ")
    written = json.loads((tmp_path / "out.json").read_text())
    assert (written["ok"], written["result"], written["command"]) == (False, None, command)
    assert written["error"]["code"] == "usage"
    assert error == f"error: {written['error']['message']}"


def test_an_error_is_one_line_with_a_hint_and_the_exit_status_of_its_class(tmp_path: Path) -> None:
    result = nodewise("nodes", "list", "--cloud", "azur", "--json", "-", cwd=tmp_path)

    assert result.returncode == 2
    assert result.stderr == (
        "error: unknown cloud 'azur'; expected one of 'aws', 'azure', 'gcp'\nhint: did you mean 'azure'?\n"
    )
    assert json.loads(result.stdout) == {
        "ok": False,
        "error": {
            "code": "unknown_name",
            "message": "unknown cloud 'azur'; expected one of 'aws', 'azure', 'gcp'",
            "hint": "did you mean 'azure'?",
        },
        "command": "nodes list",
        "result": None,
    }


def test_a_failed_run_is_exit_1(tmp_path: Path) -> None:
    result = with_command("raise JobFailedError('it broke', hint='mend it')", "probe", cwd=tmp_path)

    assert result.returncode == 1
    assert result.stderr == "error: it broke\nhint: mend it\n"


def test_what_users_named_is_shown_as_it_is_and_on_one_line(tmp_path: Path) -> None:
    result = with_command(r"raise InputError('[red]a\nb\x1b[31m[/nonsense] :boom:')", "probe", cwd=tmp_path)

    assert result.stderr == "error: [red]a\\nb\\x1b[31m[/nonsense] :boom:\n"


def test_a_traceback_is_shown_with_debug_only_before_or_after_the_command(tmp_path: Path) -> None:
    body = "raise JobFailedError('it broke', detail='line of the worker')"

    assert "Traceback" not in with_command(body, "probe", cwd=tmp_path).stderr
    for arguments in (("--debug", "probe"), ("probe", "--debug")):
        result = with_command(body, *arguments, cwd=tmp_path)
        assert "Traceback" in result.stderr
        assert "line of the worker" in result.stderr
        assert result.returncode == 1


def test_a_bug_is_exit_70_and_says_so(tmp_path: Path) -> None:
    result = with_command("1 / 0", "probe", "--json", "-", cwd=tmp_path)

    assert result.returncode == 70
    assert result.stderr.splitlines()[0] == "error: internal error: ZeroDivisionError: division by zero"
    assert "--debug" in result.stderr.splitlines()[1]
    assert json.loads(result.stdout)["error"]["code"] == "internal"


def test_ctrl_c_is_exit_130_and_in_the_json(tmp_path: Path) -> None:
    body = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(60)"

    result = with_command(body, "probe", "--json", "out.json", cwd=tmp_path)

    assert (result.returncode, result.stderr) == (130, "error: interrupted\n")
    assert json.loads((tmp_path / "out.json").read_text())["error"]["code"] == "interrupted"


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_unwinds_once(tmp_path: Path, name: str, status: int) -> None:
    body = (
        "import os, signal, time\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{name}); time.sleep(60)\n"
        "    finally:\n"
        f"        os.kill(os.getpid(), signal.{name}); time.sleep(0.01)\n"
        "        print('cleaned up')"
    )

    result = with_command(body, "probe", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (status, "cleaned up\n")
    assert result.stderr == "error: ended by a signal\n"


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nodewise", "nodes", "list"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_the_workspace_may_be_given_before_or_after_the_command_or_by_the_environment(tmp_path: Path) -> None:
    run_id = Workspace(tmp_path / "w").create_run("train", ClusterSpec(engine="local")).run_id
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"NODEWISE_WORKSPACE": str(tmp_path / "w")}
    command = [sys.executable, "-m", "nodewise", "runs", "list"]

    by_environment = subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=True)

    assert run_id in by_environment.stdout
    assert run_id in nodewise("runs", "list", "--workspace", "../w", cwd=elsewhere).stdout
    assert run_id in nodewise("--workspace", "../w", "runs", "list", cwd=elsewhere).stdout
    assert run_id in nodewise("--workspace", "x", "runs", "list", "--workspace", "../w", cwd=elsewhere).stdout
    assert "no runs in" in nodewise("runs", "list", cwd=elsewhere).stderr
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [(".", "--json . is a folder"), ("file/out.json", "--json file/out.json cannot be written")],
)
def test_a_json_file_that_cannot_be_written_is_found_before_anything_starts(
    tmp_path: Path, path: str, message: str
) -> None:
    (tmp_path / "file").touch()

    result = with_command("print('started')", "probe", "--json", path, cwd=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}")


@pytest.mark.parametrize("arguments", [("--vcpus", "4", "--json"), ("--json", "--vcpus", "4")])
def test_json_without_a_file_is_standard_output(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = nodewise("nodes", "list", *arguments, cwd=tmp_path)
    assert json.loads(result.stdout)["result"]["node_types"]
    assert list(tmp_path.iterdir()) == []


def test_json_without_a_file_is_where_errors_go_too(tmp_path: Path) -> None:
    result = nodewise("nodes", "list", "--cloud", "azur", "--json", cwd=tmp_path)
    assert result.returncode == 2
    assert json.loads(result.stdout)["error"]["code"] == "unknown_name"


def test_json_into_a_pipe_goes_through_it_and_does_not_replace_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = [sys.executable, "-m", "nodewise", "nodes", "list", "--vcpus", "4", "--json", "pipe"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as process:
        assert json.loads((tmp_path / "pipe").read_text())["ok"] is True
    assert process.returncode == 0
    assert (tmp_path / "pipe").is_fifo()


def test_json_in_a_new_folder_makes_the_folder(tmp_path: Path) -> None:
    assert nodewise("nodes", "list", "--json", "a/b/out.json", cwd=tmp_path).returncode == 0
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out.json"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_question_can_be_interrupted_and_nothing_is_deleted(tmp_path: Path, number: int, status: int) -> None:
    run_id = killed_run(tmp_path / "w")
    terminal, their_end = pty.openpty()
    command = [sys.executable, "-m", "nodewise", "runs", "delete", run_id, "--workspace", "w"]
    with subprocess.Popen(command, cwd=tmp_path, stdin=their_end, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        asked = b""
        while b"Delete 1 run?" not in asked:
            asked += os.read(process.stderr.fileno(), 1000)
        process.send_signal(number)
        process.wait(30)
    os.close(terminal)
    os.close(their_end)

    assert process.returncode == status
    assert Workspace(tmp_path / "w").run_dir(run_id).is_dir()
