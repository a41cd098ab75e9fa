"""Models under names: versions, aliases, descriptions. MLflow's registry, with names and errors checked."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nodewise.core.errors import InputError, UnknownNameError
from nodewise.core.secrets import redact, secret_values
from nodewise.specs.models import ModelVersion, RegisteredModel
from nodewise.specs.run import RunRecord
from nodewise.tracking.facts import ACCURACY, FINGERPRINT, RUN_ID, SHA256
from nodewise.tracking.record import find_run, log_run, model_path_of
from nodewise.tracking.store import Store, has_store, missing_mlflow, open_store
from nodewise.workspace.store import Workspace

if TYPE_CHECKING:
    from mlflow.entities import model_registry

__all__ = [
    "check_alias",
    "check_name",
    "delete_model",
    "describe_model",
    "get_model",
    "get_version",
    "list_models",
    "open_registry",
    "register_model",
    "remove_alias",
    "set_alias",
]

_PAGE = 1000
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_ALIAS = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")
_IS_VERSION = re.compile(r"[vV]?\d+|latest", re.IGNORECASE)


def check_name(name: str) -> str:
    """The name, if a model may have it.

    Raises:
        InputError: It may not.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name!r} is no name for a model", hint="use letters, digits, '_', '-' and '.', a letter or digit first"
        )
    return name


def check_alias(alias: str) -> str:
    """The alias, if a version may have it.

    Raises:
        InputError: It may not.
    """
    if not _ALIAS.fullmatch(alias) or _IS_VERSION.fullmatch(alias):
        raise InputError(
            f"{alias!r} is no alias for a version",
            hint="use letters, digits, '_' and '-', and no word that means a version, such as 3, v3 or latest",
        )
    return alias


@contextmanager
def open_registry(workspace: Workspace, name: str) -> Iterator[Store]:
    """The store in which a model of that name may be; a workspace that has none is left without one.

    Raises:
        InputError: It is no name for a model.
        UnknownNameError: No model has a name yet.
        MissingDependencyError, NodewiseError: As :func:`~nodewise.tracking.store.open_store`.
    """
    check_name(name)
    missing = missing_mlflow()
    if missing is not None:
        raise missing
    if not has_store(workspace):
        raise UnknownNameError("model", name, (), where=f"workspace {workspace.root}")
    with open_store(workspace) as store:
        yield store


def list_models(store: Store) -> list[RegisteredModel]:
    """All models, in order of their names."""
    versions = defaultdict(list)
    for version in _all_pages(store.client.search_model_versions):
        versions[version.name].append(version)
    found = _all_pages(store.client.search_registered_models)
    return [_model(model, versions[model.name]) for model in sorted(found, key=lambda model: str(model.name))]


def get_model(store: Store, name: str) -> RegisteredModel:
    """One model with its versions.

    Raises:
        InputError: It is no name for a model.
        UnknownNameError: There is no such model; it lists those that there are.
    """
    check_name(name)
    models = {model.name: model for model in list_models(store)}
    if name not in models:
        raise UnknownNameError("model", name, models)
    return models[name]


def get_version(store: Store, name: str, reference: str | int) -> ModelVersion:
    """The version with that number or that alias.

    Raises:
        UnknownNameError: There is none; it lists those that there are.
    """
    model = get_model(store, name)
    number = str(model.aliases.get(str(reference), reference))
    for version in model.versions:
        if str(version.version) == number:
            return version
    known = [*(str(version.version) for version in model.versions), *model.aliases]
    raise UnknownNameError("version or alias", str(reference), known, where=f"model {name}")


def register_model(
    store: Store,
    workspace: Workspace,
    run: RunRecord,
    name: str,
    *,
    alias: str | None = None,
    description: str | None = None,
) -> ModelVersion:
    """Make the model that a run has trained the next version of a named one, which is made if it is new.

    A run that was not mirrored to MLflow when it ended is mirrored now.

    Raises:
        InputError: The name or the alias may not be, or the run has trained no model, or it is gone.
    """
    from mlflow.exceptions import MlflowException

    check_name(name)
    if alias is not None:
        check_alias(alias)
    client = store.client
    logged = _logged_model(store, workspace, run)
    if name not in _names(store):
        try:
            client.create_registered_model(name)
        except MlflowException:
            # Somebody else has made it in this moment.
            client.get_registered_model(name)
    created = client.create_model_version(
        name,
        source=logged.artifact_location,
        run_id=logged.source_run_id,
        tags={key: logged.tags[key] for key in (RUN_ID, ACCURACY, FINGERPRINT, SHA256) if key in logged.tags},
        description=None if description is None else _without_secrets(description),
        model_id=logged.model_id,
    )
    if alias is not None:
        client.set_registered_model_alias(name, alias, created.version)
    return get_version(store, name, int(created.version))


