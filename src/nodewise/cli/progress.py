"""Shows on standard error where long work stands."""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from nodewise.cli.output import console, one_line
from nodewise.core.units import format_duration

__all__ = ["RichProgress"]


class RichProgress:
    """A live bar per stage on a terminal; elsewhere one plain line when a stage begins and one when it ends.

    Used as a context manager, which gives the terminal back whatever happens in the block. What cannot be shown,
    because standard error is closed, is dropped: a display must not end the work.
    """

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._is_live = self._console.is_terminal and not self._console.is_dumb_terminal
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            disable=not self._is_live,
        )
        self._task: TaskID | None = None
        self._scenario = self._stage = ""
        self._started = 0.0

    def __enter__(self) -> RichProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def scenario(self, name: str) -> None:
        """A scenario begins: later stages are shown under its name."""
        self._end_bar()
        self._scenario = one_line(name)

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; without a total the bar only shows that something happens."""
        self._end_bar()
        self._stage = one_line(name)
        self._started = time.perf_counter()
        self._task = self._bar.add_task(self._name, total=total, detail="")
        if not self._is_live:
            self._print(f"{self._name} ...")

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """The bar moves; a plain display says nothing until the stage ends."""
        if self._task is not None:
            self._bar.update(self._task, advance=steps, detail=one_line(detail))

    def done(self, detail: str = "") -> None:
        """One line stays: the stage, how long it took, and the detail."""
        if self._task is not None:
            took = format_duration(time.perf_counter() - self._started)
            self._end_bar()
            self._print(f"{self._name}  {took}" + (f"  {one_line(detail)}" if detail else ""))

    def note(self, message: str) -> None:
        """A line above the bar."""
        self._print(f"note: {one_line(message)}")

    @property
    def _name(self) -> str:
        return f"{self._scenario}: {self._stage}" if self._scenario else self._stage

    def _end_bar(self) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
            self._bar.refresh()
            self._task = None

    def _print(self, line: str) -> None:
        try:
            self._console.print(Text(line), soft_wrap=True)
        except OSError:
            return
