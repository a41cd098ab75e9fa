"""The errors that nodewise raises, each with a code, an exit status and an HTTP status.

    NodewiseError                 exit 1   something went wrong while running
    |- InputError                 exit 2   the request cannot be carried out as it stands; nothing was started
    |  |- UnknownNameError                 a name that is in no table (with the nearest ones)
    |  |- SpecError                        a YAML file or an option that does not fit
    |  |- SourceError                      a data set that is missing, empty or has an empty class
    |  |- UnsafeFileError                  a file that tries more than a file of its kind may
    |  |- ClusterStateError                a cluster is not in a state for what is asked of it
    |  |- FolderInUseError                 another run writes into the folder
    |  |- BudgetExceededError              a tag's budget is used up
    |  `- PreflightError                   what would fail, found before anything was started
    |- MissingDependencyError              Java or an optional package is not on this machine
    |- LibraryError                        the libraries of a cluster cannot be installed
    |- PortInUseError
    |- DownloadError
    |- CorruptFileError                    a record, manifest or model file that does not hold what it should
    |- DiskFullError                       a file system has no space left
    |- ClusterLostError                    a cluster's processes ended by themselves
    |- LeaseLostError                      another run took over what this one was writing
    |- JobFailedError                      code that ran inside a task raised
    |  `- ProgramFailedError               a program that a user had run failed
    `- WorkerLostError                     a worker died and retries did not help

Exit status 2 means that the request was refused before a run was begun. What goes wrong in a run is 1, and the run is
in the workspace as failed.
Every class survives ``pickle``, because errors cross process boundaries.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nodewise.core.findings import Finding
from nodewise.core.units import format_bytes

__all__ = [
    "BudgetExceededError",
    "ClusterLostError",
    "ClusterStateError",
    "CorruptFileError",
    "DiskFullError",
    "DownloadError",
    "FolderInUseError",
    "InputError",
    "JobFailedError",
    "LeaseLostError",
    "LibraryError",
    "MissingDependencyError",
    "NodewiseError",
    "PortInUseError",
    "PreflightError",
    "ProgramFailedError",
    "SourceError",
    "SpecError",
    "UnknownNameError",
    "UnsafeFileError",
    "WorkerLostError",
    "error_from_json",
]


class NodewiseError(Exception):
    """Base of all errors: ``message`` says what is wrong and where, ``hint`` what to do next."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses have signatures of their own, so the default (cls, args) would call them wrongly.
        return (_rebuild, (type(self), self.__dict__))

    def to_json(self) -> dict[str, str | None]:
        """The one shape in which every interface reports an error."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


def _rebuild(cls: type[NodewiseError], state: dict[str, Any]) -> NodewiseError:
    error = cls.__new__(cls)
    Exception.__init__(error, state["message"])
    error.__dict__.update(state)
    return error


class InputError(NodewiseError):
    """The request cannot be carried out as it stands. Nothing was started."""

    code = "bad_input"
    exit_code = 2
    http_status = 400


class UnknownNameError(InputError):
    """A name that is not in its table. ``known`` is the table; the nearest names become the hint."""

    code = "unknown_name"
    http_status = 404

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str | None = None) -> None:
        names = sorted(known)
        by_fold = {known_name.casefold(): known_name for known_name in names}
        near = [by_fold[key] for key in difflib.get_close_matches(name.casefold(), by_fold, n=3, cutoff=0.5)]
        place = f" in {where}" if where else ""
        message = f"unknown {kind} {name!r}{place}"
        if names and len(names) <= 8:
            message += f"; expected one of {', '.join(map(repr, names))}"
        super().__init__(message, hint=f"did you mean {' or '.join(map(repr, near))}?" if near else None)
        self.kind = kind
        self.name = name
        self.near = near


class SpecError(InputError):
    """A YAML file or an option that does not fit; the message names the file, the line and the key."""

    code = "bad_spec"


class SourceError(InputError):
    """A data set that is missing, empty, or has a class without images."""

    code = "bad_source"


class UnsafeFileError(InputError):
    """A pickle or an archive that tries more than a file of its kind may. Nothing of it was used."""

    code = "unsafe_file"


class FolderInUseError(InputError):
    """Another run writes into the folder; ``holder`` says which."""

    code = "folder_in_use"
    http_status = 409

    def __init__(self, folder: Path, holder: str) -> None:
        super().__init__(f"{folder} is being written by {holder}", hint="wait for it, or name another folder")
        self.folder = folder
        self.holder = holder


class ClusterStateError(InputError):
    """A cluster is not in a state for what is asked of it: it is down, in use, or being started by somebody else."""

    code = "cluster_state"
    http_status = 409


class ClusterLostError(NodewiseError):
    """A cluster's processes ended by themselves; the message has the last lines of their log."""

    code = "cluster_lost"
    http_status = 502


