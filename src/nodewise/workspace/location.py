"""Where the workspace is."""

from __future__ import annotations

import os
from pathlib import Path

from nodewise.core.errors import InputError

__all__ = ["ENVIRONMENT_VARIABLE", "find_workspace"]

ENVIRONMENT_VARIABLE = "NODEWISE_WORKSPACE"


def find_workspace(option: str | None = None) -> Path:
    """The workspace's folder: the option, else ``NODEWISE_WORKSPACE``, else ``.nodewise`` in the current folder.

    The folder need not be there yet.

    Raises:
        InputError: The path is a file.
    """
    path = Path(option or os.environ.get(ENVIRONMENT_VARIABLE) or ".nodewise").expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise InputError(f"workspace {path} is a file", hint="give a folder with --workspace or NODEWISE_WORKSPACE")
    return path
