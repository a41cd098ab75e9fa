"""Samples of nodes as lines to draw: the same steps for all nodes, and no more of them than a drawing can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from nodewise.analysis.time_split import held_limits, stage_span
from nodewise.specs.results import NodeUsage, StageSpan, UsageResult
from nodewise.specs.run import RunRecord, TaskRecord
from nodewise.specs.usage import DRIVER, MACHINE, UsageSample

__all__ = ["MOST_STEPS", "usage_lines"]

MOST_STEPS = 200
"""Steps of a line."""


def usage_lines(run: RunRecord, tasks: Sequence[TaskRecord], samples: Sequence[UsageSample]) -> UsageResult | None:
    """The samples of a run as lines that begin with the run; None without samples.

    A step is as long as an interval of the samples, or longer where the run has more than :data:`MOST_STEPS` of them.
    Nodes come in the order of their numbers, then the driver, then the machine.
    """
    began = run.created_at.timestamp()
    of_node: dict[str, list[UsageSample]] = {}
    for sample in samples:
        if sample.at > began:
            of_node.setdefault(sample.node, []).append(sample)
    if not of_node:
        return None
    length_s = max(sample.at for sample in samples) - began
    step_s = max(median(sample.interval_s for sample in samples), length_s / MOST_STEPS)
    steps = min(MOST_STEPS, math.ceil(length_s / step_s))
    limits = held_limits(run.cluster.limits, run.emulation_tier)
    spans = [(stage, stage_span(stage, [task for task in tasks if task.stage == stage.name])) for stage in run.stages]
    return UsageResult(
        run_id=run.run_id,
        step_s=round(step_s, 3),
        nodes=tuple(_node_usage(name, of_node[name], began, step_s, steps) for name in sorted(of_node, key=_place)),
        stages=tuple(
            StageSpan(name=stage.name, started_s=round(start - began, 3), ended_s=round(end - began, 3))
            for stage, (start, end) in spans
            if start > 0
        ),
        start_up_s=round(run.start_up_s or 0.0, 3),
        ended_s=round(max(length_s, run.cluster_s or 0.0), 3),
        cpus=limits.cpus,
        memory_limit_bytes=limits.memory_bytes,
        network_limit_bits_per_s=limits.network_bits_per_s,
    )


def _place(name: str) -> tuple[int, int, str]:
    return ((DRIVER, MACHINE).index(name) + 1 if name in (DRIVER, MACHINE) else 0, len(name), name)


def _node_usage(name: str, samples: Sequence[UsageSample], began: float, step_s: float, steps: int) -> NodeUsage:
    def mean(value: Callable[[UsageSample], float | None]) -> list[float | None]:
        """Over each step, weighed by how long the samples with a value lie in it."""
        sums, weights = [0.0] * steps, [0.0] * steps
        for sample in samples:
            known = value(sample)
            if known is not None:
                for step, common_s in _overlaps(sample, began, step_s, steps):
                    sums[step] += known * common_s
                    weights[step] += common_s
        return [total / weight if weight > 0 else None for total, weight in zip(sums, weights, strict=True)]

    most_bytes: list[int | None] = [None] * steps
    for sample in samples:
        for step, _ in _overlaps(sample, began, step_s, steps):
            most_bytes[step] = max(most_bytes[step] or 0, sample.memory_bytes)
    return NodeUsage(
        node=name,
        cpu_cores=_fractions(mean(lambda sample: sample.cpu_cores)),
        memory_bytes=tuple(most_bytes),
        received_bits_per_s=_rate(mean(lambda sample: _bits_per_s(sample.received_bytes, sample))),
        sent_bits_per_s=_rate(mean(lambda sample: _bits_per_s(sample.sent_bytes, sample))),
        gpu_fraction=_fractions(mean(lambda sample: sample.gpu_fraction)),
    )


def _overlaps(sample: UsageSample, began: float, step_s: float, steps: int) -> list[tuple[int, float]]:
    """The steps that the sample's interval touches, with the seconds in each."""
    end_s = sample.at - began
    start_s = max(0.0, end_s - sample.interval_s)
    first, last = int(start_s / step_s), min(steps - 1, int(end_s / step_s))
    found = []
    for step in range(first, last + 1):
        common_s = min(end_s, (step + 1) * step_s) - max(start_s, step * step_s)
        if common_s > 0:
            found.append((step, common_s))
    return found


def _bits_per_s(count: int | None, sample: UsageSample) -> float | None:
    return None if count is None else count * 8 / sample.interval_s


def _rate(values: Sequence[float | None]) -> tuple[int | None, ...]:
    return tuple(None if value is None else round(value) for value in values) if _any(values) else ()


def _fractions(values: Sequence[float | None]) -> tuple[float | None, ...]:
    return tuple(None if value is None else round(value, 3) for value in values) if _any(values) else ()


def _any(values: Sequence[float | None]) -> bool:
    return any(value is not None for value in values)
