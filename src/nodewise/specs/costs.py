"""What was spent, against which budget, and what the real bill says. In results money is text, so it stays exact."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from nodewise.core.units import format_usd

__all__ = [
    "BillRow",
    "Budget",
    "BudgetFinding",
    "CostRow",
    "CostsResult",
    "ImportResult",
    "OtherCurrency",
    "Period",
]

Period = Literal["month", "total"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent under a tag.

    Attributes:
        tag: ``NAME=VALUE``.
        warn: From here on a start is warned of; None: never.
        stop: From here on nothing is started; None: never.
        period: ``month``: each calendar month (UTC) anew; ``total``: once and for all.
    """

    tag: str
    currency: str = "USD"
    warn: Decimal | None = None
    stop: Decimal | None = None
    period: Period = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetFinding:
    """A budget that is used up, or would be.

    Attributes:
        spent: In the budget's period so far, emulated nodes at what they would have cost.
        emulated: The part of ``spent`` that was never billed.
        expected: What the start that was asked for may add.
        limit: The budget's ``warn`` or ``stop``, as ``level`` says.
        unpriced_node_hours: Node time under the tag whose price is unknown, and which ``spent`` therefore lacks.
    """

    tag: str
    level: Literal["warn", "stop"]
    currency: str
    period: Period
    spent: Decimal
    emulated: Decimal
    expected: Decimal
    limit: Decimal
    unpriced_node_hours: float

    @property
    def message(self) -> str:
        """One line for people."""
        when = "this month" if self.period == "month" else "so far"
        # As many digits as tell small amounts apart; the currency stands beside them.
        spent, emulated, expected, limit = (
            format_usd(amount).removeprefix("$") for amount in (self.spent, self.emulated, self.expected, self.limit)
        )
        more = f" and {expected} more expected" if self.expected else ""
        of_it = f" ({emulated} of it by emulated nodes)" if self.emulated else ""
        return (
            f"budget {self.tag}: {spent} {self.currency} spent {when}{of_it}{more}, "
            f"the limit to {self.level} at is {limit} {self.currency}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BillRow:
    """One line of a real bill.

    Attributes:
        source: ``azure``, ``focus`` or ``databricks``, and the file's name.
        row_key: The same for the same line of the same bill, whichever file it is in.
        resource: Name or path of what was billed; empty where the bill does not say.
        cost: None where the bill gives a quantity only and its price is not known.
    """

    source: str
    row_key: str
    day: date
    service: str
    resource: str
    cost: Decimal | None
    currency: str
    quantity: Decimal | None = None
    unit: str = ""
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What one key (a tag's value, a cluster, a job, a user or a day) comes to, in US dollars.

    Attributes:
        usd: nodewise's estimate, ``real_usd`` + ``emulated_usd``.
        real_usd: Of nodes that a cloud rents out: list price x time.
        emulated_usd: What emulated nodes would have cost; nobody billed it.
        precise_usd, precise_emulated_usd: ``usd`` and ``emulated_usd`` in millionths instead of cents.
        actual_usd: What imported bills say; None where they say nothing of this key.
        difference_usd: ``actual_usd`` - ``real_usd``.
        node_hours: Of all nodes, priced or not.
        unpriced_node_hours: The part of it for which a price is not known; it is in no sum.
    """

    key: str
    usd: str
    real_usd: str
    emulated_usd: str
    precise_usd: str
    precise_emulated_usd: str
    actual_usd: str | None
    difference_usd: str | None
    node_hours: float
    unpriced_node_hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherCurrency:
    """Money in another currency than US dollars, which is never added to them.

    Attributes:
        rows: ``{"key", "estimate", "actual"}``; ``actual`` is None where no bill speaks of the key.
    """

    currency: str
    total_estimate: str
    total_actual: str | None
    rows: tuple[dict[str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CostsResult:
    """The answer of ``nodewise costs``. Every column of ``rows`` adds up to its total, to the last digit shown.

    Attributes:
        by: ``tag:NAME``, ``cluster``, ``job``, ``user`` or ``day``.
        since, until: Bounds; ``until`` is outside. None: no bound.
        unpriced_bill_rows: Lines of bills that give a quantity without a known price.
        price_dates: When the prices of the estimate were read, ISO 8601, each date once.
    """

    by: str
    since: datetime | None
    until: datetime | None
    total_usd: str
    real_usd: str
    emulated_usd: str
    precise_usd: str
    precise_emulated_usd: str
    actual_usd: str | None
    node_hours: float
    unpriced_node_hours: float
    unpriced_bill_rows: int
    price_dates: tuple[str, ...]
    rows: tuple[CostRow, ...]
    other_currencies: tuple[OtherCurrency, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What came of importing a bill.

    Attributes:
        kind: ``azure``, ``focus`` or ``databricks``.
        rows: Lines in the file, the header not counted.
        added: Of these, new to the workspace.
        known: Imported before.
        unpriced: Of those added, without a known price.
        bad: ``line N: why`` of each line that could not be read; at most 20 are kept.
        bad_rows: How many there were.
        totals: Money added by currency, exact.
        first_day, last_day: Of the lines that could be read.
    """

    file: str
    kind: str
    rows: int
    added: int
    known: int
    unpriced: int
    bad_rows: int
    bad: tuple[str, ...]
    totals: dict[str, str]
    first_day: str | None
    last_day: str | None
