"""What advice is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from nodewise.specs.advice import Goal
from nodewise.specs.advice_request import SpotSpec, StreamSpec

__all__ = ["Request"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be small, and what must not be exceeded.

    Attributes:
        deadline_s: Longest time of a run; goes with goal ``cost``.
        budget_usd: Highest cost of a run; goes with goal ``time``.
        spot: What is assumed of nodes at spot prices, which the space then has; None: nobody takes nodes away.
        stream: What to keep up with at the least price per hour; its ``records_per_run`` is known. It stands in place
            of a goal, a limit and spot prices.
        max_runs: Of the search, those known before included; None: as the search has it.
    """

    goal: Goal = "cost"
    deadline_s: float | None = None
    budget_usd: float | None = None
    spot: SpotSpec | None = None
    stream: StreamSpec | None = None
    max_runs: int | None = None
