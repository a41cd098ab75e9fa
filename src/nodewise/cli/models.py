"""``nodewise models``: trained models under names."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from nodewise.cli.options import DebugOption, JsonOption, WorkspaceOption
from nodewise.cli.output import emit, one_line, say, show
from nodewise.core.errors import InputError

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from nodewise.specs.models import ModelVersion, RegisteredModel

__all__ = ["app"]

app = typer.Typer(help="Trained models under names, in MLflow's registry.")

_NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model's name.")]
_VersionOption = Annotated[
    str | None, typer.Option("--version", metavar="VERSION", help="Only this version: its number, or an alias of it.")
]


@app.command("list", epilog="Example: nodewise models list --json models.json")
def list_models(
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """List the models that have a name."""
    import nodewise

    models = nodewise.list_models(workspace=workspace)
    if models:
        show(_list_table(models), json_path)
    else:
        say("no models; give one a name with `nodewise models register RUN_ID --name NAME`")
    emit("models list", {"models": models}, json_path)


@app.command("show", epilog="Example: nodewise models show flowers")
def show_model(
    name: _NameArgument,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Show one model with its versions: which run trained each, on what, and how well."""
    import nodewise

    model = nodewise.get_model(name, workspace=workspace)
    show(_page(model), json_path)
    emit("models show", model, json_path)


@app.command(
    "register", epilog="Example: nodewise models register 20261121-114530-3f9a --name flowers --alias champion"
)
def register(
    run_id: Annotated[str, typer.Argument(metavar="RUN_ID", help="A run that trained, or as much of it as is unique.")],
    name: Annotated[str, typer.Option("--name", help="The model's name; it is made if it is new.")],
    alias: Annotated[
        str | None, typer.Option("--alias", help="Stands for this version from now on, such as champion.")
    ] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="What this version is.")
    ] = None,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Give a trained model a name: it becomes the next version of the model of that name."""
    import nodewise

    version = nodewise.register_model(run_id, name, alias=alias, description=description, workspace=workspace)
    uri = f"models:/{name}@{alias}" if alias else version.uri
    say(f"run {version.run_id} is version {version.version} of {name}; use it as {uri}")
    emit("models register", version, json_path)


@app.command("alias", epilog="Example: nodewise models alias flowers champion 3")
def alias_model(
    name: _NameArgument,
    alias: Annotated[str, typer.Argument(metavar="ALIAS", help="Such as champion.")],
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="That it stands for from now on: its number or an alias.")
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away; the version stays.")] = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Let an alias stand for a version: models:/NAME@ALIAS."""
    import nodewise

    if remove is (version is not None):
        raise InputError("an alias needs either a VERSION or --remove", hint=f"nodewise models alias {name} {alias} 1")
    model = nodewise.alias_model(name, alias, version, workspace=workspace)
    say(f"{alias} is gone" if remove else f"models:/{name}@{alias} is version {model.aliases[alias]}")
    emit("models alias", model, json_path)


@app.command("describe", epilog='Example: nodewise models describe flowers "Five kinds of flowers" --version 3')
def describe(
    name: _NameArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="In place of what was said before.")],
    version: _VersionOption = None,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Say what a model is."""
    import nodewise

    model = nodewise.describe_model(name, text, version=version, workspace=workspace)
    show(_page(model), json_path)
    emit("models describe", model, json_path)


@app.command("delete", epilog="Example: nodewise models delete flowers --version 2 -y")
def delete(
    name: _NameArgument,
    version: _VersionOption = None,
    yes: Annotated[bool, typer.Option("-y", "--yes", help="Do not ask.")] = False,
    json_path: JsonOption = None,
    workspace: WorkspaceOption = None,
    _debug: DebugOption = False,
) -> None:
    """Remove a name with its versions, or one version; the runs keep what they trained."""
    import nodewise

    model = nodewise.get_model(name, workspace=workspace)
    what = f"version {version} of {name}" if version else f"{name} with {_count(len(model.versions))}"
    if not yes and not sys.stdin.isatty():
        raise InputError("deleting needs a yes, and there is no terminal to ask on", hint="add -y; nothing was deleted")
    deleted = yes or typer.confirm(f"Delete {what}?", err=True)
    if deleted:
        nodewise.delete_model(name, version=version, workspace=workspace)
        say(f"deleted {what}")
    emit("models delete", {"name": name, "version": version, "deleted": deleted}, json_path)


def _count(number: int) -> str:
    return "1 version" if number == 1 else f"{number} versions"


def _list_table(models: list[RegisteredModel]) -> Table:
    table = _table("NAME", "VERSIONS", "NEWEST", "ACCURACY", "ALIASES", "DESCRIPTION", right=("VERSIONS", "ACCURACY"))
    for model in models:
        newest = model.versions[0] if model.versions else None
        table.add_row(
            one_line(model.name),
            str(len(model.versions)),
            f"{newest.created_at:%Y-%m-%d}" if newest else "",
            _accuracy(newest) if newest else "",
            ", ".join(f"{one_line(alias)}={number}" for alias, number in model.aliases.items()),
            one_line(model.description),
        )
    return table


def _page(model: RegisteredModel) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(one_line(f"{model.name}  {model.description}".strip())), Text()]
    table = _table(
        "VERSION", "RUN", "MADE", "ACCURACY", "DATA", "ALIASES", "DESCRIPTION", right=("VERSION", "ACCURACY")
    )
    for version in model.versions:
        table.add_row(
            str(version.version),
            one_line(version.run_id),
            f"{version.created_at:%Y-%m-%d}",
            _accuracy(version),
            one_line(version.data_fingerprint[:8]),
            one_line(", ".join(version.aliases)),
            one_line(version.description),
        )
    return Group(*parts, table)


def _accuracy(version: ModelVersion) -> str:
    return "" if version.accuracy is None else f"{version.accuracy:.1%}"


def _table(*names: str, right: tuple[str, ...]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for name in names:
        # On a narrow terminal what people wrote wraps, and ids stay whole.
        wraps = name in ("ALIASES", "DESCRIPTION")
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=not wraps,
            overflow="fold",
            min_width=len(name),
        )
    return table
