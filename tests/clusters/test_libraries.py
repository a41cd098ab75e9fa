"""The environment that nodes share: built once, whole or absent, on top of what is installed here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from nodewise.clusters.libraries import build_environment, list_environments, remove_environment
from nodewise.core.errors import FolderInUseError, LibraryError
from nodewise.core.progress import SilentProgress

OFFLINE = {**os.environ, "PIP_NO_INDEX": "1"}


def wheel(folder: Path, name: str, version: str = "1.0", *, requires: str = "", source: str = "") -> str:
    """A wheel made by hand; its path."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", source or f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return str(path)


def run(python: Path, code: str) -> str:
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []

    def stage(self, name: str, total: int | None = None) -> None:
        self.stages.append(name)

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], Path]:
    """Folder, requirements and interpreter of an environment with two libraries."""
    folder = tmp_path_factory.mktemp("libraries")
    requirements = [wheel(folder, "nwtiny"), wheel(folder, "nwother", requires="numpy")]
    return folder / "environments", requirements, build_environment(requirements, folder / "environments")


def test_its_python_has_the_libraries_and_what_is_installed_here(built: tuple[Path, list[str], Path]) -> None:
    _, _, python = built
    here = __import__("numpy").__version__
    assert run(python, "import nwtiny, nwother, numpy; print(nwtiny.VERSION, numpy.__version__)") == f"1.0 {here}"
    # In development it is found through a .pth file.
    assert run(python, "import nodewise, sys; print(sys.prefix)") == str(python.parent.parent)


def test_its_own_libraries_come_before_those_installed_here(tmp_path: Path) -> None:
    python = build_environment([wheel(tmp_path, "colorsys_nw"), wheel(tmp_path, "typer", "99.0")], tmp_path / "envs")
    assert run(python, "import typer; print(typer.VERSION)") == "99.0"
    assert run(Path(sys.executable), "import typer; print(hasattr(typer, 'VERSION'))") == "False"


def test_the_same_libraries_in_another_order_are_built_once(built: tuple[Path, list[str], Path]) -> None:
    folder, requirements, python = built
    progress = Notes()
    assert build_environment([f" {line}" for line in reversed(requirements)], folder, progress) == python
    assert progress.stages == []
    (environment,) = list_environments(folder)
    assert environment.python == python
    assert environment.requirements == tuple(sorted(requirements))
    assert environment.bytes > 0


def test_a_file_that_changed_is_another_library(tmp_path: Path) -> None:
    first = build_environment([wheel(tmp_path, "nwtiny")], tmp_path / "envs")
    second = build_environment([wheel(tmp_path, "nwtiny", source="VERSION = 'new'\n")], tmp_path / "envs")
    assert first != second
    assert run(second, "import nwtiny; print(nwtiny.VERSION)") == "new"


def test_what_pip_refuses_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(LibraryError) as caught:
        build_environment(["no-such-library-nw==1.0"], tmp_path, variables=OFFLINE)
    assert "no-such-library-nw==1.0" in caught.value.message
    assert "\n" not in caught.value.message
    assert "ERROR" in caught.value.detail
    assert list_environments(tmp_path) == []
    assert [path for path in tmp_path.iterdir() if path.is_dir()] == []


def test_engine_and_nodewise_are_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(
        LibraryError, match=r"nwtiny 1\.0 depends on pyspark==3\.0\.0; The user requested \(constraint\)"
    ):
        build_environment([wheel(tmp_path, "nwtiny", requires="pyspark==3.0.0")], tmp_path / "envs", variables=OFFLINE)


def test_no_secret_is_in_the_error_or_on_disk(tmp_path: Path) -> None:
    secret = "Zq7" + "Kv2mW9xR"
    with pytest.raises(LibraryError) as caught:
        build_environment(
            ["nwtiny @ http://user:${NW_TOKEN}@127.0.0.1:9/nwtiny-1.0-py3-none-any.whl"],
            tmp_path,
            variables={**OFFLINE, "NW_TOKEN": secret, "PIP_RETRIES": "0", "PIP_TIMEOUT": "1"},
        )
    assert secret not in caught.value.message + caught.value.detail
    assert not any(secret in file.read_text(errors="replace") for file in tmp_path.rglob("*") if file.is_file())


def test_a_build_that_was_killed_is_begun_anew(tmp_path: Path) -> None:
    requirement = wheel(tmp_path, "nwtiny")
    code = f"""
import nodewise.clusters.libraries as libraries, pathlib, time
libraries._install = lambda *_: (print("half", flush=True), time.sleep(60))
libraries.build_environment([{requirement!r}], pathlib.Path({str(tmp_path / "envs")!r}))
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as builder:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "half\n"
        builder.send_signal(signal.SIGKILL)
    assert list_environments(tmp_path / "envs") == []
    assert run(build_environment([requirement], tmp_path / "envs"), "import nwtiny; print(nwtiny.VERSION)") == "1.0"


def test_who_asks_for_one_that_is_being_built_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nodewise.clusters import libraries

    requirement, folder = wheel(tmp_path, "nwtiny"), tmp_path / "envs"
    begun, go_on, builds = threading.Event(), threading.Event(), []

    def install(path: Path, *_: object) -> None:
        builds.append(path)
        begun.set()
        assert go_on.wait(60)

    monkeypatch.setattr(libraries, "_install", install)
    found: list[Path] = []
    progress = Notes()
    first = threading.Thread(target=lambda: found.append(build_environment([requirement], folder)))
    second = threading.Thread(target=lambda: found.append(build_environment([requirement], folder, progress)))
    first.start()
    assert begun.wait(60)
    with pytest.raises(FolderInUseError):
        remove_environment(builds[0])
    second.start()
    while not progress.notes:
        time.sleep(0.01)
    go_on.set()
    first.join()
    second.join()
    assert progress.notes == ["waiting for another command that installs the same libraries"]
    assert len(builds) == 1
    assert found == [builds[0] / "bin" / "python"] * 2


def test_removing_one_frees_its_bytes(tmp_path: Path) -> None:
    build_environment([wheel(tmp_path, "nwtiny")], tmp_path / "envs")
    (environment,) = list_environments(tmp_path / "envs")
    assert remove_environment(environment.path) == environment.bytes
    assert list_environments(tmp_path / "envs") == []
    assert not environment.path.exists()