class BudgetExceededError(InputError):
    """The budget of a tag is used up, or what is asked for would use it up; the message names tag, spent and limit."""

    code = "budget_exceeded"
    http_status = 402


class PreflightError(InputError):
    """What would fail, found before anything was started: ``findings`` has all of it, warnings too, with remedies."""

    code = "preflight"
    http_status = 422
    findings: tuple[Finding, ...] = ()

    def __init__(self, findings: Sequence[Finding]) -> None:
        errors = [finding for finding in findings if finding.level == "error"]
        found = "; ".join(finding.text for finding in errors)
        super().__init__(
            found if len(errors) == 1 else f"{len(errors)} problems found before anything was started: {found}",
            hint="; ".join(filter(None, (finding.remedy for finding in errors))) or None,
        )
        self.findings = tuple(findings)

    @property
    def headline(self) -> str:
        """The message without what was found."""
        return self.message.partition(":")[0]


class MissingDependencyError(NodewiseError):
    """Java or an optional package is not on this machine; the hint says what to install."""

    code = "missing_dependency"
    http_status = 501


class LibraryError(NodewiseError):
    """The libraries of a cluster cannot be installed: ``detail`` has the last lines of pip, without secrets."""

    code = "libraries"

    def __init__(self, message: str, *, detail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.detail = detail


class PortInUseError(NodewiseError):
    """The port asked for is taken by another program."""

    code = "port_in_use"
    http_status = 409

    def __init__(self, host: str, port: int) -> None:
        super().__init__(
            f"port {port} on {host} is in use by another program",
            hint="choose another port, or leave it out to take any free one",
        )
        self.host = host
        self.port = port


class DownloadError(NodewiseError):
    """A public file could not be fetched; the hint says where to put it by hand."""

    code = "download_failed"
    http_status = 502


class CorruptFileError(NodewiseError):
    """A file that does not hold what it should: ``path``, and ``record`` and ``offset`` where they are known."""

    code = "corrupt_file"

    def __init__(
        self, path: str, reason: str, *, record: int | None = None, offset: int | None = None, hint: str | None = None
    ) -> None:
        place = f" at record {record}" if record is not None else ""
        place += f" (byte {offset})" if offset is not None else ""
        super().__init__(f"{path}{place}: {reason}", hint=hint)
        self.path = path
        self.reason = reason
        self.record = record
        self.offset = offset


class DiskFullError(NodewiseError):
    """A file system has no space left (or a quota is used up): ``mount``, ``free_bytes`` and what was to be written."""

    code = "disk_full"
    http_status = 507

    def __init__(self, path: Path, *, mount: Path, free_bytes: int, needed_bytes: int | None) -> None:
        needed = f", and {format_bytes(needed_bytes)} more are needed" if needed_bytes else ""
        super().__init__(
            f"no space left for {path}: {mount} has {format_bytes(free_bytes)} free{needed}",
            hint="free some space and run the same command again",
        )
        self.path = path
        self.mount = mount
        self.free_bytes = free_bytes
        self.needed_bytes = needed_bytes


class LeaseLostError(NodewiseError):
    """Another run took over what this one was writing. Nothing more was written."""

    code = "lease_lost"
    http_status = 409


class JobFailedError(NodewiseError):
    """Code that ran inside a task raised: ``where`` is file and line, ``detail`` the traceback of the worker."""

    code = "job_failed"

    def __init__(self, message: str, *, where: str | None = None, detail: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.where = where
        self.detail = detail


class ProgramFailedError(JobFailedError):
    """A program of the user's failed: ``result`` is what is known of it, its exit status and its logs included."""

    code = "program_failed"

    def __init__(self, message: str, result: Any, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.result = result


class WorkerLostError(NodewiseError):
    """A worker died and retries did not help."""

    code = "worker_lost"


def error_from_json(facts: dict[str, str | None]) -> NodewiseError:
    """The error that another process told with :meth:`NodewiseError.to_json`: its class, message and hint."""
    known, waiting = {}, [NodewiseError]
    while waiting:
        cls = waiting.pop()
        known[cls.code] = cls
        waiting += cls.__subclasses__()
    state = {"message": facts.get("message") or "unknown error", "hint": facts.get("hint")}
    return _rebuild(known.get(str(facts.get("code")), NodewiseError), state)
