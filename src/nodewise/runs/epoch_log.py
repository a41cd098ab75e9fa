"""Tells how training goes on while it runs elsewhere: every epoch that it writes to a file."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nodewise.core.progress import Progress

__all__ = ["telling_epochs"]

WATCH_S = 0.2


@contextmanager
def telling_epochs(path: Path, progress: Progress) -> Iterator[None]:
    """Advance the progress with every whole line that somebody else writes to the file during the block."""
    over = threading.Event()

    def follow() -> None:
        told = 0
        while True:
            last_look = over.wait(WATCH_S)
            with suppress(OSError):
                lines = path.read_text().split("\n")[:-1]
                # A gang that was started again begins a new file.
                told = told if told <= len(lines) else 0
                for line in lines[told:]:
                    progress.advance(detail=_describe(line))
                told = len(lines)
            if last_look:
                return

    follower = threading.Thread(target=follow, name="follow-epochs", daemon=True)
    follower.start()
    try:
        yield
    finally:
        over.set()
        follower.join()


def _describe(line: str) -> str:
    epoch = json.loads(line)
    accuracy = epoch["test_accuracy"] if epoch["test_accuracy"] is not None else epoch["train_accuracy"]
    return f"loss {epoch['loss']:.3f}, accuracy {accuracy:.1%}"
