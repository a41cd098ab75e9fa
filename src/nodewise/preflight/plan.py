"""What is about to be started, as far as preflight needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.definition import ClusterDefinition
from nodewise.specs.limits import Quota
from nodewise.workspace import Workspace

__all__ = ["Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One cluster and what shall run on it. What is left out is not looked at.

    Attributes:
        name: Of the scenario or the cluster, to tell findings apart; empty where there is one only.
        cluster: With as many nodes as it may come to have.
        is_up: The cluster is running already, so that nothing of this machine is asked for.
        definition: What the cluster was or will be made of.
        quota: Of the account, where there is no definition to say it.
        driver_node_type: None: as the nodes.
        inputs: Paths and patterns of files to read, or names of data sets.
        base: Folder that relative inputs are taken from.
        input_factor: Bytes that will be written for each byte of the inputs.
        output: Where they will be written; None: in the workspace.
        script: Program in Python, or a notebook, that will run on the nodes.
        libraries: Requirements that its environment will have on top of what is installed here.
        variables: The environment of whoever starts it.
        num_tasks: What the work is cut into; None: not known.
        tags: That its cost is filed under.
        expected_usd: What it is expected to cost.
    """

    cluster: ClusterSpec
    workspace: Workspace
    name: str = ""
    is_up: bool = False
    definition: ClusterDefinition | None = None
    quota: Quota = Quota()
    driver_node_type: str | None = None
    inputs: tuple[str, ...] = ()
    base: Path = Path()
    input_factor: float = 1.0
    output: Path | None = None
    script: Path | None = None
    libraries: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    num_tasks: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    expected_usd: Decimal | None = None
