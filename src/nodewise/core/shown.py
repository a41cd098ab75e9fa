"""Results that notebooks show as a page."""

from __future__ import annotations

from importlib import import_module
from typing import ClassVar

__all__ = ["Shown"]


class Shown:
    """A result with a page.

    Results lie below the pages that are made of them, so they know the function that makes theirs only by its name, as
    an entry point does.

    Attributes:
        page: ``module:function``; the function takes the result and returns HTML.
    """

    __slots__ = ()
    page: ClassVar[str]

    def _repr_html_(self) -> str:
        """The page, for notebooks."""
        module, _, function = self.page.partition(":")
        return str(getattr(import_module(module), function)(self))
