"""Named models as Python functions: what ``nodewise models`` calls.

They are in MLflow's registry: the workspace's own, or the one that ``MLFLOW_TRACKING_URI`` names. ``nodewise.score``
takes a model by name: ``models:/flowers@champion``.
"""

from __future__ import annotations

from os import PathLike

from nodewise.specs.models import ModelVersion, RegisteredModel
from nodewise.workspace import Workspace, find_workspace

__all__ = [
    "alias_model",
    "delete_model",
    "describe_model",
    "get_model",
    "list_models",
    "register_model",
]

StrPath = str | PathLike[str]


def list_models(*, workspace: StrPath | None = None) -> list[RegisteredModel]:
    """The models that have a name, in order of their names.

    Raises:
        MissingDependencyError: MLflow is not installed; so too from the functions below.
        NodewiseError: The registry cannot be reached; so too from the functions below.
    """
    from nodewise.tracking import registry
    from nodewise.tracking.store import has_store, missing_mlflow, open_store

    home, missing = _home(workspace), missing_mlflow()
    if missing is not None:
        raise missing
    if not has_store(home):
        return []
    with open_store(home) as store:
        return registry.list_models(store)


def get_model(name: str, *, workspace: StrPath | None = None) -> RegisteredModel:
    """One model with all its versions.

    Raises:
        UnknownNameError: There is none of that name.
    """
    from nodewise.tracking import registry

    with registry.open_registry(_home(workspace), name) as store:
        return registry.get_model(store, name)


def register_model(
    run_id: str,
    name: str,
    *,
    alias: str | None = None,
    description: str | None = None,
    workspace: StrPath | None = None,
) -> ModelVersion:
    """Give the model that a run has trained a name: it becomes the next version of the model of that name.

    Args:
        run_id: Of a run that trained, or as much of it as is unique.
        name: Letters, digits, ``_``, ``-`` and ``.``.
        alias: Stands for this version from now on, in place of the one that it stood for.
        description: Of the version.

    Raises:
        UnknownNameError: There is no such run.
        InputError: The run trained no model, or the model's file is gone; the name or the alias may not be.
    """
    from nodewise.tracking import registry
    from nodewise.tracking.store import open_store

    home = _home(workspace)
    registry.check_name(name)
    if alias is not None:
        registry.check_alias(alias)
    run = home.get_run(run_id)
    with open_store(home) as store:
        return registry.register_model(store, home, run, name, alias=alias, description=description)


def alias_model(
    name: str, alias: str, version: int | str | None, *, workspace: StrPath | None = None
) -> RegisteredModel:
    """Let an alias stand for a version of a model.

    Args:
        version: Its number, or another alias of it; None takes the alias away.

    Raises:
        UnknownNameError: There is no such model, version or, to be taken away, alias.
        InputError: The alias may not be.
    """
    from nodewise.tracking import registry

    registry.check_alias(alias)
    with registry.open_registry(_home(workspace), name) as store:
        if version is None:
            return registry.remove_alias(store, name, alias)
        return registry.set_alias(store, name, alias, str(version))


def describe_model(
    name: str, text: str, *, version: int | str | None = None, workspace: StrPath | None = None
) -> RegisteredModel:
    """Say what a model is, or one version of it, in place of what was said before.

    Raises:
        UnknownNameError: There is no such model or version.
    """
    from nodewise.tracking import registry

    with registry.open_registry(_home(workspace), name) as store:
        return registry.describe_model(store, name, text, reference=None if version is None else str(version))


def delete_model(name: str, *, version: int | str | None = None, workspace: StrPath | None = None) -> None:
    """Remove a name with all its versions, or one version. The runs keep what they trained.

    Raises:
        UnknownNameError: There is no such model or version.
    """
    from nodewise.tracking import registry

    with registry.open_registry(_home(workspace), name) as store:
        registry.delete_model(store, name, reference=None if version is None else str(version))


def _home(workspace: StrPath | None) -> Workspace:
    return Workspace(find_workspace(str(workspace) if workspace else None))
