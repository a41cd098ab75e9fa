"""Advice on one job: ranking, the next run, when it is over, and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.advice.made import configurations, needs_memory, scaling

from nodewise.advice.advisor import Advisor, Request
from nodewise.advice.search import MOST_RUNS
from nodewise.advice.space import Observation, search_space
from nodewise.core.errors import InputError
from nodewise.specs.advice import Advice, AdviceStep, Configuration
from nodewise.specs.advice_request import SpotSpec, StreamSpec

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


def test_a_search_goes_on_as_long_as_a_run_may_keep_to_the_limit() -> None:
    # Times are such that nothing foretells them: all but one of the 20 are twice the deadline.
    for good in range(len(SPACE)):
        request = Request(deadline_s=300)
        advice, observed = search(lambda one, good=good: 200.0 if one is SPACE.configurations[good] else 600.0, request)
        if advice.choice is None:
            assert len(observed) >= MOST_RUNS
            assert advice.reason == "no run kept to the limit, and no other one is likely enough to"
        else:
            assert observed[-1].index == good or len(observed) <= MOST_RUNS


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


def test_what_would_change_the_least_cost_is_told() -> None:
    advice, _ = search(scaling)
    assert advice.choice is not None
    price, tighter, data = advice.changes
    assert "cheaper" in price or "less" in price
    assert tighter.startswith("With a deadline below ")
    memory_gib = advice.choice.configuration.nodes * (advice.choice.configuration.memory_gib or 0)
    assert data.startswith("With more data the choice stays")
    assert f"({memory_gib:g} GiB in all)" in data


def test_what_would_change_an_answer_with_a_limit_is_told() -> None:
    advice, _ = search(scaling, Request(deadline_s=100))
    assert advice.choice is not None
    factor = f"more than {100 / advice.choice.seconds:.2g} times the data if times grow with it"
    assert any(factor in text for text in advice.changes)
    thrifty, _ = search(scaling, Request(goal="time", budget_usd=0.05))
    assert thrifty.choice is not None
    price, tighter = thrifty.changes
    beyond = min(one.cost_usd or 0 for one in thrifty.ranked if one.is_on_front and (one.cost_usd or 0) > 0.05)
    assert f"{(1 - 0.05 / beyond) * 100:.0f} % cheaper" in price
    assert "would be within the budget" in price
    assert tighter.startswith("With a budget below $0.0")


def test_what_limits_is_said_of_memory_and_of_nodes() -> None:
    lacking, observed = search(needs_memory)
    memory, *nodes = lacking.limits
    assert memory.startswith("Memory: below ")
    assert 64 <= float(memory.split()[2]) <= 128  # the job needs 100 GiB
    assert lacking.choice is not None
    assert all(line.startswith("Nodes: ") and line.endswith(("(predicted)", "(measured)")) for line in nodes)
    # All that is known of one run is what it took.
    assert search(scaling, most=0)[0].limits == ()
    (unknown, nodes_line) = Advisor("made", SPACE, Request()).advise(observed[:1], []).limits
    assert unknown.startswith("Memory: ")
    assert nodes_line.startswith("Nodes: ")


def test_interruptions_are_in_time_cost_and_words() -> None:
    spot = SpotSpec(interruptions_per_hour=0.2, checkpoint_s=300)
    space = search_space(
        [
            replace(one, usd_per_node_hour=price / 4, usd_per_node_hour_on_demand=price)
            for one in configurations()
            if (price := one.usd_per_node_hour)
        ]
    )
    observed = [Observation(0, 630.0), Observation(2, 180.0), Observation(7, 105.0)]
    advice = Advisor("made", space, Request(spot=spot)).advise(observed, [step_of(one) for one in observed])
    prices = {one.name: one.usd_per_hour or 0 for one in space.configurations}
    for one in advice.ranked:
        assert one.expected_s is not None
        assert one.expected_s > one.seconds
        assert one.cost_usd == pytest.approx(one.expected_s * prices[one.configuration.name] / 3600)
    assert advice.spot == spot
    assert "with interruptions, else " in advice.sentence
    assert advice.changes[-1].startswith("On demand it would cost $0.0")
    assert "(0.2 is assumed)" in advice.changes[-1]
    (note,) = advice.notes
    assert note.startswith("Assumed, not measured: a node is interrupted 0.2 times an hour on average")
    assert "by up to 5m 00s of its work, and goes on after 2m 00s" in note


def test_a_stream_gets_the_cheapest_cluster_that_keeps_up() -> None:
    # 100,000 records in 30 s and 40 minutes of one core: at 400/s a run must end within 250 s, which takes 11 cores.
    # 16 cores are the least there are: $0.80 an hour of a1, $1.12 of m1, which few runs may take for it.
    stream = StreamSpec(rate_per_s=400, p95_s=5, records_per_run=100_000)
    advice, observed = search(scaling, Request(stream=stream))
    assert advice.choice is not None
    assert advice.choice.configuration.usd_per_hour == pytest.approx(0.8, rel=0.41)
    assert advice.choice.stream is not None
    assert advice.choice.stream.records_per_s == pytest.approx(100_000 / 180)
    assert advice.choice.stream.head_room == pytest.approx(1 - 400 / (100_000 / 180))
    assert "28 % head room at 400/s" in advice.sentence
    assert "It keeps up with a probability of" in advice.sentence
    assert [step.best for step in advice.steps] == [None] * len(observed)
    assert advice.notes[0].startswith("A run is taken for 100,000 records")
    usd_per_hour = [one.configuration.usd_per_hour or 0 for one in advice.ranked if (one.chance_within or 0) >= 0.5]
    assert usd_per_hour == sorted(usd_per_hour)
    assert any(text.startswith("Above 5") and "/s, " in text for text in advice.changes)


def test_the_first_run_for_a_stream_is_where_one_costs_least() -> None:
    stream = StreamSpec(rate_per_s=400, p95_s=5, records_per_run=100_000)
    streaming, cheapest = Advisor("made", SPACE, Request(stream=stream)), Advisor("made", SPACE, Request())
    assert streaming.next_run([]) == cheapest.next_run([])
    failed = [Observation(3, 60.0, is_ok=False)]
    assert streaming.next_run(failed) == cheapest.next_run(failed)
    proposal = streaming.advise([], []).proposal
    assert proposal is not None
    assert "any run tells how large a cluster" in proposal.why


def test_a_stream_that_nothing_keeps_up_with_leaves_no_choice_and_says_so() -> None:
    stream = StreamSpec(rate_per_s=1e6, p95_s=5, records_per_run=100_000)
    advice, _ = search(scaling, Request(stream=stream, max_runs=3), most=4)
    assert advice.choice is None
    assert "No run was fast enough for 1,000,000/s" in advice.sentence
    assert advice.changes == ()
    assert advice.notes[-1].startswith("No candidate is likely to keep up")


def test_a_stream_needs_prices_and_the_records_of_a_run() -> None:
    with pytest.raises(InputError, match="how many records a run"):
        Advisor("made", SPACE, Request(stream=StreamSpec(rate_per_s=1, p95_s=1)))
    unpriced = search_space([replace(one, usd_per_node_hour=None) for one in configurations()])
    with pytest.raises(InputError, match="no price is known"):
        Advisor("made", unpriced, Request(stream=StreamSpec(rate_per_s=1, p95_s=1, records_per_run=10)))
