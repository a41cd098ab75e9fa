"""Any program as a job: what kind of program it is, and the arguments that start it."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.specs.cluster import EngineName
from nodewise.specs.job import ProgramChoice, ProgramKind

__all__ = ["Program", "notebook_command", "ray_command", "recognise", "spark_command"]

_PYTHON = re.compile(r"python[\d.]*")
_SPARK_FLAGS = ("--verbose", "-v", "--supervise", "--help", "-h", "--version", "--usage-error")
"""Options of spark-submit without a value."""
_OURS = ("--master", "--deploy-mode", "--remote")
"""Options of spark-submit that say where the program runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A program to run, as it was recognised.

    Attributes:
        command: The words that the user typed.
        folder: Where it runs, and what relative paths are taken from; absolute.
        options: Of ``spark-submit``, where the user typed that.
        arguments: The file of a script or notebook, and the words after it; empty for other programs.
    """

    kind: ProgramKind
    command: tuple[str, ...]
    folder: Path
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()

    @property
    def file(self) -> Path | None:
        """The script or notebook; None for other programs."""
        return self.folder / self.arguments[0] if self.arguments else None

    @property
    def source(self) -> Path | None:
        """Its file if that can be read as Python or as a notebook; None for others, such as a jar."""
        return self.file if self.file is not None and self.file.suffix in (".py", ".ipynb") else None

    @property
    def name(self) -> str:
        """What to call it: the name of its file, or of the program."""
        return Path(self.arguments[0] if self.arguments else self.command[0]).name


def recognise(command: Sequence[str], kind: ProgramChoice, engine: EngineName, folder: Path) -> Program:
    """Tell what kind of program a command is. Nothing of it is run.

    ``auto``: ``spark-submit ...``, and a ``.py`` file (also after ``python``) that imports ``pyspark``, is ``spark``; a
    ``.py`` file that imports ``ray`` is ``ray``; an ``.ipynb`` file is ``notebook``; all else is ``program``. Of a file
    that imports both, the engine decides.

    Raises:
        InputError: The command is empty, its file is not there, or it is not for this engine.
    """
    words = tuple(command)
    if not words or not words[0].strip():
        raise InputError("no program is given", hint="put it after --, as in: nodewise run -- python script.py")
    script = _script(words)
    submitted = Path(words[0]).name == "spark-submit"
    if kind == "auto":
        kind = "spark" if submitted else _kind_of(script, engine, folder)
    if kind == "program":
        own = (sys.executable,) if words[0].endswith(".py") and not os.access(folder / words[0], os.X_OK) else ()
        if not own and shutil.which(folder / words[0] if "/" in words[0] else words[0]) is None:
            raise InputError(f"there is no program {words[0]!r}", hint="give its path, or a name on the PATH")
        return Program(kind=kind, command=(*own, *words), folder=folder, arguments=script or ())
    needs = {"spark": "spark", "ray": "ray"}.get(kind, engine)
    if needs != engine:
        raise InputError(
            f"{words[-1] if script is None else script[0]} is a program for {needs}, and the cluster's engine is "
            f"{engine!r}",
            hint=f"run it with --engine {needs}, or as any other program with --kind program",
        )
    if submitted and kind == "spark":
        options, arguments = _split_options(words[1:])
        return Program(kind=kind, command=words, folder=folder, options=options, arguments=arguments)
    wanted, what = (".ipynb", "notebook (.ipynb)") if kind == "notebook" else (".py", "Python file")
    if script is None or not script[0].endswith(wanted):
        raise InputError(f"{words[0]!r} is no {what}", hint="--kind program runs any program")
    path = _require_file(script[0], folder)
    if kind == "notebook":
        _require_notebook(path)
    return Program(kind=kind, command=words, folder=folder, arguments=script)


def spark_command(
    program: Program, spark_home: Path, master: str, settings: dict[str, str], log_dir: Path
) -> list[str]:
    """The arguments of ``spark-submit``: ours, then the user's own, which win, but for the event log's.

    Args:
        settings: Spark settings that the user's own may replace.
        log_dir: Folder for the event log, which is written so that it can be read while it grows.
    """
    log = {
        "spark.eventLog.enabled": "true",
        "spark.eventLog.dir": log_dir.as_uri(),
        "spark.eventLog.compress": "false",
        "spark.eventLog.rolling.enabled": "false",
    }
    return [
        str(spark_home / "bin" / "spark-submit"),
        *("--master", master),
        *_conf(settings),
        *program.options,
        *_conf(log),
        *program.arguments,
    ]


def ray_command(program: Program, job_server: str, variables: dict[str, str], report: Path) -> list[str]:
    """The arguments that hand the script to a job server, which runs it in the program's folder.

    Args:
        variables: For the script's environment. Its tasks start faster if they are not set through Ray.
    """
    script = shlex.join(["env", *(f"{name}={value}" for name, value in variables.items()), sys.executable])
    entrypoint = f"cd {shlex.quote(str(program.folder))} && exec {script} {shlex.join(program.arguments)}"
    return [sys.executable, "-m", "nodewise.jobs.ray_job", job_server, str(report), entrypoint]


def notebook_command(program: Program, executed: Path, report: Path) -> list[str]:
    """The arguments that execute a notebook in the folder that it is in."""
    return [sys.executable, "-m", "nodewise.jobs.notebook", str(program.file), str(executed), str(report)]


def _conf(settings: dict[str, str]) -> Iterator[str]:
    for key, value in settings.items():
        yield from ("--conf", f"{key}={value}")


def _script(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The words from the Python file or notebook on; None if the command is another one."""
    rest = words[1:] if _PYTHON.fullmatch(Path(words[0]).name) else words
    return rest if rest and rest[0].endswith((".py", ".ipynb")) else None


def _kind_of(script: tuple[str, ...] | None, engine: EngineName, folder: Path) -> ProgramKind:
    if script is None:
        return "program"
    if script[0].endswith(".ipynb"):
        return "notebook"
    imported = _imports(_require_file(script[0], folder))
    if engine == "ray" and "ray" in imported:
        return "ray"
    if "pyspark" in imported:
        return "spark"
    return "ray" if "ray" in imported else "program"


def _require_file(name: str, folder: Path) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(f"{name} does not exist", hint="give the path of the program")
    return path


def _require_notebook(path: Path) -> None:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        content = None
    if not isinstance(content, dict) or "nbformat" not in content:
        raise InputError(
            f"{path.name} is no notebook", hint="a notebook is JSON with a key nbformat, as Jupyter saves it"
        )


def _imports(path: Path) -> set[str]:
    """The packages that a Python file imports anywhere in it.

    Raises:
        InputError: It is no Python.
    """
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError, RecursionError, OSError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        hint = "correct it, or run it with --kind program"
        raise InputError(f"{path.name}{line}: not valid Python", hint=hint) from None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _split_options(words: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The options of ``spark-submit``, and the application with its arguments."""
    position = 0
    while position < len(words) and words[position].startswith("-"):
        option, equals, value = words[position].partition("=")
        if not equals and option not in _SPARK_FLAGS:
            value = words[position + 1] if position + 1 < len(words) else ""
            position += 1
        if option in _OURS or (option in ("--conf", "-c") and value.startswith(("spark.master=", "spark.submit."))):
            raise InputError(
                f"{option} {value}: where the program runs is for nodewise to say",
                hint="leave it out, and name the cluster with --cluster, --address or --engine and --nodes",
            )
        position += 1
    if position >= len(words):
        raise InputError("spark-submit is given no application", hint="put the script after its options")
    return words[:position], words[position:]
