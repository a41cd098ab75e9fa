"""Tables and lines in the terminal. Names are printed as they are: nothing in them is taken for markup."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nodewise.report import text

__all__ = ["Column", "make_table", "print_line", "print_path"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column by its header: numbers to the right; ``folds`` is for names, which may take several lines."""

    header: str
    justify: Literal["left", "right"] = "right"
    folds: bool = False


def make_table(*columns: Column) -> Table:
    """A table without rows."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1))
    for column in columns:
        # Folding keeps every character; rich's default would cut words off with an ellipsis.
        table.add_column(
            Text(column.header),
            justify=column.justify,
            overflow="fold",
            no_wrap=not column.folds,
        )
    return table


def print_line(console: Console, words: str, *, style: str = "", whole: bool = False) -> None:
    """Print a line; ``whole`` lets the terminal wrap it, so that a path can be copied and clicked."""
    console.print(Text(text.printable(words), style=style), soft_wrap=whole)


def print_path(console: Console, what: str, path: str) -> None:
    """Print where something is, as a whole line."""
    print_line(console, f"{what}: {path}", whole=True)
