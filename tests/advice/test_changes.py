"""What would change an answer, by hand."""

from __future__ import annotations

from typing import Any

import pytest

from nodewise.advice.changes import changes_of
from nodewise.advice.request import Request
from nodewise.specs.advice import Configuration, RankedConfiguration
from nodewise.specs.advice_request import SpotSpec


def one(kind: str, seconds: float, cost_usd: float, basis: str = "predicted", **more: Any) -> RankedConfiguration:
    """Of four nodes, with an interval of nothing."""
    configuration = Configuration(
        instance_type=kind, nodes=4, usd_per_node_hour=cost_usd / seconds * 900, memory_gib=16.0
    )
    facts = {"chance_within": None, "is_on_front": True, "configuration": configuration} | more
    return RankedConfiguration(
        basis=basis,  # type: ignore[arg-type]
        runs=int(basis == "measured"),
        seconds=seconds,
        seconds_low=seconds,
        seconds_high=seconds,
        cost_usd=cost_usd,
        cost_usd_low=cost_usd,
        cost_usd_high=cost_usd,
        why="",
        **facts,
    )


CHOICE = one("m5.large", 600, 1.00, "measured")


@pytest.mark.parametrize(
    ("others", "text"),
    [
        ([one("c5.large", 700, 1.25), one("r5.large", 700, 2.0)], "If c5.large were 20 % cheaper, 4 x c5.large would"),
        ([one("c5.large", 700, 0.90)], "4 x c5.large is believed to cost 10 % less, but was not run."),
        ([one("c5.large", 700, 1.0, "measured")], "4 x c5.large costs as little (measured)."),
        # Run and cheaper, but past the limit; and hardly within it.
        ([one("c5.large", 700, 0.8, "measured"), one("r5.large", 700, 2.0)], "If r5.large were 50 % cheaper"),
        ([one("c5.large", 700, 0.8, chance_within=0.2), one("r5.large", 700, 2.0)], "If r5.large were 50 % cheaper"),
    ],
)
def test_a_price_that_would_win(others: list[RankedConfiguration], text: str) -> None:
    assert changes_of(Request(), CHOICE, [CHOICE, *others])[0].startswith(text)


def test_a_tighter_deadline_or_more_data_takes_the_next_faster_one() -> None:
    ranked = [
        CHOICE,
        one("m5.large", 300, 1.5),
        one("m5.large", 400, 1.2),
        one("m5.large", 350, 2.0, is_on_front=False),
    ]
    (text,) = changes_of(Request(deadline_s=900), CHOICE, ranked)
    assert text.startswith(
        "With a deadline below 10m 00s, or with more than 1.5 times the data if times grow with it, 4 x m5.large is "
        "next: 6m 40s and $1.20 a run"
    )
    thrifty = [CHOICE, one("m5.large", 800, 0.7), one("m5.large", 900, 0.6)]
    (text,) = changes_of(Request(goal="time", budget_usd=2.0), CHOICE, thrifty)
    assert text.startswith("With a budget below $1.00, or with more than 2 times the data if times grow with it, ")
    assert "13m 20s and $0.7000 a run" in text


def test_a_price_that_would_come_within_the_budget() -> None:
    ranked = [CHOICE, one("c5.large", 300, 2.5), one("r5.large", 200, 4.0)]
    (text,) = changes_of(Request(goal="time", budget_usd=2.0), CHOICE, ranked)
    assert text.startswith("If c5.large were 20 % cheaper, 4 x c5.large would be within the budget: 5m 00s")


def test_without_a_limit_the_memory_is_what_more_data_meets() -> None:
    (text,) = changes_of(Request(), CHOICE, [CHOICE])
    assert "while the job fits into its memory (64 GiB in all); that was not measured" in text


def test_spot_prices_pay_up_to_so_many_interruptions() -> None:
    # A tenth of an hour on four nodes at $2.50 each; on demand $5. All is lost each time, and restarts take nothing:
    # (e^(4r 0.1) - 1) / (4r 0.1) = 2 at 4r 0.1 = 1.2564, so r = 3.14 an hour.
    node = Configuration(instance_type="m5.large", nodes=4, usd_per_node_hour=2.5, usd_per_node_hour_on_demand=5.0)
    choice = one("m5.large", 360, 1.0, "measured", configuration=node, expected_s=361.0)
    spot = SpotSpec(interruptions_per_hour=0.05, restart_s=0)
    text = changes_of(Request(spot=spot), choice, [choice])[-1]
    assert text.startswith("On demand it would cost $2.00 a run; spot costs less as long as a node is interrupted less")
    assert "less than 3.1 times an hour (0.05 is assumed)" in text


def test_before_there_is_a_choice_nothing_changes_it() -> None:
    assert changes_of(Request(), None, [CHOICE]) == []
