"""Ranges of what describes a cluster: a scenario, and a definition."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from nodewise.core.errors import UnknownNameError
from nodewise.core.secrets import is_secret_name, redact
from nodewise.core.units import parse_bytes, parse_duration, parse_rate
from nodewise.specs.cluster import EngineName
from nodewise.specs.definition import ClusterDefinition, PricingModel, Provider
from nodewise.specs.limits import PerNode, Quota
from nodewise.specs.problems import Problem, at_least, between, one_of, raise_first, under
from nodewise.specs.scenario import Scenario

__all__ = ["check_definition", "check_scenario", "problems_of_definition", "problems_of_scenario"]

MIN_CPUS = 0.01
MIN_MEMORY_BYTES = 64 << 20
MIN_RATE_BITS_PER_S = 8_000
MAX_LATENCY_S = 60.0

_EMULATED_ONLY = ("cpus_per_node", "memory_per_node", "network_per_node", "latency_per_node")


def check_scenario(spec: Scenario, *, node_type_names: Collection[str] | None = None) -> None:
    """Raise SpecError for the first setting that is out of range, or that the engine has no use for."""
    raise_first(problems_of_scenario(spec, node_type_names))


def check_definition(spec: ClusterDefinition, *, node_type_names: Collection[str] | None = None) -> None:
    """Raise SpecError for the first setting that :func:`~nodewise.specs.codec.load_definition` would refuse."""
    raise_first(problems_of_definition(spec, node_type_names))


def problems_of_scenario(spec: Scenario, node_type_names: Collection[str] | None) -> Iterator[Problem]:
    """Everything that is out of range in the part of a scenario that describes its cluster."""
    yield from at_least(spec, "nodes", 1)
    yield from at_least(spec, "cores_per_node", 1)
    yield from between(spec, "port", 1, 65535)
    for name in ("address", "port"):
        if spec.engine == "local" and getattr(spec, name) is not None:
            yield Problem((name,), "is for the engines spark and ray; the local engine has none")
    if spec.address is not None and not spec.address.strip():
        yield Problem(("address",), "must not be empty")
    if spec.engine != "local" and spec.address is not None and spec.port is not None:
        yield Problem(("port",), "is for a cluster that nodewise starts; with an address it has no meaning")
    yield from _node_type(spec, "node_type", node_type_names)
    yield from _limits(spec, emulated=spec.address is None)
    yield from _tags(spec.tags)
    yield from under(("quota",), _quota(spec.quota))


def problems_of_definition(spec: ClusterDefinition, node_type_names: Collection[str] | None) -> Iterator[Problem]:
    """Everything that is out of range in a definition, and what would be kept although it is a secret."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", spec.name):
        text = "must be of letters, digits, '-', '_' and '.', begin with a letter or a digit and have at most 64"
        yield Problem(("name",), f"{text}, not {spec.name[:80]!r}")
    yield from one_of(spec, "engine", EngineName)
    yield from one_of(spec, "provider", Provider)
    yield from one_of(spec, "pricing", PricingModel)
    yield from _provider(spec)
    yield from _workers(spec)
    yield from at_least(spec, "cores_per_node", 1)
    yield from _limits(spec, emulated=spec.provider == "emulated")
    for name in ("node_type", "driver_node_type"):
        yield from _node_type(spec, name, node_type_names)
    yield from _libraries(spec)
    yield from _environment(spec)
    yield from _tags(spec.tags)
    if spec.init_script is not None and not spec.init_script.strip():
        yield Problem(("init_script",), "must not be empty")
    minutes = spec.autotermination_minutes
    if minutes is not None and not 0 < minutes < math.inf:
        yield Problem(("autotermination_minutes",), f"must be above 0, not {minutes:g}", "null is for never")
    if spec.platform is not None and spec.platform.name != "databricks":
        for name in ("tier", "compute"):
            if getattr(spec.platform, name) is not None:
                yield Problem(("platform", name), f"is for databricks; {spec.platform.name} has none")
    yield from under(("quota",), _quota(spec.quota))
    if spec.budget_usd is not None and not (spec.budget_usd.is_finite() and spec.budget_usd > 0):
        yield Problem(("budget_usd",), f"must be above 0, not {spec.budget_usd}")


