"""From a model's name in the registry to its file."""

from __future__ import annotations

import os
import re
import tempfile
from os import PathLike
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from nodewise.core.errors import CorruptFileError, InputError
from nodewise.core.files import sha256_of
from nodewise.specs.models import ModelVersion
from nodewise.tracking.facts import MODEL_FILE
from nodewise.tracking.registry import check_alias, get_version, open_registry
from nodewise.tracking.store import Store
from nodewise.workspace.store import Workspace

__all__ = ["resolve_model"]

_SCHEME = "models:"
_REFERENCE = re.compile(r"models:/([^/@]+)(?:@([^/@]+)|/(\d{1,9}))")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def resolve_model(model: str | PathLike[str], workspace: Workspace) -> Path:
    """The file of a model: ``models:/flowers@champion``, ``models:/flowers/3``, or a path, which stays what it is.

    MLflow is loaded for a name only. A model that lies on a server is fetched once, into the workspace.

    Raises:
        InputError: The name is of another form.
        UnknownNameError: There is no such model, alias or version; it lists those that there are.
        CorruptFileError: The file is not the one that was registered.
        MissingDependencyError: MLflow is not installed.
        NodewiseError: The registry cannot be reached.
    """
    text = os.fspath(model)
    if not text.startswith(_SCHEME):
        return Path(text).absolute()
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} names no model", hint="write models:/NAME@ALIAS or models:/NAME/VERSION")
    name, alias, number = match.groups()
    if alias is not None:
        check_alias(alias)
    with open_registry(workspace, name) as store:
        version = get_version(store, name, alias or str(int(number)))
        path = _file_of(store, version, workspace)
    if not path.is_file():
        raise InputError(f"{version.uri} is not a model that nodewise logged: there is no {path}")
    _check(path, version)
    return path


def _check(path: Path, version: ModelVersion) -> None:
    if version.sha256 and sha256_of(path) != version.sha256:
        raise CorruptFileError(str(path), f"not the file that was registered as {version.uri}")


def _file_of(store: Store, version: ModelVersion, workspace: Workspace) -> Path:
    source = store.client.get_model_version_download_uri(version.name, str(version.version))
    parsed = urlparse(source)
    if parsed.scheme in ("", "file"):
        return Path(url2pathname(parsed.path)) / MODEL_FILE
    # It becomes the name of a folder, and a server may have any text for it.
    if not _SHA256.fullmatch(version.sha256):
        raise InputError(f"{version.uri} is not a model that nodewise logged")
    kept = workspace.root / "mlflow" / "fetched" / version.sha256 / Path(MODEL_FILE).name
    if not kept.is_file():
        _fetch(store, version, f"{source.rstrip('/')}/{MODEL_FILE}", kept)
    return kept


def _fetch(store: Store, version: ModelVersion, uri: str, kept: Path) -> None:
    from mlflow.artifacts import download_artifacts

    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        fetched = download_artifacts(
            artifact_uri=uri, dst_path=folder, tracking_uri=store.uri, registry_uri=store.registry_uri
        )
        _check(Path(fetched), version)
        os.replace(fetched, kept)
