"""Run times of jobs on many configurations, as others measured them: one CSV file for all workloads of a source."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from nodewise.core.errors import InputError
from nodewise.specs.advice import Configuration, ConfigurationName

__all__ = ["Measured", "Workload", "read_traces"]

_KEYS = ("workload", "framework", "dataset", "instance_type", "nodes", "runtime_s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A configuration and how long the job took on it; if it did not end well there, how long until then."""

    configuration: Configuration
    runtime_s: float
    is_ok: bool

    @property
    def cost_usd(self) -> float | None:
        rate = self.configuration.usd_per_hour
        return None if rate is None else rate * self.runtime_s / 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """All that was measured of one (workload, framework, dataset); every configuration once."""

    workload: str
    framework: str
    dataset: str
    measured: tuple[Measured, ...]

    @property
    def name(self) -> str:
        """As it is told to people."""
        return ", ".join(filter(None, (self.workload, self.framework, self.dataset)))


def read_traces(path: Path) -> list[Workload]:
    """The workloads of a CSV file, in their order in it.

    Columns: ``workload, framework, dataset, instance_type, nodes, runtime_s``, and where known
    ``price_per_node_hour_usd, vcpus_per_node, mem_gib_per_node, status`` (``ok``, or anything else for a run that
    failed); others are passed over. Of several rows of one configuration the median of those that ended well counts.

    Raises:
        InputError: The file cannot be read, lacks a column, or has a value that is no number; with its line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = [key for key in _KEYS if key not in (rows.fieldnames or ())]
            if missing:
                raise InputError(f"{path} has no column {missing[0]!r}", hint=f"it needs {', '.join(_KEYS)}")
            grouped: dict[tuple[str, str, str], list[Measured]] = {}
            for number, row in enumerate(rows, 2):
                key = row["workload"], row["framework"], row["dataset"]
                grouped.setdefault(key, []).append(_measured(row, f"{path}, line {number}"))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"{path} cannot be read: {reason}") from None
    return [
        Workload(workload=key[0], framework=key[1], dataset=key[2], measured=tuple(_once(measured)))
        for key, measured in grouped.items()
    ]


def _measured(row: dict[str, str], where: str) -> Measured:
    nodes, runtime_s = _number(row, "nodes", where), _number(row, "runtime_s", where)
    if nodes is None or nodes < 1 or nodes != int(nodes):
        raise InputError(f"{where}: nodes is {row['nodes']!r}, which is no number of nodes")
    if runtime_s is None or runtime_s <= 0:
        raise InputError(f"{where}: runtime_s is {row['runtime_s']!r}, which is no time above 0")
    return Measured(
        configuration=Configuration(
            instance_type=row["instance_type"],
            nodes=int(nodes),
            usd_per_node_hour=_number(row, "price_per_node_hour_usd", where),
            vcpus=_number(row, "vcpus_per_node", where),
            memory_gib=_number(row, "mem_gib_per_node", where),
        ),
        runtime_s=runtime_s,
        is_ok=(row.get("status") or "ok") == "ok",
    )


def _number(row: dict[str, str], column: str, where: str) -> float | None:
    """None where the column is absent or empty."""
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where}: {column} is {text!r}, which is no number")
    return value


def _once(measured: Iterable[Measured]) -> Iterable[Measured]:
    """Each configuration once: those that ended well win over those that did not."""
    grouped: dict[ConfigurationName, list[Measured]] = {}
    for one in measured:
        grouped.setdefault(one.configuration.name, []).append(one)
    for same in grouped.values():
        well = [one for one in same if one.is_ok] or same
        yield Measured(
            configuration=well[0].configuration,
            runtime_s=median(one.runtime_s for one in well),
            is_ok=well[0].is_ok,
        )
