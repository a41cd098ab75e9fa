"""The options that say where a job runs, and the decorator that gives them to a command."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

__all__ = ["EngineChoice", "placed"]


class EngineChoice(StrEnum):
    """The engines by name."""

    LOCAL = "local"
    SPARK = "spark"
    RAY = "ray"


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options below, in the place of its parameter ``place``.

    The command gets what they come to: a dict of what the Python functions take (:class:`nodewise.api.RunOptions`).
    """
    options = inspect.signature(_place, eval_str=True).parameters
    own = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    for parameter in own.parameters.values():
        parameters += options.values() if parameter.name == "place" else [parameter]

    @functools.wraps(command)
    def with_place(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in options}
        command(**given, place=_place(**chosen))

    # Read by Typer, which would else follow __wrapped__ to the command's own parameters.
    with_place.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    with_place.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_place


def _place(
    *,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Run on this cluster of nodewise clusters, in place of the options below."),
    ] = None,
    engine: Annotated[EngineChoice, typer.Option(help="What runs the tasks.")] = EngineChoice.LOCAL,
    nodes: Annotated[int, typer.Option(help="Nodes; emulated on this machine unless --address names a cluster.")] = 1,
    cores_per_node: Annotated[
        int | None,
        typer.Option(help="Slots per node, threads of a training worker; by default a share of this machine's cores."),
    ] = None,
    cpus_per_node: Annotated[
        float | None,
        typer.Option(help="CPUs that an emulated node may use, such as 0.25; by default its share of this machine."),
    ] = None,
    memory_per_node: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory that an emulated node may use, such as 512MiB.")
    ] = None,
    network_per_node: Annotated[
        str | None, typer.Option(metavar="RATE", help="Of an emulated node's link, each way, such as 100Mbit/s.")
    ] = None,
    latency_per_node: Annotated[
        str | None, typer.Option(metavar="TIME", help="Added to what an emulated node sends, such as 5ms.")
    ] = None,
    node_type: Annotated[
        str | None,
        typer.Option(help="Node type to price the run with, such as Standard_DS3_v2; see nodewise nodes list."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option("--address", "--master", help="Spark master URL or Ray address of a cluster that is up."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the emulated Spark master or Ray head; any free one.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=VALUE", help="File the run's cost under this; repeatable."),
    ] = None,
    preflight: Annotated[
        bool,
        typer.Option("--preflight/--no-preflight", help="Look for what would fail before anything is started."),
    ] = True,
) -> dict[str, Any]:
    return {
        "cluster": cluster,
        "engine": engine.value,
        "nodes": nodes,
        "cores_per_node": cores_per_node,
        "cpus_per_node": cpus_per_node,
        "memory_per_node": memory_per_node,
        "network_per_node": network_per_node,
        "latency_per_node": latency_per_node,
        "node_type": node_type,
        "address": address,
        "port": port,
        "tags": _tags(tag or []),
        "preflight": preflight,
    }


def _tags(texts: list[str]) -> dict[str, str]:
    tags = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"--tag {text!r} is not NAME=VALUE")
        tags[name] = value
    return tags
