"""Which cluster should this data or ML job run on, and is it worth it?

The functions below are what the command line calls; importing this package loads no engine and no array library.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodewise.api import compare, prepare, score, train

__all__ = ["__version__", "compare", "prepare", "score", "train"]

__version__ = version("nodewise")


def __getattr__(name: str) -> Any:
    if name in ("compare", "prepare", "score", "train"):
        return getattr(import_module("nodewise.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
