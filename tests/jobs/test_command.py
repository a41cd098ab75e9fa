"""What kind of program a command is, and what starts it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from nodewise.core.errors import InputError
from nodewise.jobs.command import Program, notebook_command, ray_command, recognise, spark_command


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("spark.py").write_text("def f():\n    from pyspark.sql import SparkSession\n")
    Path("ray_.py").write_text("import numpy, ray.util as u\n")
    Path("both.py").write_text("import ray\nimport pyspark\n")
    Path("plain.py").write_text("import json\nfrom .pyspark import x\n# import ray\nname = 'import ray'\n")
    Path("broken.py").write_text("import ray\ndef (:\n")
    Path("work.ipynb").write_text('{"nbformat": 4}')
    Path("empty.ipynb").write_text("{}")
    Path("cut.ipynb").write_text('{"nbformat": 4, ')


@pytest.mark.parametrize(
    ("command", "engine", "kind"),
    [
        ("spark.py", "spark", "spark"),
        ("python spark.py --rows 3", "spark", "spark"),
        ("/usr/bin/python3.11 spark.py", "spark", "spark"),
        ("spark-submit --name x app.jar", "spark", "spark"),
        ("python ray_.py", "ray", "ray"),
        ("both.py", "ray", "ray"),
        ("both.py", "spark", "spark"),
        ("plain.py", "spark", "program"),
        ("work.ipynb", "local", "notebook"),
        ("work.ipynb", "ray", "notebook"),
        ("sh -c true", "spark", "program"),
        ("python -c pass", "ray", "program"),
        ("python -m pyspark", "spark", "program"),
    ],
)
def test_the_kind_is_told_from_the_command_and_what_the_file_imports(command: str, engine: str, kind: str) -> None:
    assert recognise(command.split(), "auto", engine, Path.cwd()).kind == kind  # type: ignore[arg-type]


def test_python_before_a_script_is_dropped_and_its_arguments_are_kept() -> None:
    program = recognise(["python3", "spark.py", "--rows", "a b"], "auto", "spark", Path.cwd())
    assert program.arguments == ("spark.py", "--rows", "a b")
    assert (program.name, program.file) == ("spark.py", Path.cwd() / "spark.py")


def test_a_script_without_python_is_run_by_this_python() -> None:
    assert recognise(["plain.py", "1"], "auto", "local", Path.cwd()).command == (sys.executable, "plain.py", "1")
    assert recognise(["python", "plain.py"], "auto", "local", Path.cwd()).command == ("python", "plain.py")


def test_any_kind_of_script_can_be_run_as_a_program() -> None:
    program = recognise(["python", "spark.py"], "program", "local", Path.cwd())
    assert (program.kind, program.command, program.name) == ("program", ("python", "spark.py"), "spark.py")


@pytest.mark.parametrize(
    ("command", "kind", "engine", "message"),
    [
        ([], "auto", "local", "no program is given"),
        (["  "], "auto", "local", "no program is given"),
        (["python", "missing.py"], "auto", "local", "missing.py does not exist"),
        (["missing.ipynb"], "auto", "local", "missing.ipynb does not exist"),
        (["broken.py"], "auto", "ray", "broken.py, line 2: not valid Python"),
        (["no-such-program-here"], "auto", "local", "there is no program 'no-such-program-here'"),
        (["python", "spark.py"], "auto", "ray", "spark.py is a program for spark, and the cluster's engine is 'ray'"),
        (["ray_.py"], "auto", "local", "ray_.py is a program for ray, and the cluster's engine is 'local'"),
        (["spark-submit", "app.jar"], "auto", "ray", "for spark, and the cluster's engine is 'ray'"),
        (["sh", "-c", "true"], "ray", "ray", "'sh' is no Python file"),
        (["sh"], "notebook", "local", "'sh' is no notebook"),
        (["empty.ipynb"], "auto", "local", "empty.ipynb is no notebook"),
        (["cut.ipynb"], "auto", "local", "cut.ipynb is no notebook"),
        (["spark.py"], "notebook", "local", "'spark.py' is no notebook"),
        (["spark-submit", "--name", "x"], "auto", "spark", "given no application"),
        (["spark-submit", "--master", "local", "a.py"], "auto", "spark", "--master local: where the program runs"),
        (["spark-submit", "--deploy-mode=cluster", "a.py"], "auto", "spark", "--deploy-mode cluster"),
        (["spark-submit", "--conf", "spark.master=local", "a.py"], "auto", "spark", "--conf spark.master=local"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(command: list[str], kind: str, engine: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        recognise(command, kind, engine, Path.cwd())  # type: ignore[arg-type]
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_spark_submit_gets_our_settings_first_then_the_users_then_those_of_the_event_log() -> None:
    program = recognise(
        ["spark-submit", "--verbose", "--conf", "spark.x=2", "--py-files=a.zip", "app.py", "--conf", "own"],
        "auto",
        "spark",
        Path.cwd(),
    )
    assert program.options == ("--verbose", "--conf", "spark.x=2", "--py-files=a.zip")
    command = spark_command(program, Path("/spark"), "spark://host:7077", {"spark.x": "1"}, Path("/run/log"))
    assert command == [
        "/spark/bin/spark-submit",
        *("--master", "spark://host:7077"),
        *("--conf", "spark.x=1"),
        *("--verbose", "--conf", "spark.x=2", "--py-files=a.zip"),
        *("--conf", "spark.eventLog.enabled=true"),
        *("--conf", "spark.eventLog.dir=file:///run/log"),
        *("--conf", "spark.eventLog.compress=false"),
        *("--conf", "spark.eventLog.rolling.enabled=false"),
        *("app.py", "--conf", "own"),
    ]


def test_a_ray_script_is_one_shell_line_in_this_folder_with_every_word_quoted() -> None:
    program = Program(kind="ray", command=(), folder=Path("/a folder"), arguments=("ray_.py", "a b", "$HOME"))
    command = ray_command(program, "http://head:1", {"N": "1 2"}, Path("/run/tasks.json"))
    assert command[:-1] == [sys.executable, "-m", "nodewise.jobs.ray_job", "http://head:1", "/run/tasks.json"]
    assert command[-1] == f"cd '/a folder' && exec env 'N=1 2' {sys.executable} ray_.py 'a b' '$HOME'"


def test_a_notebook_is_executed_by_a_program_of_its_own() -> None:
    program = Program(kind="notebook", command=(), folder=Path("/notes"), arguments=("work.ipynb",))
    assert notebook_command(program, Path("/run/done.ipynb"), Path("/run/cells.json"))[1:] == [
        *("-m", "nodewise.jobs.notebook", "/notes/work.ipynb", "/run/done.ipynb", "/run/cells.json")
    ]
