"""A model by name: the file that was registered, or no file."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nodewise.core.errors import CorruptFileError, InputError, MissingDependencyError, NodewiseError, UnknownNameError
from nodewise.tracking import registry, store
from nodewise.tracking.facts import SHA256
from nodewise.tracking.resolve import resolve_model
from nodewise.tracking.store import open_store
from nodewise.workspace import Workspace

from .conftest import MakeRun


@pytest.fixture
def registered(workspace: Workspace, make_run: MakeRun) -> Path:
    """The file of ``models:/flowers@champion``."""
    with open_store(workspace) as opened:
        version = registry.register_model(opened, workspace, make_run(), "flowers", alias="champion")
    return Path(version.source.removeprefix("file://")) / "data" / "model.safetensors"


@pytest.mark.parametrize("uri", ["models:/flowers@champion", "models:/flowers/1", "models:/flowers/01"])
def test_a_name_leads_to_the_file(workspace: Workspace, registered: Path, model_path: Path, uri: str) -> None:
    found = resolve_model(uri, workspace)
    assert found == registered
    assert found.read_bytes() == model_path.read_bytes()


def test_a_path_stays_what_it_is_and_loads_no_mlflow(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from nodewise.workspace import Workspace\n"
        "from nodewise.tracking.resolve import resolve_model\n"
        "print(resolve_model('a/model.safetensors', Workspace(Path('ws'))), {'mlflow', 'torch'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == f"{tmp_path / 'a' / 'model.safetensors'} set()\n"
    assert list(tmp_path.iterdir()) == [tmp_path / "here"]


def test_what_is_not_there_is_told_with_what_is(workspace: Workspace, registered: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown model 'tulips'; expected one of 'flowers'"):
        resolve_model("models:/tulips@champion", workspace)
    with pytest.raises(UnknownNameError, match="unknown version or alias '7' in model flowers"):
        resolve_model("models:/flowers/7", workspace)
    with pytest.raises(UnknownNameError, match="unknown version or alias 'best'"):
        resolve_model("models:/flowers@best", workspace)


@pytest.mark.parametrize(
    "reference",
    ["flowers", "../../x@y", "flowers/../../x", "flowers/1/../..", "/flowers/1", "flowers@../x", "flowers/-1", ""],
)
def test_a_reference_of_another_form_is_refused(workspace: Workspace, reference: str) -> None:
    with pytest.raises(InputError, match="names no model"):
        resolve_model(f"models:/{reference}", workspace)


def test_a_name_that_leads_elsewhere_is_refused(workspace: Workspace) -> None:
    for name in ("..", "%2e%2e", ".hidden", "a b"):
        with pytest.raises(InputError, match="is no name for a model"):
            resolve_model(f"models:/{name}@champion", workspace)


def test_a_file_that_was_tampered_with_is_refused(workspace: Workspace, registered: Path) -> None:
    content = registered.read_bytes()
    for changed in (content[:-1] + bytes([content[-1] ^ 1]), content[:-10], b"\x80\x04\x95a pickle"):
        registered.write_bytes(changed)
        with pytest.raises(CorruptFileError, match=r"not the file that was registered as models:/flowers/1"):
            resolve_model("models:/flowers@champion", workspace)


def test_a_file_that_is_gone_is_told(workspace: Workspace, registered: Path) -> None:
    registered.unlink()
    with pytest.raises(InputError, match="there is no"):
        resolve_model("models:/flowers/1", workspace)


def test_without_mlflow_a_name_says_what_to_install(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError) as caught:
        resolve_model("models:/flowers/1", workspace)
    assert caught.value.hint == "pip install 'nodewise[mlflow]'"


class _Artifacts(http.server.SimpleHTTPRequestHandler):
    """A folder of files behind the addresses that MLflow's server has for artifacts."""

    prefix = "/api/2.0/mlflow-artifacts/artifacts"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        if "?" in self.path:
            body = b'{"files": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.path = self.path.removeprefix(self.prefix)
        super().do_GET()

    def log_message(self, *_arguments: Any) -> None: ...


@pytest.fixture
def server(registered: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    handler = partial(_Artifacts, directory=str(registered.parents[1]))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        serving.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def register_elsewhere(workspace: Workspace, server: Any, sha256: str) -> None:
    with open_store(workspace) as opened:
        opened.client.create_registered_model("remote")
        source = f"http://127.0.0.1:{server.server_port}{_Artifacts.prefix}"
        opened.client.create_model_version("remote", source, tags={SHA256: sha256})


def test_a_model_on_a_server_is_fetched_once(
    workspace: Workspace, registered: Path, server: Any, make_run: MakeRun
) -> None:
    with open_store(workspace) as opened:
        sha256 = registry.get_version(opened, "flowers", 1).sha256
    register_elsewhere(workspace, server, sha256)
    first = resolve_model("models:/remote/1", workspace)
    assert first.is_relative_to(workspace.root)
    assert first.read_bytes() == registered.read_bytes()
    asked = len(server.asked)
    assert resolve_model("models:/remote/1", workspace) == first
    assert len(server.asked) == asked
    assert [path.name for path in first.parent.iterdir()] == ["model.safetensors"]


def test_what_a_server_says_leads_nowhere_else(workspace: Workspace, server: Any) -> None:
    register_elsewhere(workspace, server, "../../../evil")
    with pytest.raises(InputError, match="is not a model that nodewise logged"):
        resolve_model("models:/remote/1", workspace)
    assert server.asked == []


def test_a_server_that_gives_another_file_is_refused(workspace: Workspace, server: Any) -> None:
    register_elsewhere(workspace, server, "0" * 64)
    with pytest.raises(CorruptFileError, match="not the file that was registered"):
        resolve_model("models:/remote/1", workspace)
    assert not list(workspace.root.rglob("fetched/*/*"))


def test_a_server_that_has_no_such_file_is_told(workspace: Workspace, server: Any, registered: Path) -> None:
    registered.unlink()
    register_elsewhere(workspace, server, "0" * 64)
    with pytest.raises(NodewiseError, match="404"):
        resolve_model("models:/remote/1", workspace)
    assert not list(workspace.root.rglob("fetched/*/*"))
