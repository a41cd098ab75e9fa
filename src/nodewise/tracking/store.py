"""Where runs and models are kept in MLflow, and how it is made to keep quiet.

``MLFLOW_TRACKING_URI`` (with ``MLFLOW_REGISTRY_URI``) says where, as everywhere with MLflow; else it is a SQLite
database and a folder of files in the workspace: ``<workspace>/mlflow``.
"""

from __future__ import annotations

import fcntl
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from nodewise.core.errors import MissingDependencyError, NodewiseError
from nodewise.core.secrets import redact, secret_values
from nodewise.workspace.store import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["SWITCH", "TRACKING_URI", "Store", "has_store", "is_switched_off", "missing_mlflow", "open_store"]

SWITCH = "NODEWISE_TRACKING"
"""Environment variable; ``off``: runs are not mirrored. Models can be used and registered all the same."""
TRACKING_URI = "MLFLOW_TRACKING_URI"
_REGISTRY_URI = "MLFLOW_REGISTRY_URI"

_SETTINGS = {
    # MLflow tells its makers about its use unless it is told not to.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Standard output belongs to the command's result.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # No connection is left open, to be carried over a fork or to keep a database of SQLite busy.
    "MLFLOW_SQLALCHEMYSTORE_POOLCLASS": "NullPool",
    # A server that is away must not hold up the end of a run for the minutes that MLflow would give it.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
"""What applies while MLflow works for nodewise, unless the user has said otherwise."""


@dataclass(frozen=True, slots=True)
class Store:
    """MLflow, opened.

    Attributes:
        client: Of the tracking store and the registry; no state of MLflow outside it is used or changed.
        uri: Where runs go.
        registry_uri: Where models go.
        artifact_root: Of new experiments; None: the server decides.
    """

    client: MlflowClient
    uri: str
    registry_uri: str
    artifact_root: str | None


def is_switched_off() -> bool:
    """Whether the user wants no run to be mirrored."""
    return os.environ.get(SWITCH, "").strip().lower() in ("off", "0", "false", "no")


def missing_mlflow() -> MissingDependencyError | None:
    """What MLflow lacks on this machine, or None if nothing."""
    for package in ("mlflow", "alembic", "pandas"):
        spec = find_spec(package)
        # A folder of that name where the user stands is no package.
        if spec is None or spec.origin is None:
            return MissingDependencyError(
                f"experiments and named models need the package {package}", hint="pip install 'nodewise[mlflow]'"
            )
    return None


def has_store(workspace: Workspace) -> bool:
    """Whether anything can be in MLflow's store: it is elsewhere, or the workspace's own was made."""
    return bool(os.environ.get(TRACKING_URI)) or _database(workspace).exists()


@contextmanager
def open_store(workspace: Workspace) -> Iterator[Store]:
    """Open MLflow's store for a block, and make it if it is the workspace's own and not there yet.

    Any number of processes may have it open at the same time.

    Raises:
        MissingDependencyError: MLflow is not installed.
        NodewiseError: From opening or from the block: MLflow could not do it.
    """
    missing = missing_mlflow()
    if missing is not None:
        raise missing
    uri = os.environ.get(TRACKING_URI)
    with _settings(), _quiet():
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        _hush()
        try:
            if uri:
                registry_uri = os.environ.get(_REGISTRY_URI) or uri
                yield Store(MlflowClient(uri, registry_uri), uri, registry_uri, None)
            else:
                yield _own_store(workspace)
        except MlflowException as error:
            reason = redact(" ".join(str(error).split()), known=secret_values(os.environ))
            raise NodewiseError(
                f"MLflow at {redact(uri) if uri else workspace.root / 'mlflow'} failed: {reason[:300]}",
                hint=f"is the server up that {TRACKING_URI} names?" if uri else None,
            ) from error


def _own_store(workspace: Workspace) -> Store:
    from mlflow import MlflowClient

    workspace.create()
    path = _database(workspace)
    folder = path.parent
    folder.mkdir(exist_ok=True)
    uri = f"sqlite:///{path}"
    # One process at a time makes or upgrades the tables.
    with (folder / "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = MlflowClient(uri, uri)
    return Store(client, uri, uri, (folder / "artifacts").as_uri())


def _database(workspace: Workspace) -> Path:
    return workspace.root / "mlflow" / "mlflow.db"


@contextmanager
def _settings() -> Iterator[None]:
    ours = {name: value for name, value in _SETTINGS.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            os.environ.pop(name, None)


_LOGGERS = ("mlflow", "alembic")


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines of MLflow's, and no warnings of its own use of other packages; as it was after the block."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            # What MLflow calls that will go away is between it and those packages; of itself it says much.
            for kind in (DeprecationWarning, PendingDeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", kind)
            warnings.filterwarnings("ignore", module=r"mlflow\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _hush() -> None:
    # After the import, which sets levels of its own. What goes wrong comes as an exception.
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
