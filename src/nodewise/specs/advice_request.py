"""What an advice is asked for beside cost and time: which clusters may be chosen, streams, and nodes that go away."""

from __future__ import annotations

from dataclasses import dataclass

from nodewise.core.units import format_duration

__all__ = ["Candidates", "SpotSpec", "StreamSpec", "format_latency", "format_per_s"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """The clusters that a search chooses from: scenarios of a comparison, or node types of the price table; limits.

    Attributes:
        node_types, cloud, region, families: Which node types of the table: all those that fit everything that is given.
            None of it given: the scenarios. A family is a name without its size, such as ``m5`` or ``n2-standard``.
        nodes: Numbers of nodes of each of them; empty: 1, 2, 3, 4, 6, 8, 12, 16 ... up to ``max_nodes``.
        max_usd_per_hour: Highest price of all nodes together, the platform's fee included.
        min_memory_gib: Least memory of all nodes together.
    """

    node_types: tuple[str, ...] = ()
    cloud: str | None = None
    region: str | None = None
    families: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()
    max_nodes: int | None = None
    max_usd_per_hour: float | None = None
    min_memory_gib: float | None = None

    @property
    def is_of_table(self) -> bool:
        """Whether node types are asked for, in place of the scenarios."""
        return bool(self.node_types or self.families or self.cloud or self.region)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotSpec:
    """Nodes at spot prices, which the cloud may take back.

    Attributes:
        interruptions_per_hour: Of one node, how often on average; an assumption, not a measurement.
        checkpoint_s: Seconds of work from one checkpoint to the next; None: an interrupted run begins again.
        restart_s: From an interruption until the work goes on, if nothing interrupts that.
    """

    interruptions_per_hour: float
    checkpoint_s: float | None = None
    restart_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A stream of records that a cluster is to keep up with.

    Attributes:
        rate_per_s: Records that arrive each second, on average.
        p95_s: What 95 % of them may take at most, from arrival until done.
        records_per_run: Records that one run of the job handles, as a batch; None: what the earlier runs handled.
    """

    rate_per_s: float
    p95_s: float
    records_per_run: int | None = None


def format_per_s(records_per_s: float) -> str:
    """``1,234/s``; with three digits below a hundred."""
    return f"{records_per_s:,.0f}/s" if records_per_s >= 100 else f"{records_per_s:.3g}/s"


def format_latency(seconds: float) -> str:
    """``2.5 ms`` or ``120 ms``; from a second on as other durations."""
    return f"{seconds * 1000:.3g} ms" if seconds < 0.9995 else format_duration(seconds)
