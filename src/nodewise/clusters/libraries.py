"""One virtual environment for the libraries of a definition, built once and shared by all nodes of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path

from nodewise.core.errors import FolderInUseError, LibraryError, MissingDependencyError
from nodewise.core.files import disk_full_named, write_atomic
from nodewise.core.progress import SILENT, Progress
from nodewise.core.secrets import redact, secret_values

__all__ = ["LibraryEnvironment", "build_environment", "list_environments", "remove_environment"]

MARKER = "nodewise-environment.json"
"""Written last: an environment without it is not whole."""
LAST_LINES = 15

# Nodes and driver must have these in one version.
_FIXED = ("nodewise", "pyspark", "py4j", "ray", "cloudpickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryEnvironment:
    """An environment that is whole.

    Attributes:
        python: Its interpreter.
        bytes: What removing it frees.
    """

    path: Path
    python: Path
    requirements: tuple[str, ...]
    created_at: datetime
    bytes: int


def build_environment(
    requirements: Sequence[str],
    folder: Path,
    progress: Progress = SILENT,
    *,
    variables: Mapping[str, str] = os.environ,
) -> Path:
    """The interpreter of an environment with these libraries on top of what is installed here.

    It is built once for each set of requirements, Python and installation; who asks for one that is being built waits.
    It is built where it will stay, since scripts in it name their interpreter by its path. A build that was cut off is
    begun anew, from what pip has kept. Engine and nodewise stay the versions that the driver has: a library that asks
    for others is an error.

    Args:
        requirements: Lines of a pip requirements file; ``${NAME}`` in them is taken from ``variables`` by pip.
        folder: Of all environments.

    Raises:
        LibraryError: pip failed; the message has its reason, ``detail`` its last lines without secrets.
        MissingDependencyError: pip is not installed.
        DiskFullError: There is no space for it.
    """
    lines = tuple(sorted({line.strip() for line in requirements}))
    path = folder / _key(lines)
    python = path / "bin" / "python"
    if (path / MARKER).is_file():
        return python
    if find_spec("pip") is None:
        raise MissingDependencyError("libraries need the package pip", hint=f"{sys.executable} -m ensurepip")
    with disk_full_named(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(path, progress):
            # Whoever held the lock may have built it.
            if not (path / MARKER).is_file():
                progress.stage(f"install {len(lines)} {'library' if len(lines) == 1 else 'libraries'}")
                _build(path, lines, progress, variables)
                progress.done()
    return python


def list_environments(folder: Path) -> list[LibraryEnvironment]:
    """The environments that are whole, the oldest first."""
    found = []
    for marker in folder.glob(f"*/{MARKER}"):
        facts = json.loads(marker.read_text())
        path = marker.parent
        found.append(
            LibraryEnvironment(
                path=path,
                python=path / "bin" / "python",
                requirements=tuple(facts["requirements"]),
                created_at=datetime.fromisoformat(facts["created_at"]),
                bytes=_size(path),
            )
        )
    return sorted(found, key=lambda one: one.created_at)


def remove_environment(path: Path) -> int:
    """Remove an environment that no cluster uses; the bytes freed.

    Raises:
        FolderInUseError: It is being built.
    """
    with _lock_file(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderInUseError(path, "another command, which builds it") from None
        freed = _size(path)
        _discard(path)
    return freed


def _key(lines: Sequence[str]) -> str:
    facts = [platform.python_version(), sys.prefix, *lines]
    # A file that was built anew is another library.
    files = [Path(line).stat() for line in lines if Path(line).is_file()]
    facts += [f"{file.st_mtime_ns} {file.st_size}" for file in files]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _build(path: Path, lines: Sequence[str], progress: Progress, variables: Mapping[str, str]) -> None:
    _discard(path)
    try:
        venv.EnvBuilder(symlinks=True, with_pip=False).create(path)
        _see_base(path)
        _install(path, lines, progress, variables)
        facts = {
            "requirements": lines,
            "created_at": datetime.now(UTC).isoformat(),
            "python": platform.python_version(),
        }
        write_atomic(path / MARKER, json.dumps(facts, indent=2) + "\n")
    except BaseException:
        _discard(path)
        raise


def _see_base(path: Path) -> None:
    """Let the environment see what is installed here, after its own; pip counts on it, and never removes it."""
    own = sysconfig.get_path("purelib", vars={"base": str(path), "platbase": str(path)})
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    # addsitedir, because it reads the .pth files there too, by which packages in development are found.
    lines = [f"import site; site.addsitedir({folder!r})" for folder in folders]
    Path(own, "nodewise_base.pth").write_text("\n".join(lines) + "\n")


def _install(path: Path, lines: Sequence[str], progress: Progress, variables: Mapping[str, str]) -> None:
    wanted, fixed = path / "requirements.txt", path / "constraints.txt"
    wanted.write_text("\n".join(lines) + "\n")
    fixed.write_text("".join(f"{name}=={version}\n" for name, version in _fixed_versions()))
    options = ["--no-input", "--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", "off"]
    command = [sys.executable, "-m", "pip", "--python", str(path / "bin" / "python"), "install", *options]
    command += ["-r", str(wanted), "-c", str(fixed)]
    known = secret_values(variables)
    last: deque[str] = deque(maxlen=LAST_LINES)
    with subprocess.Popen(
        command,
        env=dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        try:
            for line in pip.stdout or ():
                last.append(redact(line.rstrip(), known=known))
                progress.advance(0, last[-1].strip()[:60])
        except BaseException:
            pip.kill()
            raise
    if pip.returncode != 0:
        reason = _reason(list(last)) or f"exit status {pip.returncode}"
        raise LibraryError(f"pip could not install the libraries: {reason}", detail="\n".join(last) + "\n")


def _reason(lines: list[str]) -> str:
    """What pip's last lines come to: what conflicts, else its first error, else its last line."""
    if "The conflict is caused by:" in lines:
        conflict = lines[lines.index("The conflict is caused by:") + 1 :]
        return "; ".join(line.strip() for line in takewhile(str.strip, conflict))
    errors = [line.partition("ERROR:")[2].strip() for line in lines if line.startswith("ERROR:")]
    return next(iter([*errors, *lines[-1:]]), "").strip()


def _fixed_versions() -> Iterator[tuple[str, str]]:
    for name in _FIXED:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


@contextmanager
def _locked(path: Path, progress: Progress) -> Iterator[None]:
    """Hold the lock of an environment; the kernel gives it back when its holder dies."""
    with _lock_file(path) as descriptor:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("waiting for another command that installs the same libraries")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _lock_file(path: Path) -> Iterator[int]:
    # Never removed: somebody may be waiting for it.
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _discard(path: Path) -> None:
    # First of all it must not look whole any more.
    (path / MARKER).unlink(missing_ok=True)
    shutil.rmtree(path, ignore_errors=True)


def _size(path: Path) -> int:
    return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
