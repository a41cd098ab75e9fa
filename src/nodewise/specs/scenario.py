"""A comparison file: one data set, its jobs, and the scenarios to run them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from nodewise.specs.cluster import ClusterSpec, EngineName
from nodewise.specs.job import STRICT, PrepareSpec, ScoreSpec, TrainSpec

__all__ = ["CompareSpec", "DatabricksFee", "DatasetSpec", "JobsSpec", "Scenario"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """Where the images are.

    Attributes:
        source: A folder, an archive or the name of a data set; of several, the first that is there is taken. Relative
            paths are taken from the folder of the file they stand in.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    source: str | tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.source,) if isinstance(self.source, str) else self.source


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsSpec:
    """Settings of the three jobs, which run in this order."""

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    prepare: PrepareSpec = PrepareSpec()
    train: TrainSpec = TrainSpec()
    score: ScoreSpec = ScoreSpec()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One way to run the jobs.

    Attributes:
        cores_per_node: None: the same share of this machine for every node of the whole comparison, at least one core.
        tags: Names and values that the run's cost is filed under.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    engine: EngineName
    nodes: int = 1
    node_type: str | None = None
    cores_per_node: int | None = None
    address: str | None = None
    port: int | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def cluster(self, default_cores: int) -> ClusterSpec:
        """The cluster to start; ``default_cores`` stands in where the file says nothing."""
        return ClusterSpec(
            engine=self.engine,
            nodes=self.nodes,
            cores_per_node=self.cores_per_node or default_cores,
            node_type=self.node_type,
            address=self.address,
            port=self.port,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabricksFee:
    """The Databricks units to add to the price of each node.

    Attributes:
        tier: Of the workspace.
        compute: ``jobs`` for job clusters, ``all-purpose`` for clusters that people share.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    tier: Literal["standard", "premium"] = "premium"
    compute: Literal["jobs", "jobs light", "all-purpose"] = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareSpec:
    """The whole file.

    Attributes:
        scenarios: At least one, with distinct names.
        baseline: Name of the scenario that speedup and cost ratio refer to; None: the first one.
        repeat: Runs per scenario; medians and spread are reported from two on.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    name: str
    dataset: DatasetSpec
    scenarios: tuple[Scenario, ...]
    jobs: JobsSpec = JobsSpec()
    baseline: str | None = None
    repeat: int = 1
    databricks: DatabricksFee | None = None

    @property
    def baseline_name(self) -> str:
        return self.baseline or self.scenarios[0].name
