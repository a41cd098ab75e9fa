"""Which cluster should this data or ML job run on, and is it worth it?

The functions below are what the command line calls; importing this package loads no engine and no array library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nodewise.api import check_data, compare, data_stats, prepare, score, speedtest, train

    __version__: str

__all__ = [
    "__version__",
    "check_data",
    "compare",
    "data_stats",
    "prepare",
    "score",
    "speedtest",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Every worker imports this package, and finding versions takes longer than all else that it imports.
        from importlib.metadata import version

        return version("nodewise")
    if name in __all__:
        return getattr(import_module("nodewise.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
