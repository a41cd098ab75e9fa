"""What was found before anything was started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that would go wrong, or may.

    Attributes:
        level: ``error``: nothing can be started; ``warning``: it can, and will go worse than it might.
        what: What is wrong, and where, in one line.
        detail: The numbers or the reason behind it; may be empty.
        remedy: What to do about it.
    """

    level: Literal["error", "warning"]
    what: str
    detail: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """What and why, in one line."""
        return f"{self.what}: {self.detail}" if self.detail else self.what
