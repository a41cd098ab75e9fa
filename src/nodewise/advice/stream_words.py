"""Advice on a stream in sentences, each number of which stands in, or follows from, the ranking."""

from __future__ import annotations

from collections.abc import Sequence

from nodewise.advice.changes import if_cheaper
from nodewise.advice.ranking import LIKELY
from nodewise.advice.words import named, no_choice, share, tried_of, usd
from nodewise.specs.advice import AdviceStep, RankedConfiguration
from nodewise.specs.advice_request import StreamSpec, format_latency, format_per_s

__all__ = ["stream_changes_of", "stream_notes_of", "stream_sentence_of"]

SURE = 0.9
"""Probability to keep up from which on nothing surer is named."""


def stream_sentence_of(
    stream: StreamSpec,
    choice: RankedConfiguration | None,
    ranked: Sequence[RankedConfiguration],
    steps: Sequence[AdviceStep],
) -> str:
    """Choice, its price, what it handles, how sure that is, and what it takes to be surer."""
    rate, limit = format_per_s(stream.rate_per_s), format_latency(stream.p95_s)
    if choice is None or choice.stream is None:
        return no_choice(steps, f"was fast enough for {rate} with 95 % of the records done within {limit}")
    able, p95_s = choice.stream.records_per_s, choice.stream.p95_s
    late = "" if p95_s is None else f"; 95 % of the records take at most {format_latency(p95_s)} (limit {limit})"
    text = (
        f"Use {named(choice.configuration)}, {_price_of(choice)}, the cheapest of {tried_of(steps)} configurations "
        f"that were run: it handles {format_per_s(able)}, which leaves {_head_room_of(choice)} at {rate}{late}. "
        f"{_chance_of(choice)}."
    )
    surer = [one for one in ranked if (one.chance_within or 0.0) >= SURE]
    if not surer or (choice.chance_within or 0.0) >= SURE:
        return text
    other = min(surer, key=_usd_per_hour)
    return (
        f"{text} To be surer take {named(other.configuration)}, {_price_of(other)}: {_head_room_of(other)} "
        f"({other.basis}). {_chance_of(other)}."
    )


def stream_changes_of(choice: RankedConfiguration | None, ranked: Sequence[RankedConfiguration]) -> list[str]:
    """What would change the answer: a price, a faster stream."""
    if choice is None or choice.stream is None:
        return []
    found = []
    likely = [one for one in ranked if (one.chance_within or 0.0) >= LIKELY]
    if price := if_cheaper(choice, likely, _usd_per_hour):
        found.append(price)
    most = choice.stream.most_per_s
    larger = [(one, one.stream.most_per_s) for one in ranked if one.stream and one.stream.most_per_s > most]
    if larger:
        following, able = min(larger, key=lambda pair: _usd_per_hour(pair[0]))
        found.append(
            f"Above {format_per_s(most)}, {named(following.configuration)} is next, {_price_of(following)}: up to "
            f"{format_per_s(able)} ({following.basis})."
        )
    return found


def stream_notes_of(stream: StreamSpec, ranked: Sequence[RankedConfiguration]) -> list[str]:
    """What the figures assume, and whether any candidate is enough."""
    notes = [
        f"A run is taken for {stream.records_per_run:,} records; records are taken to arrive at random, each to be "
        "handled by any free vCPU."
    ]
    best = max(ranked, key=lambda one: one.chance_within or 0.0, default=None)
    if best is not None and (best.chance_within or 0.0) < LIKELY:
        notes.append(
            f"No candidate is likely to keep up; most likely is {named(best.configuration)}, with a probability of "
            f"{share(best.chance_within or 0.0)}."
        )
    return notes


def _usd_per_hour(one: RankedConfiguration) -> float:
    return one.configuration.usd_per_hour or 0.0


def _price_of(one: RankedConfiguration) -> str:
    return f"{usd(_usd_per_hour(one))} an hour"


def _head_room_of(one: RankedConfiguration) -> str:
    return f"{share(one.stream.head_room if one.stream else 0.0)} head room"


def _chance_of(one: RankedConfiguration) -> str:
    return f"It keeps up with a probability of {share(one.chance_within or 0.0)}"