def _provider(spec: ClusterDefinition) -> Iterator[Problem]:
    if spec.provider == "emulated":
        if spec.address is not None:
            yield Problem(("address",), "is for a cluster that exists", "set `provider: existing`, or leave it out")
        return
    if spec.engine == "local":
        yield Problem(("engine",), "must be 'spark' or 'ray' for a cluster that exists, not 'local'")
    if spec.address is None or not spec.address.strip():
        yield Problem(("address",), "is missing", "a Spark master URL or a Ray address")
    for name in ("autoscale", "libraries", "init_script"):
        if getattr(spec, name):
            yield Problem((name,), "is for emulated nodes; nodewise does not change a cluster that exists")


def _workers(spec: ClusterDefinition) -> Iterator[Problem]:
    yield from at_least(spec, "workers", 1)
    autoscale = spec.autoscale
    if autoscale is None:
        return
    if spec.workers is not None:
        yield Problem(("workers",), "and autoscale exclude each other", "keep one of the two")
    if spec.engine == "local":
        yield Problem(("autoscale",), "is for the engines spark and ray; the local engine does not scale")
    yield from under(("autoscale",), at_least(autoscale, "min", 1))
    if autoscale.max < autoscale.min:
        yield Problem(("autoscale", "max"), f"must be at least min, which is {autoscale.min}, not {autoscale.max}")


def _limits(spec: PerNode, *, emulated: bool) -> Iterator[Problem]:
    for name in _EMULATED_ONLY:
        if not emulated and getattr(spec, name) is not None:
            yield Problem((name,), "is for emulated nodes; a cluster that exists has limits of its own")
    cpus = spec.cpus_per_node
    if cpus is not None and not MIN_CPUS <= cpus < math.inf:
        yield Problem(("cpus_per_node",), f"must be at least {MIN_CPUS}, not {cpus:g}")
    yield from _quantity(spec, "memory_per_node", parse_bytes, MIN_MEMORY_BYTES, "64MiB")
    yield from _quantity(spec, "network_per_node", parse_rate, MIN_RATE_BITS_PER_S, "8kbit/s")
    yield from _quantity(spec, "latency_per_node", parse_duration, 0, "0ms", most=MAX_LATENCY_S)


def _quantity(
    spec: PerNode, name: str, parse: Callable[[str], float], least: float, least_text: str, most: float = math.inf
) -> Iterator[Problem]:
    text = getattr(spec, name)
    if text is None:
        return
    try:
        value = parse(text)
    except ValueError as error:
        yield Problem((name,), f"is wrong: {error}")
        return
    if value < least:
        yield Problem((name,), f"must be at least {least_text}, not {text}")
    if value > most:
        yield Problem((name,), f"must be at most {most:g}s, not {text}")


def _quota(spec: Quota) -> Iterator[Problem]:
    yield from at_least(spec, "vcpus", 1)
    yield from at_least(spec, "addresses", 1)


def _node_type(spec: Any, name: str, known: Collection[str] | None) -> Iterator[Problem]:
    value = getattr(spec, name)
    if known is not None and value is not None and value not in known:
        error = UnknownNameError("node type", value, known)
        yield Problem((name,), f"{value!r} is unknown", error.hint or "`nodewise nodes list` shows all of them")


def _libraries(spec: ClusterDefinition) -> Iterator[Problem]:
    for index, line in enumerate(spec.libraries):
        key = ("libraries", index)
        if not line.strip() or line.strip().startswith(("-", "#")):
            yield Problem(key, f"must be a requirement such as 'pandas>=2.2', not {line!r}")
        elif "\n" in line:
            yield Problem(key, "must be one line")
        elif redact(line) != line:
            yield Problem(key, "holds a secret in clear", "write ${NAME} in its place and export NAME")


def _environment(spec: ClusterDefinition) -> Iterator[Problem]:
    for name, value in spec.environment.items():
        key = ("environment", name)
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            yield Problem(key, "is not the name of a variable")
        secret = is_secret_name(name) and value and not re.fullmatch(r"(\$\{\w+\})+", value)
        if secret or redact(value) != value:
            # Never the value: the message goes to logs.
            yield Problem(key, "holds a secret in clear", f"write {name}: ${{{name}}} and export {name}")


def _tags(tags: Mapping[str, str]) -> Iterator[Problem]:
    for name, value in tags.items():
        if redact(f"{name}={value}") != f"{name}={value}":
            yield Problem(("tags", name), "looks like a secret", "tags are kept and shown; take another name or value")
