"""What a comparison runs in every scenario."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nodewise.report.html import PredictedImage
from nodewise.runs.session import Session

__all__ = ["ComparedWork"]


class ComparedWork(Protocol):
    """The same work for every scenario, checked before the first one is started.

    Attributes:
        modules: What its tasks will need first.
        connect: Whether the session runs its tasks.
        source_name, source: What it works on, in words.
        fingerprint: Of that; of images known when it was carried out.
        images: Some that were scored.
    """

    modules: Sequence[str]
    connect: bool
    source_name: str
    source: str
    fingerprint: str
    images: list[PredictedImage]

    def carry_out(self, session: Session) -> None:
        """Do it all on the cluster of a session."""

    def look_at(self, folder: Path) -> None:
        """Take from the run's folder what the report shows, when the cluster is gone and no time is billed."""

    def clean(self, folder: Path) -> None:
        """Remove from the run's folder what takes room and any run makes again."""
