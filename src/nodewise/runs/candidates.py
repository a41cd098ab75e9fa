"""The clusters that a search chooses from: scenarios of a comparison, or node types of the price table; limits."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from nodewise.advice.space import family_of
from nodewise.core.errors import InputError, UnknownNameError
from nodewise.core.machine import machine_cores
from nodewise.metering.cost import price_cluster
from nodewise.metering.price_files import price_file_path
from nodewise.metering.prices import find_node_type, node_type_names, node_types
from nodewise.metering.pricing import Pricing
from nodewise.specs.advice_request import Candidates
from nodewise.specs.cluster import ClusterSpec, NodeType
from nodewise.specs.cluster_checks import MIN_CPUS
from nodewise.specs.scenario import CompareSpec, Scenario

__all__ = ["Chosen", "choose_candidates"]

MOST_CANDIDATES = 1000
"""A search makes half a dozen runs: of more candidates than this it would know next to nothing."""
GPUS = "with GPUs, whose type or family was not named"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A comparison that has the candidates for its scenarios.

    Attributes:
        left_out: How many more would have been candidates, by why they are not, as it follows their number in words;
            the most first.
    """

    spec: CompareSpec
    left_out: dict[str, int]


def choose_candidates(spec: CompareSpec, wanted: Candidates, pricing: Pricing, *, is_run: bool) -> Chosen:
    """The candidates among the scenarios of a comparison, or among the node types of the price table.

    Node types run on the engine of the first scenario. Where their nodes are emulated and are to be run, each has a
    share of this machine in proportion to its vCPUs, such that the largest cluster just fits.

    Raises:
        InputError: None is left, or more than can be searched; the message says how many each limit left out. Or this
            machine is too small to stand in for them.
        UnknownNameError: There is no such node type, cloud, region or family.
    """
    _check(wanted)
    considered = _of_table(spec.scenarios[0], wanted) if wanted.is_of_table else spec.scenarios
    kept, left_out = [], Counter[str]()
    for scenario in considered:
        reason = next(_why_not(scenario, wanted, pricing), None)
        if reason is None:
            kept.append(scenario)
        else:
            left_out[reason] += 1
    told = "; ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
    if not kept:
        raise InputError(f"no candidate is left of {len(considered):,}: {told}", hint=_hint(pricing, considered))
    if len(kept) > MOST_CANDIDATES:
        raise InputError(
            f"{len(kept):,} candidates are too many for a search of a few runs: at most {MOST_CANDIDATES:,}"
            f"{f'; left out already: {told}' if told else ''}",
            hint="narrow them with --cloud, --family, --max-nodes, --max-price, --min-memory or --nodes",
        )
    if wanted.is_of_table and is_run:
        kept = _with_shares(kept)
    baseline = None if wanted.is_of_table or left_out else spec.baseline
    return Chosen(spec=replace(spec, scenarios=tuple(kept), baseline=baseline), left_out=dict(left_out.most_common()))


def _check(wanted: Candidates) -> None:
    for name in ("max_nodes", "max_usd_per_hour", "min_memory_gib"):
        value = getattr(wanted, name)
        if value is not None and not value > 0:
            raise InputError(f"{name} is {value:g}, and must be above 0")
    if wanted.nodes and min(wanted.nodes) < 1:
        raise InputError(f"{min(wanted.nodes)} is no number of nodes")
    if wanted.nodes and not wanted.is_of_table:
        raise InputError(
            "numbers of nodes are for node types, and none is named", hint="--node-type, --family, --cloud or --region"
        )
    if wanted.is_of_table and not wanted.nodes and wanted.max_nodes is None:
        raise InputError("how many nodes of each type is not said", hint="--max-nodes 16, or --nodes 2,4,8")


def _of_table(first: Scenario, wanted: Candidates) -> list[Scenario]:
    """Every number of nodes of every node type that is asked for."""
    counts = sorted(set(wanted.nodes)) or _counts(wanted.max_nodes or 1)
    return [
        replace(first, name=f"{nodes} x {name}", nodes=nodes, node_type=name)
        for name in _types(wanted)
        for nodes in counts
    ]


def _counts(most: int) -> list[int]:
    """1, 2, 3, 4, 6, 8, 12, 16 ...: each a third to a half more than the one before, and the most."""
    steps = {size for power in range(most.bit_length()) for size in (2**power, 3 * 2**power) if size <= most}
    return sorted(steps | {most})


