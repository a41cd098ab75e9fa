"""What is said of a stream, by hand."""

from __future__ import annotations

from nodewise.advice.stream_words import stream_changes_of, stream_notes_of, stream_sentence_of
from nodewise.specs.advice import AdviceStep, Configuration, ConfigurationName, RankedConfiguration, StreamFigures
from nodewise.specs.advice_request import StreamSpec

STREAM = StreamSpec(rate_per_s=500, p95_s=2, records_per_run=100_000)


def one(kind: str, usd_per_hour: float, records_per_s: float, chance: float, basis: str) -> RankedConfiguration:
    """One node; 95 % of the records take 120 ms as long as it keeps up."""
    head_room = 1 - 500 / records_per_s
    return RankedConfiguration(
        configuration=Configuration(instance_type=kind, nodes=1, usd_per_node_hour=usd_per_hour),
        basis=basis,  # type: ignore[arg-type]
        runs=int(basis == "measured"),
        seconds=100_000 / records_per_s,
        seconds_low=1,
        seconds_high=1000,
        cost_usd=None,
        cost_usd_low=None,
        cost_usd_high=None,
        chance_within=chance,
        is_on_front=True,
        why="",
        stream=StreamFigures(
            records_per_s=records_per_s,
            head_room=head_room,
            p95_s=0.12 if head_room > 0 else None,
            most_per_s=0.95 * records_per_s,
        ),
    )


SMALL = one("small", 0.5, 400, 0.1, "measured")
CHOICE = one("middle", 1.0, 625, 0.7, "measured")
SURER = one("large", 1.25, 1000, 0.97, "predicted")
LARGEST = one("largest", 4.0, 4000, 1.0, "predicted")
RANKED = [CHOICE, SURER, LARGEST, SMALL]
STEPS = [
    AdviceStep(
        configuration=ConfigurationName(instance_type=kind, nodes=1),
        source="told",
        seconds=1,
        is_ok=True,
        cost_usd=None,
        best=None,
    )
    for kind in ("small", "middle", "middle")
]


def test_the_sentence_has_price_head_room_latency_chance_and_what_is_surer() -> None:
    assert stream_sentence_of(STREAM, CHOICE, RANKED, STEPS) == (
        "Use 1 x middle, $1.00 an hour, the cheapest of 2 configurations that were run: it handles 625/s, which leaves "
        "20 % head room at 500/s; 95 % of the records take at most 120 ms (limit 2.0 s). It keeps up with a "
        "probability of 70 %. To be surer take 1 x large, $1.25 an hour: 50 % head room (predicted). It keeps up with "
        "a probability of 97 %."
    )


def test_what_is_sure_needs_nothing_surer() -> None:
    assert "surer" not in stream_sentence_of(STREAM, SURER, RANKED, STEPS)
    assert "surer" not in stream_sentence_of(STREAM, CHOICE, [CHOICE, SMALL], STEPS)


def test_without_a_choice_the_sentence_says_why() -> None:
    assert stream_sentence_of(STREAM, None, [], []).startswith("Nothing was run yet")
    assert stream_sentence_of(STREAM, None, [SMALL], STEPS[:1]) == (
        "No run was fast enough for 500/s with 95 % of the records done within 2.0 s yet, so there is no choice."
    )


def test_a_price_and_a_faster_stream_would_change_it() -> None:
    assert stream_changes_of(CHOICE, RANKED) == [
        "If large were 20 % cheaper, 1 x large would cost as little (predicted).",
        "Above 594/s, 1 x large is next, $1.25 an hour: up to 950/s (predicted).",
    ]
    assert stream_changes_of(LARGEST, [LARGEST]) == []
    assert stream_changes_of(None, RANKED) == []


def test_what_is_assumed_is_said_and_that_nothing_keeps_up() -> None:
    assumed, *others = stream_notes_of(STREAM, RANKED)
    assert assumed.startswith("A run is taken for 100,000 records")
    assert others == []
    assert stream_notes_of(STREAM, [SMALL])[1] == (
        "No candidate is likely to keep up; most likely is 1 x small, with a probability of 10 %."
    )
