from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from nodewise.billing.amounts import CENT, MILLIONTH, allot, clip, hours, money, split_by_day

from .bills import NOON, entry


def test_thirds_of_a_dollar_add_up_to_a_dollar() -> None:
    shown = allot([Fraction(1, 3)] * 3)

    assert shown == [Decimal("0.34"), Decimal("0.33"), Decimal("0.33")]
    assert sum(shown) == 1


def test_the_units_left_go_to_those_that_lost_most() -> None:
    # 0.014 + 0.013 + 0.013 = 0.04: each is rounded down to 0.01, one cent is left, the first lost most.
    assert allot([Fraction("0.013"), Fraction("0.014"), Fraction("0.013")]) == [
        Decimal("0.01"),
        Decimal("0.02"),
        Decimal("0.01"),
    ]


def test_half_a_unit_is_rounded_up() -> None:
    assert allot([Fraction("1.465")]) == [Decimal("1.47")]
    assert allot([Fraction("0.0000005")], MILLIONTH) == [Decimal("0.000001")]


def test_a_credit_is_an_amount_below_zero() -> None:
    # -1.006 + 2.001 = 0.995, so 1.00; rounded down they are -1.01 and 2.00, and the cent left goes to the first.
    assert allot([Fraction("-1.006"), Fraction("2.001")]) == [Decimal("-1.00"), Decimal("2.00")]
    assert allot([]) == []


@given(st.lists(st.fractions(min_value=-1000, max_value=1000), max_size=30), st.sampled_from([CENT, MILLIONTH]))
def test_rows_add_up_to_the_rounded_total_and_none_is_a_unit_off(amounts: list[Fraction], unit: Decimal) -> None:
    shown = allot(amounts, unit)

    total = sum(amounts, Fraction(0))
    assert abs(Fraction(sum(shown, Decimal(0))) - total) <= Fraction(unit) / 2
    assert all(abs(Fraction(one) - exact) < Fraction(unit) for one, exact in zip(shown, amounts, strict=True))


def test_money_is_price_times_hours_without_rounding() -> None:
    one = entry(price_per_hour=Decimal("0.293"), hours=0)
    piece = (NOON, NOON + timedelta(microseconds=1))

    assert hours(piece) == Fraction(1, 3_600_000_000)
    assert money(one, piece) == Fraction(293, 3_600_000_000_000)
    assert money(entry(price_per_hour=None), piece) == 0


def test_an_entry_is_clipped_at_the_bounds() -> None:
    one = entry(hours=2)
    later, after = NOON + timedelta(hours=1), NOON + timedelta(hours=9)

    assert clip(one) == (NOON, NOON + timedelta(hours=2))
    assert clip(one, later, after) == (later, NOON + timedelta(hours=2))
    assert clip(one, NOON - timedelta(hours=1), later) == (NOON, later)
    assert hours(clip(one, after, after + timedelta(hours=1))) == 0


def test_a_stretch_is_cut_at_midnight_in_utc() -> None:
    start = datetime(2026, 11, 21, 23, 59, 59, 999_999, UTC)
    end = datetime(2026, 11, 23, 0, 0, 0, 1, UTC)
    first, second = datetime(2026, 11, 22, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC)

    assert list(split_by_day((start, end))) == [(start, first), (first, second), (second, end)]
    in_tokyo = timezone(timedelta(hours=9))
    assert list(split_by_day((start.astimezone(in_tokyo), end))) == [(start, first), (first, second), (second, end)]
    assert list(split_by_day((start, start))) == []
