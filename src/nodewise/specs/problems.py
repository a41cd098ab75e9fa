"""What is wrong with a value, and the ranges that most values have."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from nodewise.core.errors import SpecError

__all__ = ["Key", "Problem", "at_least", "between", "format_key", "one_of", "raise_first", "share", "under"]

Key = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top of the file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the value at ``key``."""

    key: Key
    text: str
    hint: str | None = None


def format_key(key: Key) -> str:
    """``jobs.train.epochs``, ``scenarios[2].nodes``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def raise_first(problems: Iterator[Problem]) -> None:
    """The first problem as a SpecError, if there is one."""
    for problem in problems:
        raise SpecError(f"{format_key(problem.key)} {problem.text}", hint=problem.hint)


def at_least(spec: object, name: str, least: int) -> Iterator[Problem]:
    """The field, unless it is None, is no less than that."""
    value = getattr(spec, name)
    if value is not None and value < least:
        yield Problem((name,), f"must be at least {least}, not {value}")


def between(spec: object, name: str, least: int, most: int) -> Iterator[Problem]:
    """The field, unless it is None, is in that range, both ends with it."""
    value = getattr(spec, name)
    if value is not None and not least <= value <= most:
        yield Problem((name,), f"must be from {least} to {most}, not {value}")


def share(spec: object, name: str, *, zero: bool, one: bool) -> Iterator[Problem]:
    """The field is between 0 and 1; ``zero`` and ``one`` say whether these count."""
    value = getattr(spec, name)
    # Written so that not-a-number fails too.
    if not (0 < value < 1 or (zero and value == 0) or (one and value == 1)):
        least, most = "at least" if zero else "above", "at most" if one else "below"
        yield Problem((name,), f"must be {least} 0 and {most} 1, not {value:g}")


def one_of(spec: object, name: str, alias: object) -> Iterator[Problem]:
    """The field, unless it is None, is one of the values of a Literal."""
    value, known = getattr(spec, name), get_args(alias)
    if value is not None and value not in known:
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else None
        yield Problem((name,), f"must be one of {', '.join(map(repr, known))}, not {value!r}", hint)


def under(key: Key, problems: Iterator[Problem]) -> Iterator[Problem]:
    """The same problems, of a value that stands at ``key``."""
    for problem in problems:
        yield dataclasses.replace(problem, key=(*key, *problem.key))
