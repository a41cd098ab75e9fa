"""The options that say where a job runs and where its run is kept."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from nodewise.cli.progress import RichProgress

__all__ = [
    "AddressOption",
    "CoresOption",
    "EngineChoice",
    "EngineOption",
    "NodeTypeOption",
    "NodesOption",
    "PortOption",
    "TagOption",
    "place",
]


class EngineChoice(StrEnum):
    """The engines by name."""

    LOCAL = "local"
    SPARK = "spark"
    RAY = "ray"


EngineOption = Annotated[EngineChoice, typer.Option(help="What runs the tasks.")]
NodesOption = Annotated[int, typer.Option(help="Nodes; emulated on this machine unless --address names a cluster.")]
CoresOption = Annotated[
    int | None,
    typer.Option(help="Slots per node, threads of a training worker; by default a share of this machine's cores."),
]
NodeTypeOption = Annotated[
    str | None, typer.Option(help="Node type to price the run with, such as Standard_DS3_v2; see nodewise nodes list.")
]
AddressOption = Annotated[
    str | None, typer.Option("--address", "--master", help="Spark master URL or Ray address of a cluster that is up.")
]
PortOption = Annotated[int | None, typer.Option(help="Port of the emulated Spark master or Ray head; any free one.")]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="File the run's cost under this; repeatable.")
]


def place(
    engine: EngineChoice,
    nodes: int,
    cores_per_node: int | None,
    node_type: str | None,
    address: str | None,
    port: int | None,
    tag: list[str] | None,
    workspace: str | None,
    progress: RichProgress,
) -> Any:
    """These options as the Python functions take them."""
    tags = {}
    for text in tag or []:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"--tag {text!r} is not NAME=VALUE")
        tags[name] = value
    return {
        "engine": engine.value,
        "nodes": nodes,
        "cores_per_node": cores_per_node,
        "node_type": node_type,
        "address": address,
        "port": port,
        "tags": tags,
        "workspace": workspace,
        "progress": progress,
    }
