"""Where the time of a training went, in sentences: the same in the terminal and in the report."""

from __future__ import annotations

from nodewise.analysis.training_time import KINDS, STRAGGLES, Span, TrainingTime, WorkerTime
from nodewise.core.units import format_duration

__all__ = ["KIND_NAMES", "MISSING_NAMES", "how_one_is_known", "straggler_sentences", "time_sentence", "times_text"]

KIND_NAMES = {
    "compute": "compute",
    "data": "wait for images",
    "communicate": "communicate",
    "wait": "wait for others",
    "checkpoint": "checkpoint",
    "evaluate": "evaluate",
    "rest": "rest",
}
"""What a worker does with its time."""
MISSING_NAMES = {
    "compute": "extra compute of the slowest worker",
    "data": "waiting for images",
    "communicate": "communication",
    "wait": "waiting for whoever is late at a step",
    "checkpoint": "writing checkpoints",
    "evaluate": "evaluation beyond its share",
    "rest": "all else",
}
"""What time is lost to that the ideal would not need."""
TOLD = 0.05
"""Share of what is missing from which on a kind is told by itself."""
NEXT_TO_NOTHING = 0.1
"""A speedup that misses the ideal by less is as good as ideal."""
STRAGGLERS_TOLD = 5
SPEEDS = {"half": 1 / 2, "a third of": 1 / 3, "a quarter of": 1 / 4}


def time_sentence(time: TrainingTime) -> str:
    """One sentence: how near the workers came to the ideal and what is missing, or what a single one did.

    Empty where the workers' times are not known.
    """
    total = time.total
    if total is None or total.real_s <= 0:
        return ""
    if total.workers == 1:
        return f"1 worker trained for {format_duration(total.real_s)}: {_split(time.workers[0])}."
    missing = total.workers - total.speedup
    one = "did in a run of its own" if time.is_measured else "would, estimated from their compute and evaluation times"
    return (
        f"{total.workers} workers train {times_text(total.speedup)} as fast as one {one} (ideal {total.workers}x): "
        + (f"{_missing(total, missing)}." if missing >= NEXT_TO_NOTHING else "next to nothing is missing.")
    )


def straggler_sentences(time: TrainingTime) -> list[str]:
    """A sentence for each straggler, the slowest first; of more than five the others are counted."""
    slow = time.stragglers
    told = [_straggler(worker, time) for worker in slow[:STRAGGLERS_TOLD]]
    if len(slow) > STRAGGLERS_TOLD:
        told.append(
            f"{len(slow) - STRAGGLERS_TOLD} more workers take {STRAGGLES:g} times as long as the others, or longer"
        )
    return told


def how_one_is_known(time: TrainingTime) -> str:
    """Where the time of one worker comes from, and what that takes for granted."""
    if time.is_measured:
        return "One worker's time is measured in a run of its own, per image, and taken for the images of this run."
    return (
        "One worker's time is estimated, not measured: the compute and evaluation times of all workers together. That "
        "takes an image to cost one worker as much as it cost these, and one worker to lose no time to anything else."
    )


def times_text(value: float) -> str:
    """A speedup or a part of one with the digits that a measurement can tell: ``12x``, ``2.6x``, ``0.07x``."""
    return f"{value:.2f}x" if abs(value) < 0.995 else f"{value:.1f}x"


def _split(worker: WorkerTime) -> str:
    shares = {kind: worker.seconds[kind] / worker.total_s for kind in KINDS}
    kinds = sorted((kind for kind in KINDS if shares[kind] >= 0.005), key=lambda kind: -shares[kind])
    return ", ".join(f"{KIND_NAMES[kind]} {shares[kind] * 100:.0f} %" for kind in kinds)


def _missing(total: Span, missing: float) -> str:
    parts = {kind: part for kind, part in total.missing_speedup.items() if kind != "rest"}
    told = sorted((kind for kind in parts if parts[kind] >= TOLD * missing), key=lambda kind: -parts[kind])
    words = [f"{MISSING_NAMES[kind]} {times_text(parts[kind])}" for kind in told]
    left = missing - sum(parts[kind] for kind in told)
    if left >= TOLD * missing:
        words.append(f"{MISSING_NAMES['rest']} {times_text(left)}")
    won = f"; {times_text(-left)} is won back elsewhere" if left <= -TOLD * missing else ""
    return f"of the {times_text(missing)} that is missing, {_with_verb(words)}{won}"


def _with_verb(words: list[str]) -> str:
    """``communication 0.72x`` and others as one clause: ``communication takes 0.72x, waiting for images 0.11x``."""
    name, _, amount = words[0].rpartition(" ")
    return ", ".join([f"{name} takes {amount}", *words[1:]])


def _straggler(worker: WorkerTime, time: TrainingTime) -> str:
    speed = 1 / (worker.slowness or 1.0)
    near = next((f"{name} ({speed:.2f}x)" for name, exact in SPEEDS.items() if abs(speed / exact - 1) < 0.1), None)
    alone = len(time.workers) == 2
    words = (
        f"worker {worker.rank} on {worker.node} computes at {near or f'{speed:.2f}x'} the speed of "
        f"{'the other' if alone else 'the others'}"
    )
    if worker is not time.stragglers[0]:
        # It is the slowest that the others wait for.
        return words
    if time.waited_share < 0.005:
        return f"{words}, which {'does' if alone else 'do'} not wait for it"
    return f"{words}, which {'waits' if alone else 'wait'} {time.waited_share * 100:.0f} % of the time for it"
