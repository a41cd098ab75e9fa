"""Advice on one job: ranking, the next run, when it is over, and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.advice.made import configurations, needs_memory, scaling

from nodewise.advice.advisor import Advisor, Request
from nodewise.advice.space import Observation, search_space
from nodewise.core.errors import InputError
from nodewise.specs.advice import Advice, AdviceStep, Configuration

SPACE = search_space(configurations())


def search(
    formula: Callable[[Configuration], float], request: Request | None = None, most: int | None = None
) -> tuple[Advice, list[Observation]]:
    """What the advisor says after its own search, or after so many runs of it."""
    advisor = Advisor("made", SPACE, request or Request())
    observed: list[Observation] = []
    while (index := advisor.next_run(observed)) is not None and len(observed) != most:
        observed.append(Observation(index, formula(SPACE.configurations[index])))
    return advisor.advise(observed, [step_of(one) for one in observed]), observed


def step_of(one: Observation) -> AdviceStep:
    return AdviceStep(
        configuration=SPACE.configurations[one.index].name,
        source="told",
        seconds=one.runtime_s,
        is_ok=one.is_ok,
        cost_usd=SPACE.cost_usd(one),
        best=None,
    )


@pytest.mark.parametrize("formula", [scaling, needs_memory])
def test_a_search_ends_near_the_optimum_and_says_so(formula: Callable[[Configuration], float]) -> None:
    advice, observed = search(formula)
    costs = [SPACE.cost_usd(Observation(i, formula(one))) for i, one in enumerate(SPACE.configurations)]
    assert advice.choice is not None
    assert advice.choice.basis == "measured"
    assert advice.choice.cost_usd is not None
    assert advice.choice.cost_usd < 1.15 * min(costs)
    assert (advice.is_settled, advice.proposal) == (True, None)
    assert advice.search_cost_usd == pytest.approx(sum(SPACE.cost_usd(one) for one in observed))
    name = f"{advice.choice.configuration.nodes} x {advice.choice.configuration.instance_type}"
    assert advice.sentence.startswith(f"Use {name}: ")
    assert f"the cheapest of {len(observed)} configurations that were run" in advice.sentence


def test_before_the_first_run_there_is_a_proposal_and_no_choice() -> None:
    advice, _ = search(scaling, most=0)
    assert advice.choice is None
    assert advice.proposal is not None
    assert (advice.proposal.seconds, advice.proposal.expected_saving) == (None, None)
    assert advice.sentence.startswith("Nothing was run yet")
    assert advice.reason == "nothing was run yet"
    assert (advice.ranked, advice.candidates) == ((), len(SPACE))
    assert advice.search_cost_usd == 0


def test_every_row_is_measured_or_predicted_with_its_interval() -> None:
    advice, observed = search(scaling, most=2)
    assert len(advice.ranked) == len(SPACE)
    measured = [one for one in advice.ranked if one.basis == "measured"]
    assert len(measured) == 2
    assert {one.seconds for one in measured} == {one.runtime_s for one in observed}
    for one in advice.ranked:
        assert one.seconds_low <= one.seconds <= one.seconds_high
        assert one.why
        assert one.cost_usd == pytest.approx(
            one.seconds * (one.configuration.usd_per_node_hour or 0) * one.configuration.nodes / 3600
        )
    assert [one.cost_usd for one in advice.ranked] == sorted(one.cost_usd or 0 for one in advice.ranked)
    assert advice.proposal is not None
    assert advice.proposal.expected_saving is not None


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    advice, _ = search(scaling)
    for one in advice.ranked:
        beaten = any(
            other.seconds <= one.seconds
            and (other.cost_usd or 0) <= (one.cost_usd or 0)
            and (other.seconds < one.seconds or (other.cost_usd or 0) < (one.cost_usd or 0))
            for other in advice.ranked
        )
        assert one.is_on_front is not beaten


def test_with_a_deadline_the_choice_keeps_to_it() -> None:
    # 30 s and 40 minutes of one core: within 100 s it takes 35 cores, so 12 nodes of four or 16 of them.
    advice, _ = search(scaling, Request(deadline_s=100))
    assert advice.choice is not None
    assert advice.choice.seconds <= 100
    assert advice.choice.configuration.nodes * (advice.choice.configuration.vcpus or 0) >= 35
    assert "within 1m 40s" in advice.sentence
    assert all(one.chance_within is not None for one in advice.ranked)


def test_the_least_time_takes_the_largest_cluster_and_a_budget_less() -> None:
    fastest, _ = search(scaling, Request(goal="time"))
    assert fastest.choice is not None
    assert fastest.choice.configuration.nodes * (fastest.choice.configuration.vcpus or 0) == 64
    thrifty, _ = search(scaling, Request(goal="time", budget_usd=0.05))
    assert thrifty.choice is not None
    assert (thrifty.choice.cost_usd or 1) <= 0.05
    assert thrifty.choice.seconds > fastest.choice.seconds


def test_a_limit_that_nothing_keeps_leaves_no_choice() -> None:
    advice, _ = search(scaling, Request(deadline_s=5, max_runs=4), most=6)
    assert advice.choice is None
    assert "No run ended well within 5.0 s yet" in advice.sentence


def test_a_price_is_needed_for_costs_only() -> None:
    unpriced = search_space([replace(one, usd_per_node_hour=None) for one in configurations()])
    with pytest.raises(InputError, match=r"no price is known of a1.large"):
        Advisor("made", unpriced, Request())
    advice = Advisor("made", unpriced, Request(goal="time")).advise([Observation(0, 100.0)], [])
    assert advice.choice is not None
    assert advice.choice.cost_usd is None


def test_a_run_that_takes_much_longer_than_before_is_told() -> None:
    advisor = Advisor("made", SPACE, Request())
    calm = [Observation(0, 100.0), Observation(0, 103.0), Observation(0, 99.0)]
    assert advisor.advise(calm, []).notes == ()
    (note,) = advisor.advise([*calm, Observation(0, 220.0)], []).notes
    assert note.startswith("The last run on 2 x a1.large took 3m 40s instead of about 1m 4")
    assert "--anew" in note


def test_what_would_change_the_answer_is_told() -> None:
    advice, _ = search(scaling)
    assert advice.choice is not None
    text = " ".join(advice.changes)
    assert "cheaper" in text or "less" in text
    assert "With a deadline below" in text