def set_alias(store: Store, name: str, alias: str, reference: str) -> RegisteredModel:
    """Let the alias stand for a version, and no longer for the one that it stood for before."""
    check_alias(alias)
    version = get_version(store, name, reference)
    store.client.set_registered_model_alias(name, alias, str(version.version))
    return get_model(store, name)


def remove_alias(store: Store, name: str, alias: str) -> RegisteredModel:
    """Take an alias away; its version stays.

    Raises:
        UnknownNameError: There is none.
    """
    aliases = get_model(store, name).aliases
    if alias not in aliases:
        raise UnknownNameError("alias", alias, aliases, where=f"model {name}")
    store.client.delete_registered_model_alias(name, alias)
    return get_model(store, name)


def describe_model(store: Store, name: str, text: str, *, reference: str | None = None) -> RegisteredModel:
    """Say what a model is, or one version of it, in place of what was said before."""
    text = _without_secrets(text)
    if reference is None:
        get_model(store, name)
        store.client.update_registered_model(name, text)
    else:
        version = get_version(store, name, reference)
        store.client.update_model_version(name, str(version.version), text)
    return get_model(store, name)


def delete_model(store: Store, name: str, *, reference: str | None = None) -> None:
    """Remove a name with all its versions, or one version; the runs keep their models."""
    if reference is None:
        get_model(store, name)
        store.client.delete_registered_model(name)
    else:
        version = get_version(store, name, reference)
        store.client.delete_model_version(name, str(version.version))


def _logged_model(store: Store, workspace: Workspace, run: RunRecord) -> Any:
    """The run's model in MLflow."""
    path = model_path_of(run)
    if path is None:
        raise InputError(f"run {run.run_id} ({run.command}) has trained no model", hint="`nodewise runs list` has more")
    logged = _find_logged(store, find_run(store, run))
    if logged is None:
        if not path.is_file():
            raise InputError(f"the model of run {run.run_id} is gone: {path}")
        logged = _find_logged(store, log_run(store, workspace, run))
    return logged


def _find_logged(store: Store, mlflow_run_id: str | None) -> Any | None:
    if mlflow_run_id is None:
        return None
    outputs = store.client.get_run(mlflow_run_id).outputs
    models = outputs.model_outputs if outputs is not None else []
    return store.client.get_logged_model(models[0].model_id) if models else None


def _names(store: Store) -> list[str]:
    return [str(model.name) for model in _all_pages(store.client.search_registered_models)]


def _all_pages(search: Any) -> list[Any]:
    """All that a search without a filter finds."""
    found: list[Any] = []
    token = None
    while True:
        page = search(max_results=_PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _model(model: model_registry.RegisteredModel, versions: list[model_registry.ModelVersion]) -> RegisteredModel:
    aliases = {str(alias): int(number) for alias, number in sorted(model.aliases.items())}
    ordered = sorted(versions, key=lambda version: int(version.version), reverse=True)
    return RegisteredModel(
        name=model.name,
        description=model.description or "",
        versions=tuple(_version(version, aliases) for version in ordered),
        aliases=aliases,
    )


def _version(version: model_registry.ModelVersion, aliases: dict[str, int]) -> ModelVersion:
    number, tags = int(version.version), version.tags
    return ModelVersion(
        name=version.name,
        version=number,
        uri=f"models:/{version.name}/{number}",
        created_at=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        aliases=tuple(alias for alias, of in aliases.items() if of == number),
        description=version.description or "",
        run_id=tags.get(RUN_ID, ""),
        mlflow_run_id=version.run_id or "",
        accuracy=_number(tags.get(ACCURACY)),
        data_fingerprint=tags.get(FINGERPRINT, ""),
        sha256=tags.get(SHA256, ""),
        source=version.source or "",
    )


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


def _without_secrets(text: str) -> str:
    return redact(text, known=secret_values(os.environ))
