"""Finds out, before anything is started, whether what a scenario needs is on this machine."""

from __future__ import annotations

from importlib.util import find_spec

from nodewise.core.errors import MissingDependencyError

__all__ = ["missing_for_engine", "require_torch"]


def require_torch() -> None:
    """Raise MissingDependencyError unless PyTorch is installed."""
    for package in ("torch", "safetensors"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"training and scoring need the package {package}", hint="pip install 'nodewise[torch]'"
            )


def missing_for_engine(engine: str) -> MissingDependencyError | None:
    """What an engine lacks on this machine, or None if nothing."""
    try:
        if engine == "spark":
            from nodewise.engines.spark import require_java

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
