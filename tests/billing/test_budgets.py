from __future__ import annotations

import pickle
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from nodewise.billing.budgets import budget_states, check_budgets, enforce_budgets, make_budget
from nodewise.core.errors import BudgetExceededError, InputError
from nodewise.workspace import Workspace

from .bills import NOON, entry

TAGS = {"team": "vision"}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


def put(workspace: Workspace, warn: str | None = None, stop: str | None = None, period: str = "month") -> None:
    limits = {"warn": Decimal(warn) if warn else None, "stop": Decimal(stop) if stop else None}
    workspace.budgets.put(make_budget("tag:team=vision", period=period, **limits))  # type: ignore[arg-type]


def spend(workspace: Workspace, usd: int, **changes: object) -> None:
    workspace.ledger.add([entry(price_per_hour=Decimal(usd), tags=TAGS, **changes)])


@pytest.mark.parametrize(
    ("spent", "expected", "level"),
    [
        (4, None, None),
        (4, "1", None),  # exactly up to the limit is allowed
        (4, "1.01", "warn"),
        (5, None, "warn"),
        (4, "6", "warn"),
        (4, "6.01", "stop"),
        (10, None, "stop"),
        (11, "0", "stop"),
    ],
)
def test_a_budget_warns_and_then_stops(
    workspace: Workspace, spent: int, expected: str | None, level: str | None
) -> None:
    put(workspace, warn="5", stop="10")
    spend(workspace, spent)

    findings = check_budgets(workspace, TAGS, Decimal(expected) if expected else None, now=NOON)

    assert [finding.level for finding in findings] == ([level] if level else [])


def test_a_budget_counts_its_tag_alone(workspace: Workspace) -> None:
    put(workspace, stop="10")
    workspace.ledger.add([entry(price_per_hour=Decimal(99), tags={"team": "audio"}), entry(price_per_hour=Decimal(99))])
    spend(workspace, 3)
    spend(workspace, 2, emulated=True)
    workspace.ledger.add([entry(price_per_hour=None, tags=TAGS, hours=2)])

    (state,) = budget_states(workspace, TAGS, now=NOON)

    assert (state.spent, state.emulated, state.unpriced_node_hours) == (5, 2, 2.0)
    assert check_budgets(workspace, {"team": "audio"}) == []
    assert check_budgets(workspace, {}) == []


def test_a_month_begins_anew_and_a_total_does_not(workspace: Workspace) -> None:
    # Two hours around the end of October, at $6: one is November's.
    spend(workspace, 6, started_at=datetime(2026, 10, 31, 23, tzinfo=UTC), hours=2)

    put(workspace, stop="10")
    assert [state.spent for state in budget_states(workspace, now=NOON)] == [6]
    put(workspace, stop="10", period="total")
    assert [state.spent for state in budget_states(workspace, now=NOON)] == [12]
    assert check_budgets(workspace, TAGS, now=NOON)[0].message == (
        "budget team=vision: 12.00 USD spent so far, the limit to stop at is 10.00 USD"
    )


def test_a_budget_that_is_used_up_refuses_the_start(workspace: Workspace) -> None:
    put(workspace, warn="1", stop="3", period="total")
    spend(workspace, 2, emulated=True)

    (warning,) = enforce_budgets(workspace, TAGS)
    assert warning.message == (
        "budget team=vision: 2.00 USD spent so far (2.00 of it by emulated nodes), the limit to warn at is 1.00 USD"
    )
    with pytest.raises(BudgetExceededError, match=r"and 1\.50 more expected, the limit to stop") as caught:
        enforce_budgets(workspace, TAGS, Decimal("1.50"))
    assert (caught.value.exit_code, caught.value.code) == (2, "budget_exceeded")
    assert caught.value.hint is not None
    assert "nodewise costs budget set tag:team=vision --stop" in caught.value.hint
    assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message


def test_the_budgets_that_stop_come_first(workspace: Workspace) -> None:
    workspace.budgets.put(make_budget("a=1", warn=Decimal(0), stop=None, period="total"))
    workspace.budgets.put(make_budget("b=1", warn=None, stop=Decimal(0), period="total"))

    findings = check_budgets(workspace, {"b": "1", "a": "1"})

    assert [(finding.tag, finding.level) for finding in findings] == [("b=1", "stop"), ("a=1", "warn")]


def test_a_value_may_hold_an_equals_sign(workspace: Workspace) -> None:
    workspace.budgets.put(make_budget("tag:team=a=b", warn=None, stop=Decimal(1), period="total"))
    workspace.ledger.add([entry(price_per_hour=Decimal(2), tags={"team": "a=b"})])

    assert [finding.level for finding in check_budgets(workspace, {"team": "a=b"})] == ["stop"]


@pytest.mark.parametrize(
    ("tag", "warn", "stop", "message"),
    [
        ("team", "1", None, "'team' is not a tag with its value"),
        ("tag:=x", "1", None, "is not a tag"),
        ("tag:team=", "1", None, "is not a tag"),
        ("team=x", None, None, "needs a limit"),
        ("team=x", "-1", None, "-1 is not an amount of money"),
        ("team=x", "NaN", None, "NaN is not an amount"),
        ("team=x", "5", "4", "5, lies above the limit to stop at, 4"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(tag: str, warn: str | None, stop: str | None, message: str) -> None:
    limits = {"warn": Decimal(warn) if warn else None, "stop": Decimal(stop) if stop else None}
    with pytest.raises(InputError, match=message):
        make_budget(tag, period="month", **limits)
