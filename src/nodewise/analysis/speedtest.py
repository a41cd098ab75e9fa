"""The analysis of a speed test, and what it says in a few sentences, each number of which follows from the cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nodewise.analysis.speedtest_fits import TIME_FORMULA, fit, residuals
from nodewise.analysis.speedtest_summary import ReaderSummary, average, ceilings, is_faster, rated, summarize, sustained
from nodewise.analysis.speedtest_words import ceiling_text, format_rate, format_share, format_short_time
from nodewise.specs.results import SpeedtestFit, SpeedtestResult

__all__ = ["average", "fit", "residuals", "write_sentence"]

TRUSTED_CV_ERROR = 0.4
"""A formula of time that is further off on settings left out, noise included, does not say what a batch costs."""
STANDS_OUT = 2.0
"""Standard errors that a coefficient must lie above 0 to be told."""
AT_CEILING = 0.95
FROM_CACHE, FROM_DEVICE = 0.9, 0.1
COSTS = {"start": "starting an iteration", "per_batch": "a batch", "per_record": "an image"}


def write_sentence(result: SpeedtestResult) -> str:
    """Say who reads fastest, what an image and a batch cost, what bounds the rate, and how far to trust all that.

    A winner is named only if its lead stands out of the noise; a cost only if it does, and if the formula of time meets
    settings that it was not fitted to.

    Args:
        result: With all fields but ``sentence``.
    """
    if not result.cells:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in result.left_out.items())
        return "Nothing was measured" + (f" ({reasons})." if reasons else ".")
    summaries = summarize(result)
    ranked = sorted((one for one in summaries if one.records_per_s is not None), key=lambda one: -_rate(one))
    if not ranked:
        which = "the only cell" if len(result.cells) == 1 else f"all {len(result.cells):,} cells"
        return f"There is no rate: {which} came out short, with fewer images than batch size x batch count."
    first, *others = ranked
    equals = [other for other in others if not is_faster(first, other)]
    return " ".join(
        [
            _no_winner(ranked, [first, *equals]) if equals else _winner(first, others),
            _costs(first, result.fits, where=f"With {_name(first)}" if equals else "There"),
            _bounds(first, result),
            _conditions(result, summaries),
        ]
    )


def _winner(first: ReaderSummary, others: list[ReaderSummary]) -> str:
    over = "in its only cell" if len(first.cells) == 1 else f"on average over {_cells(len(first.cells))}"
    average = f"{format_rate(_rate(first))} images/s {over}"
    if not others:
        return f"{_name(first)} gave {average}."
    clauses = [f"Fastest is {_name(first)} with {average}"]
    readers = [other for other in others if other.source == first.source]
    sources = [other for other in others if other.reader == first.reader]
    if readers:
        clauses.append(_against(first, readers, [one.reader for one in readers], "reader of this source"))
    if sources:
        clauses.append(_against(first, sources, [one.source for one in sources], "source for this reader"))
    if not readers and not sources:
        clauses.append(f"{_times(first, others[0])} {_name(others[0])}, the next")
    return f"{'; '.join(clauses)}."


def _against(first: ReaderSummary, others: list[ReaderSummary], names: list[str], what: str) -> str:
    """Ratios to the next and to the slowest of ``others``, which come in descending order."""
    if len(others) == 1:
        return f"{_times(first, others[0])} {names[0]}, the only other {what}"
    return (
        f"{_times(first, others[0])} {names[0]}, the next {what}, and {_times(first, others[-1])} {names[-1]}, "
        f"the slowest"
    )


def _no_winner(ranked: list[ReaderSummary], equals: list[ReaderSummary]) -> str:
    cells = _cells(min(len(one.cells) for one in equals))
    rates = ", ".join(f"{_name(one)} {format_rate(_rate(one))}" for one in equals)
    text = f"No winner can be named within the noise of {cells} each: {rates} images/s on average"
    last = ranked[-1]
    return f"{text}." if last in equals else f"{text}; slowest is {_name(last)} with {format_rate(_rate(last))}."


def _costs(summary: ReaderSummary, fits: Iterable[SpeedtestFit], *, where: str) -> str:
    """Times from the formula of time, where that can be trusted and as far as they stand out of the noise."""
    found = [one for one in fits if (one.source, one.reader) == (summary.source, summary.reader)]
    model = next((one for one in found if one.formula == TIME_FORMULA and one.cv_error <= TRUSTED_CV_ERROR), None)
    costs = {} if model is None else _certain_costs_s(model)
    if model is None or not costs:
        return (
            f"{where}, an image took {format_short_time(summary.record_s or 0.0)} on average, all included; what a "
            f"batch or the start of an iteration costs cannot be told from these cells."
        )
    (one, cost), *more = ((COSTS[name], format_short_time(cost_s)) for name, cost_s in costs.items())
    told = _listed([f"{one} takes {cost}", *(f"{other} {cost}" for other, cost in more)])
    hidden = [word for name, word in COSTS.items() if name not in costs]
    unseen = f"; no cost of {' or '.join(hidden)} stands out of the noise" if hidden else ""
    error = format_share(model.cv_error)
    return f"{where}, {told} (fitted; settings left out are met to {error}){unseen}."


def _certain_costs_s(model: SpeedtestFit) -> dict[str, float]:
    return {
        name: model.coefficients[name]
        for name in COSTS
        if name in model.standard_errors and model.coefficients[name] > STANDS_OUT * model.standard_errors[name]
    }


def _bounds(summary: ReaderSummary, result: SpeedtestResult) -> str:
    """The rate of the longest cells, the ceiling above it, and what that means for a training loop."""
    longest = sustained(summary)
    if longest is None:
        return ""
    rate = longest.records_per_s
    batches = "1 batch" if longest.batch_count == 1 else f"{longest.batch_count:,} batches"
    text = f"Its longest cells ({batches} of {longest.batch_size:,}) gave {format_rate(rate)} images/s"
    for name, limit in ceilings(result, summary.source)[:1]:
        bound = f"{ceiling_text(name)} allows on this machine ({format_rate(limit)})"
        reached = rate / limit
        text += f", as much as {bound}" if reached >= AT_CEILING else f", {format_share(reached)} of what {bound}"
    return (
        f"{text}: a training step that can use more waits for data, and one that can use {format_rate(2 * rate)} "
        f"waits half of its time."
    )


def _conditions(result: SpeedtestResult, summaries: Iterable[ReaderSummary]) -> str:
    clauses = ["Cells ran one after another"]
    if result.order == "parallel":
        nodes = "1 node" if result.nodes == 1 else f"{result.nodes:,} nodes"
        clauses = [f"Cells ran in parallel on {nodes} and may have slowed each other"]
    clauses.append(_cache_clause([one.from_cache for one in summaries if one.from_cache is not None]))
    num_short = len(result.cells) - len(rated(result.cells))
    if num_short:
        verb = "has" if num_short == 1 else "have"
        clauses.append(f"{num_short:,} of {_cells(len(result.cells))} came out short and {verb} no rate")
    return f"{'; '.join(clauses)}."


def _cache_clause(shares: Sequence[float]) -> str:
    if not shares:
        return "how much of the bytes came from the page cache could not be measured"
    low, high = format_share(min(shares)), format_share(max(shares))
    text = f"{low if low == high else f'{low} to {high}'} of the bytes came from the page cache"
    if min(shares) >= FROM_CACHE:
        return f"{text}: this is memory speed, not storage speed"
    if max(shares) <= FROM_DEVICE:
        return f"{text}: this is storage speed"
    if low == high:
        return f"{text}: memory speed and storage speed are mixed"
    return f"{text}: compare those of like shares"


def _rate(summary: ReaderSummary) -> float:
    return summary.records_per_s or 0.0


def _times(one: ReaderSummary, other: ReaderSummary) -> str:
    return f"{format_rate(_rate(one) / _rate(other))}x"


def _name(summary: ReaderSummary) -> str:
    return f"{summary.reader} on {summary.source}"


def _cells(count: int) -> str:
    return f"{count:,} cell" + ("" if count == 1 else "s")


def _listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]
