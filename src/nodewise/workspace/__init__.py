"""The folder where runs are kept: a SQLite database, and files beside it."""

from nodewise.workspace.location import find_workspace
from nodewise.workspace.store import Workspace

__all__ = ["Workspace", "find_workspace"]
