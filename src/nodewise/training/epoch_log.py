"""The file that tells whoever watches how a training goes on: a line of JSON per epoch."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from nodewise.specs.results import EpochResult

__all__ = ["add_epoch", "begin_epoch_log"]


def begin_epoch_log(path: Path, epochs: Iterable[EpochResult]) -> None:
    """Begin it anew with the epochs that a checkpoint brought along."""
    path.write_text("".join(map(_line, epochs)))


def add_epoch(path: Path, epoch: EpochResult) -> None:
    """An epoch is over."""
    with path.open("a") as log:
        log.write(_line(epoch))


def _line(epoch: EpochResult) -> str:
    return json.dumps(asdict(epoch)) + "\n"
