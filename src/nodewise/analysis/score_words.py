"""A scoring in sentences, the same in the terminal and on the page."""

from __future__ import annotations

from nodewise.analysis.confusion import mixups, worst_classes
from nodewise.core.units import format_count
from nodewise.specs.results import ScoreResult

__all__ = ["quality_sentence", "speed_sentence"]

WORTH_NAMING = 0.95
"""A class of which more is recognised is not called the worst."""


def quality_sentence(result: ScoreResult) -> str:
    """The class that is recognised least and the mix-up that is most frequent; empty where there is nothing to say."""
    parts = [
        f"recognised least: {one.name} ({one.recall * 100:.0f} % of {one.records:,})"
        for one in worst_classes(result.classes, 1)
        if one.recall is not None and one.recall < WORTH_NAMING
    ]
    parts += [
        f"most frequent error: {one.label} taken for {one.predicted} ({one.records:,} of {one.of:,})"
        for one in mixups([score.name for score in result.classes], result.confusion, 1)
    ]
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def speed_sentence(result: ScoreResult) -> str:
    """The rate against that of the network alone; empty where that was not measured."""
    alone = result.forward_records_per_s
    if not alone:
        return ""
    return (
        f"That is {result.records_per_s / alone:.2f} of the {format_count(alone)} images/s that the network alone does "
        f"with images in memory, in batches of {format_count(result.batch_size)}."
    )