def _types(wanted: Candidates) -> list[str]:
    """The node types that fit everything that is asked for, as they are named."""
    rows = {name: find_node_type(name) for name in wanted.node_types or sorted(node_type_names())}
    if wanted.cloud is not None:
        of_cloud = {(row.name, row.region) for row in node_types(wanted.cloud)}
        rows = {name: row for name, row in rows.items() if (row.name, row.region) in of_cloud}
    if wanted.region is not None:
        regions = sorted({row.region for row in rows.values()})
        rows = {name: row for name, row in rows.items() if row.region == wanted.region}
        if not rows:
            cloud = wanted.cloud or "azure"
            raise InputError(
                f"no prices are known of region {wanted.region!r}; they are of {', '.join(regions) or 'none'}",
                hint=f"`nodewise nodes refresh --cloud {cloud} --region {wanted.region}` fetches them",
            )
    elif not wanted.node_types:
        # One region of each cloud: in another one the same node type is as fast.
        rows = {name: row for name, row in rows.items() if name == row.name}
    if wanted.families:
        families = {name: family_of(row.name) for name, row in rows.items()}
        for family in wanted.families:
            if family not in families.values():
                raise UnknownNameError("family", family, set(families.values()))
        rows = {name: row for name, row in rows.items() if families[name] in wanted.families}
    if not rows:
        raise InputError("no node type is of that cloud or region and has that name", hint="`nodewise nodes list`")
    return list(rows)


def _why_not(scenario: Scenario, wanted: Candidates, pricing: Pricing) -> Iterator[str]:
    """Why it is no candidate, each as it follows a number; nothing: it is one."""
    nodes, row = scenario.nodes, find_node_type(scenario.node_type) if scenario.node_type else None
    if row is not None and row.accelerator and wanted.is_of_table and not (wanted.node_types or wanted.families):
        yield GPUS
    if wanted.max_nodes is not None and nodes > wanted.max_nodes:
        yield f"with more than {wanted.max_nodes} nodes"
    if wanted.min_memory_gib is not None:
        if row is None:
            yield "without a known memory"
        elif row.memory_gib * nodes < wanted.min_memory_gib:
            yield f"with less than {wanted.min_memory_gib:g} GiB of memory in all"
    if wanted.max_usd_per_hour is not None or pricing.market == "spot":
        cluster = ClusterSpec(engine=scenario.engine, nodes=nodes, node_type=scenario.node_type)
        price = price_cluster(cluster, pricing)
        if price is None:
            yield f"without a known {pricing.market} price"
        elif wanted.max_usd_per_hour is not None and price.usd_per_node_hour * nodes > wanted.max_usd_per_hour:
            yield f"above ${wanted.max_usd_per_hour:g} an hour"


def _with_shares(scenarios: Sequence[Scenario]) -> list[Scenario]:
    """The scenarios with what each emulated node may use of this machine."""
    emulated = {one.name: find_node_type(str(one.node_type)).vcpus for one in scenarios if one.address is None}
    if not emulated:
        return list(scenarios)
    largest = max(emulated[one.name] * one.nodes for one in scenarios if one.name in emulated)
    share = min(1.0, machine_cores() / largest)
    if min(emulated.values()) * share < MIN_CPUS:
        raise InputError(
            f"this machine's {machine_cores()} cores cannot stand in for clusters of up to {largest:g} vCPUs: the "
            f"smallest node would have less than {MIN_CPUS:g}",
            hint="--no-run, and tell the times with --told; or fewer candidates",
        )
    return [
        replace(one, cpus_per_node=emulated[one.name] * share, cores_per_node=math.ceil(emulated[one.name] * share))
        if one.name in emulated
        else one
        for one in scenarios
    ]


def _hint(pricing: Pricing, considered: Iterable[Scenario]) -> str:
    if pricing.market == "list":
        return "relax a limit, or name other node types; `nodewise nodes list` shows all"
    rows = [find_node_type(one.node_type) for one in considered if one.node_type]
    unknown: NodeType | None = next((row for row in rows if row.price_usd_per_hour_spot is None), None)
    if unknown is None:
        return "relax a limit"
    path = price_file_path(unknown.cloud, unknown.region)
    return f"`nodewise nodes refresh` fetches Azure's spot prices; others can be written to {path}: docs/advise.md"
