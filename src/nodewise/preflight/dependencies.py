"""Whether what an engine or a job needs is on this machine."""

from __future__ import annotations

from importlib.util import find_spec

from nodewise.core.errors import MissingDependencyError
from nodewise.core.java import require_java

__all__ = ["missing_for_engine", "require_for_program", "require_torch"]


def require_torch() -> None:
    """Raise MissingDependencyError unless PyTorch is installed."""
    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"training and scoring need the package {package}", hint="pip install 'nodewise[torch]'"
            )


def require_for_program(kind: str) -> None:
    """Raise MissingDependencyError unless what runs a kind of program (``nodewise run``) is installed."""
    needed = {"notebook": ("notebook", ("nbclient", "nbformat", "ipykernel")), "ray": ("ray", ("ray", "aiohttp"))}
    extra, packages = needed.get(kind, ("", ()))
    for package in packages:
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"a program of the kind {kind!r} needs the package {package}", hint=f"pip install 'nodewise[{extra}]'"
            )
    missing = missing_for_engine(kind)
    if missing is not None:
        raise missing


def missing_for_engine(engine: str) -> MissingDependencyError | None:
    """What an engine lacks on this machine, or None if nothing."""
    try:
        if engine == "spark":
            require_java()
        if engine in ("spark", "ray"):
            package = {"spark": "pyspark", "ray": "ray"}[engine]
            if find_spec(package) is None:
                raise MissingDependencyError(
                    f"engine {engine!r} needs the package {package}", hint=f"pip install 'nodewise[{engine}]'"
                )
    except MissingDependencyError as error:
        return error
    return None
