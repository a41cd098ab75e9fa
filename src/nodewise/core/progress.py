"""How long work tells its caller where it stands."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SILENT", "Progress", "SilentProgress"]


class Progress(Protocol):
    """Receives what happens, from one thread. Implementations must not raise."""

    def scenario(self, name: str) -> None:
        """A scenario (or a single job's run) begins."""

    def stage(self, name: str, total: int | None = None) -> None:
        """A stage begins; ``total`` is how many steps it has, None when that is not known."""

    def advance(self, steps: int = 1, detail: str = "") -> None:
        """Steps of the current stage are done."""

    def done(self, detail: str = "") -> None:
        """The current stage is over."""

    def note(self, message: str) -> None:
        """Something that the user should read, in one line."""


class SilentProgress:
    """Says nothing; the default of the Python functions."""

    def scenario(self, name: str) -> None: ...

    def stage(self, name: str, total: int | None = None) -> None: ...

    def advance(self, steps: int = 1, detail: str = "") -> None: ...

    def done(self, detail: str = "") -> None: ...

    def note(self, message: str) -> None: ...


SILENT = SilentProgress()
