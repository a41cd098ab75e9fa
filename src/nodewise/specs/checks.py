"""Ranges: what no type says about a setting. One problem each, or the first of them as an error."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterator

from nodewise.specs.cluster_checks import problems_of_scenario
from nodewise.specs.job import (
    Compression,
    Encoding,
    Fit,
    Optimizer,
    Precision,
    PrepareSpec,
    ProgramChoice,
    Recipe,
    Resample,
    ScaleRule,
    Schedule,
    ScoreSpec,
    ShardFormat,
    SpeedtestSpec,
    Strategy,
    Subsampling,
    TrainSpec,
)
from nodewise.specs.problems import Problem, at_least, between, format_key, one_of, raise_first, share, under
from nodewise.specs.scenario import CompareSpec

__all__ = [
    "check_compare",
    "check_prepare",
    "check_score",
    "check_speedtest",
    "check_train",
    "problems_of_compare",
]


def check_prepare(spec: PrepareSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    raise_first(_problems_of_prepare(spec))


def check_train(spec: TrainSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    raise_first(_problems_of_train(spec))


def check_score(spec: ScoreSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    raise_first(_problems_of_score(spec))


def check_speedtest(spec: SpeedtestSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    raise_first(_problems_of_speedtest(spec))


def check_compare(spec: CompareSpec, *, node_type_names: Collection[str] | None = None) -> None:
    """Raise SpecError for the first setting that :func:`load_compare` would refuse: for specs made in Python."""
    raise_first(problems_of_compare(spec, node_type_names))


def _problems_of_prepare(spec: PrepareSpec) -> Iterator[Problem]:
    yield from at_least(spec, "size", 8)
    yield from one_of(spec, "fit", Fit)
    yield from one_of(spec, "resample", Resample)
    yield from share(spec, "sample", zero=False, one=True)
    yield from share(spec, "test_fraction", zero=True, one=False)
    yield from between(spec, "seed", 0, 2**32 - 1)
    yield from one_of(spec, "shard_format", ShardFormat)
    yield from at_least(spec, "shard_records", 1)
    yield from at_least(spec, "shard_bytes", 1)
    yield from one_of(spec, "encoding", Encoding)
    yield from between(spec, "quality", 1, 100)
    yield from one_of(spec, "subsampling", Subsampling)
    yield from at_least(spec, "max_pixels", 1)
    yield from share(spec, "max_bad", zero=True, one=True)


_CHOICES_OF_TRAIN = {
    "recipe": Recipe,
    "strategy": Strategy,
    "scale_lr": ScaleRule,
    "optimizer": Optimizer,
    "schedule": Schedule,
    "precision": Precision,
    "compression": Compression,
}


def _problems_of_train(spec: TrainSpec) -> Iterator[Problem]:
    if spec.model not in ("cnn", "resnet") and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", spec.model):
        yield Problem(("model",), f"must be 'cnn', 'resnet' or 'package.module:function', not {spec.model!r}")
    for name, names in _CHOICES_OF_TRAIN.items():
        yield from one_of(spec, name, names)
    for name in ("epochs", "batch_size", "servers", "workers_per_node", "average_every"):
        yield from at_least(spec, name, 1)
    for name in ("max_staleness", "checkpoint_every", "max_restarts"):
        yield from at_least(spec, name, 0)
    rate = spec.learning_rate
    if rate is not None and not (rate > 0 and math.isfinite(rate)):
        yield Problem(("learning_rate",), f"must be a number above 0, not {rate:g}")
    yield from share(spec, "warmup", zero=True, one=False)
    yield from between(spec, "seed", 0, 2**32 - 1)


def _problems_of_score(spec: ScoreSpec) -> Iterator[Problem]:
    yield from at_least(spec, "batch_size", 1)


def _problems_of_speedtest(spec: SpeedtestSpec) -> Iterator[Problem]:
    for name in ("batch_sizes", "batch_counts"):
        values = getattr(spec, name)
        if not values or min(values) < 1:
            yield Problem(
                (name,), f"must be whole numbers of at least 1, not {', '.join(map(str, values)) or 'nothing'}"
            )
        elif len(set(values)) != len(values):
            yield Problem((name,), "must not name a number twice")
    yield from at_least(spec, "repeat", 1)
    yield from at_least(spec, "size", 8)
    yield from between(spec, "seed", 0, 2**32 - 1)


def _problems_of_dataset(spec: CompareSpec) -> Iterator[Problem]:
    command, dataset = spec.jobs.command, spec.dataset
    if command is None:
        if dataset is None:
            yield Problem(("dataset",), "is missing", "the images, as in dataset: {source: photos}")
        elif not dataset.sources or not all(source.strip() for source in dataset.sources):
            yield Problem(("dataset", "source"), "must name a folder, an archive or a data set")
        return
    if not command.run or not command.run[0].strip():
        yield Problem(("jobs", "command", "run"), "must name a program, as in [python, script.py]")
    yield from under(("jobs", "command"), one_of(command, "kind", ProgramChoice))
    for name, job in {"prepare": PrepareSpec(), "train": TrainSpec(), "score": ScoreSpec()}.items():
        if getattr(spec.jobs, name) != job:
            yield Problem(("jobs", name), "and command exclude each other", "keep one of the two")
    if dataset is not None:
        yield Problem(("dataset",), "is for prepare, train and score; a command reads what it likes")


def problems_of_compare(spec: CompareSpec, node_type_names: Collection[str] | None) -> Iterator[Problem]:
    """Everything that is out of range in a comparison, from the top down."""
    if not spec.name.strip():
        yield Problem(("name",), "must not be empty")
    yield from _problems_of_dataset(spec)
    yield from under(("jobs", "prepare"), _problems_of_prepare(spec.jobs.prepare))
    yield from under(("jobs", "train"), _problems_of_train(spec.jobs.train))
    yield from under(("jobs", "score"), _problems_of_score(spec.jobs.score))
    yield from at_least(spec, "repeat", 1)
    if not spec.scenarios:
        yield Problem(("scenarios",), "must hold at least one scenario")
    first_with: dict[str, int] = {}
    for index, scenario in enumerate(spec.scenarios):
        if not scenario.name.strip():
            yield Problem(("scenarios", index, "name"), "must not be empty")
        if first_with.setdefault(scenario.name, index) != index:
            other = format_key(("scenarios", first_with[scenario.name]))
            yield Problem(("scenarios", index, "name"), f"{scenario.name!r} is already the name of {other}")
        yield from under(("scenarios", index), problems_of_scenario(scenario, node_type_names))
    if spec.baseline is not None and spec.baseline not in first_with:
        names = ", ".join(map(repr, first_with))
        near = difflib.get_close_matches(spec.baseline, first_with, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"scenarios here: {names}"
        yield Problem(("baseline",), f"{spec.baseline!r} is not the name of a scenario", hint)
