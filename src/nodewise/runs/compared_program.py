"""A program, as a comparison runs it."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from nodewise.core.errors import InputError
from nodewise.core.secrets import redact_arguments
from nodewise.jobs.command import Program, recognise
from nodewise.preflight.dependencies import require_for_program
from nodewise.report.html import PredictedImage
from nodewise.runs.command import run_program
from nodewise.runs.program import bytes_of
from nodewise.runs.session import Session
from nodewise.specs.job import CommandSpec
from nodewise.specs.scenario import Scenario

__all__ = ["ComparedProgram"]


class ComparedProgram:
    """A program. Its output goes to the log files of each run, and to standard error.

    Args:
        base: Folder that it runs in, and that relative paths are taken from.

    Raises:
        InputError: The program is not there, or not for the engine of a scenario.
        MissingDependencyError: What runs it is not installed.
    """

    connect = False
    modules: Sequence[str] = ()
    source_name = "Program"

    def __init__(self, command: CommandSpec, scenarios: Iterable[Scenario], base: Path) -> None:
        self._programs: dict[str, Program] = {}
        file: Path | None = None
        for scenario in scenarios:
            try:
                program = recognise(command.run, command.kind, scenario.engine, base)
            except InputError as error:
                raise InputError(f"scenario {scenario.name!r}: {error.message}", hint=error.hint) from None
            require_for_program(program.kind)
            self._programs[scenario.name] = program
            file = program.file
        self.source = shlex.join(redact_arguments(command.run))
        self.fingerprint = ""
        if file is not None and file.is_file():
            self.fingerprint = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        self.images: list[PredictedImage] = []

    def script_of(self, scenario: Scenario) -> Path | None:
        """What of it can be read before it runs; None: nothing."""
        return self._programs[scenario.name].source

    def carry_out(self, session: Session) -> None:
        program = self._programs[str(session.run.scenario)]
        stderr = bytes_of(sys.stderr)
        run_program(session, program, session.folder, stdout=stderr, stderr=stderr)

    def look_at(self, folder: Path) -> None:
        """Its logs are there for people."""

    def clean(self, folder: Path) -> None:
        """Nothing is too large to stay."""
