"""Ranges: what no type says about a setting. One problem each, or the first of them as an error."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import get_args

from nodewise.core.errors import SpecError, UnknownNameError
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.job import (
    Encoding,
    Fit,
    PrepareSpec,
    Resample,
    ScoreSpec,
    ShardFormat,
    SpeedtestSpec,
    Subsampling,
    TrainSpec,
)
from nodewise.specs.scenario import CompareSpec, Scenario

__all__ = [
    "Key",
    "Problem",
    "check_cluster",
    "check_compare",
    "check_prepare",
    "check_score",
    "check_speedtest",
    "check_train",
    "format_key",
    "problems_of_compare",
]

Key = tuple[str | int, ...]
"""Where a value stands: keys and list positions from the top of the file."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with the value at ``key``."""

    key: Key
    text: str
    hint: str | None = None


def format_key(key: Key) -> str:
    """``jobs.train.epochs``, ``scenarios[2].nodes``."""
    text = ""
    for part in key:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "the file"


def check_prepare(spec: PrepareSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    _raise_first(_problems_of_prepare(spec))


def check_train(spec: TrainSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    _raise_first(_problems_of_train(spec))


def check_score(spec: ScoreSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    _raise_first(_problems_of_score(spec))


def check_speedtest(spec: SpeedtestSpec) -> None:
    """Raise SpecError for the first setting that is out of range."""
    _raise_first(_problems_of_speedtest(spec))


def check_cluster(spec: ClusterSpec, *, node_type_names: Collection[str] | None = None) -> None:
    """Raise SpecError for the first setting that is out of range, or that the engine has no use for."""
    _raise_first(_problems_of_cluster(spec, node_type_names))


def check_compare(spec: CompareSpec, *, node_type_names: Collection[str] | None = None) -> None:
    """Raise SpecError for the first setting that :func:`load_compare` would refuse: for specs made in Python."""
    _raise_first(problems_of_compare(spec, node_type_names))


def _raise_first(problems: Iterator[Problem]) -> None:
    for problem in problems:
        raise SpecError(f"{format_key(problem.key)} {problem.text}", hint=problem.hint)


def _at_least(spec: object, name: str, least: int) -> Iterator[Problem]:
    value = getattr(spec, name)
    if value is not None and value < least:
        yield Problem((name,), f"must be at least {least}, not {value}")


def _between(spec: object, name: str, least: int, most: int) -> Iterator[Problem]:
    value = getattr(spec, name)
    if value is not None and not least <= value <= most:
        yield Problem((name,), f"must be from {least} to {most}, not {value}")


def _share(spec: object, name: str, *, zero: bool, one: bool) -> Iterator[Problem]:
    value = getattr(spec, name)
    # Written so that not-a-number fails too.
    if not (0 < value < 1 or (zero and value == 0) or (one and value == 1)):
        least, most = "at least" if zero else "above", "at most" if one else "below"
        yield Problem((name,), f"must be {least} 0 and {most} 1, not {value:g}")


def _one_of(spec: object, name: str, alias: object) -> Iterator[Problem]:
    value, known = getattr(spec, name), get_args(alias)
    if value is not None and value not in known:
        near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else None
        yield Problem((name,), f"must be one of {', '.join(map(repr, known))}, not {value!r}", hint)


def _problems_of_prepare(spec: PrepareSpec) -> Iterator[Problem]:
    yield from _at_least(spec, "size", 8)
    yield from _one_of(spec, "fit", Fit)
    yield from _one_of(spec, "resample", Resample)
    yield from _share(spec, "sample", zero=False, one=True)
    yield from _share(spec, "test_fraction", zero=True, one=False)
    yield from _between(spec, "seed", 0, 2**32 - 1)
    yield from _one_of(spec, "shard_format", ShardFormat)
    yield from _at_least(spec, "shard_records", 1)
    yield from _at_least(spec, "shard_bytes", 1)
    yield from _one_of(spec, "encoding", Encoding)
    yield from _between(spec, "quality", 1, 100)
    yield from _one_of(spec, "subsampling", Subsampling)
    yield from _at_least(spec, "max_pixels", 1)
    yield from _share(spec, "max_bad", zero=True, one=True)


def _problems_of_train(spec: TrainSpec) -> Iterator[Problem]:
    if spec.model != "cnn" and not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", spec.model):
        yield Problem(("model",), f"must be 'cnn' or 'package.module:function', not {spec.model!r}")
    yield from _at_least(spec, "epochs", 1)
    yield from _at_least(spec, "batch_size", 1)
    if not (spec.learning_rate > 0 and math.isfinite(spec.learning_rate)):
        yield Problem(("learning_rate",), f"must be a number above 0, not {spec.learning_rate:g}")
    yield from _between(spec, "seed", 0, 2**32 - 1)


def _problems_of_score(spec: ScoreSpec) -> Iterator[Problem]:
    yield from _at_least(spec, "batch_size", 1)


def _problems_of_speedtest(spec: SpeedtestSpec) -> Iterator[Problem]:
    for name in ("batch_sizes", "batch_counts"):
        values = getattr(spec, name)
        if not values or min(values) < 1:
            yield Problem(
                (name,), f"must be whole numbers of at least 1, not {', '.join(map(str, values)) or 'nothing'}"
            )
        elif len(set(values)) != len(values):
            yield Problem((name,), "must not name a number twice")
    yield from _at_least(spec, "repeat", 1)
    yield from _at_least(spec, "size", 8)
    yield from _between(spec, "seed", 0, 2**32 - 1)


def _problems_of_cluster(spec: ClusterSpec | Scenario, node_type_names: Collection[str] | None) -> Iterator[Problem]:
    yield from _at_least(spec, "nodes", 1)
    yield from _at_least(spec, "cores_per_node", 1)
    yield from _between(spec, "port", 1, 65535)
    for name in ("address", "port"):
        if spec.engine == "local" and getattr(spec, name) is not None:
            yield Problem((name,), "is for the engines spark and ray; the local engine has none")
    if spec.address is not None and not spec.address.strip():
        yield Problem(("address",), "must not be empty")
    if spec.engine != "local" and spec.address is not None and spec.port is not None:
        yield Problem(("port",), "is for a cluster that nodewise starts; with an address it has no meaning")
    if node_type_names is not None and spec.node_type is not None and spec.node_type not in node_type_names:
        error = UnknownNameError("node type", spec.node_type, node_type_names)
        yield Problem(
            ("node_type",), f"{spec.node_type!r} is unknown", error.hint or "`nodewise nodes list` shows all of them"
        )


def problems_of_compare(spec: CompareSpec, node_type_names: Collection[str] | None) -> Iterator[Problem]:
    """Everything that is out of range in a comparison, from the top down."""
    if not spec.name.strip():
        yield Problem(("name",), "must not be empty")
    if not spec.dataset.sources or not all(source.strip() for source in spec.dataset.sources):
        yield Problem(("dataset", "source"), "must name a folder, an archive or a data set")
    yield from _under(("jobs", "prepare"), _problems_of_prepare(spec.jobs.prepare))
    yield from _under(("jobs", "train"), _problems_of_train(spec.jobs.train))
    yield from _under(("jobs", "score"), _problems_of_score(spec.jobs.score))
    yield from _at_least(spec, "repeat", 1)
    if not spec.scenarios:
        yield Problem(("scenarios",), "must hold at least one scenario")
    first_with: dict[str, int] = {}
    for index, scenario in enumerate(spec.scenarios):
        if not scenario.name.strip():
            yield Problem(("scenarios", index, "name"), "must not be empty")
        if first_with.setdefault(scenario.name, index) != index:
            other = format_key(("scenarios", first_with[scenario.name]))
            yield Problem(("scenarios", index, "name"), f"{scenario.name!r} is already the name of {other}")
        yield from _under(("scenarios", index), _problems_of_cluster(scenario, node_type_names))
    if spec.baseline is not None and spec.baseline not in first_with:
        names = ", ".join(map(repr, first_with))
        near = difflib.get_close_matches(spec.baseline, first_with, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"scenarios here: {names}"
        yield Problem(("baseline",), f"{spec.baseline!r} is not the name of a scenario", hint)


def _under(key: Key, problems: Iterator[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield dataclasses.replace(problem, key=(*key, *problem.key))
