"""What a supervisor is to bring up, and where its files are."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from nodewise.metering.pricing import Pricing
from nodewise.specs.access import ClusterAccess
from nodewise.specs.cluster import ClusterSpec
from nodewise.specs.codec import to_json
from nodewise.specs.definition import ClusterDefinition
from nodewise.specs.place import EmulationTier

__all__ = [
    "ClusterPlan",
    "access_from_json",
    "cluster_folder",
    "current_user",
    "environments_folder",
    "make_scratch",
    "plan_from_json",
    "plan_of",
    "remove_scratch",
    "scratch_folders",
    "socket_path",
]

MAX_SCRATCH_PARENT = 20
OWNER = "nodewise-cluster"
SCRATCH = "scratch"
SCRATCH_PREFIX = "nw-"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """A cluster to bring up; as JSON it is kept with the cluster, so no secret may be in it.

    Attributes:
        environment: Variables for the nodes; ``${NAME}`` stands for the value that the starting command's environment
            has, which is not kept.
        job: Of a job cluster: what its run does, for the ledger.
        libraries: pip requirements to install for all nodes.
        autotermination_s: Seconds without a run after which it ends; None: never.
        autoscale: Fewest and most nodes; None: as many as ``cluster.nodes``.
        job_server: Whether programs will be handed to it to run.
        driver_node_type: What the driver is billed as; None: it is not, since it runs on the machine that starts it.
        budget_usd: What it may cost from its start to its end; None: what it likes.
        pricing: Which price of the node types applies.
        tier: How far its nodes are to be kept apart at most; None: as far as this machine can.
    """

    cluster: ClusterSpec
    environment: dict[str, str] = field(default_factory=dict)
    init_script: str | None = None
    job: str = ""
    libraries: tuple[str, ...] = ()
    tags: dict[str, str] = field(default_factory=dict)
    autotermination_s: float | None = None
    autoscale: tuple[int, int] | None = None
    job_server: bool = False
    driver_node_type: str | None = None
    pricing: Pricing = Pricing()
    budget_usd: Decimal | None = None
    tier: EmulationTier | None = None
    user: str = ""

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = to_json(self)
        return data


def plan_of(definition: ClusterDefinition, *, machine_cores: int, for_one_run: bool = False) -> ClusterPlan:
    """The plan for a cluster as it was defined, with as few nodes as it may have.

    Args:
        machine_cores: Of this machine, which emulated nodes share.
        for_one_run: As a job cluster, which platforms charge less for.
    """
    minutes, scale = definition.autotermination_minutes, definition.autoscale
    return ClusterPlan(
        cluster=definition.spec(definition.min_nodes, machine_cores=machine_cores),
        environment=dict(definition.environment),
        init_script=definition.init_script,
        libraries=definition.libraries,
        tags=dict(definition.tags),
        autotermination_s=None if minutes is None else minutes * 60,
        autoscale=None if scale is None else (scale.min, scale.max),
        job_server=definition.engine == "ray",
        driver_node_type=definition.driver_node_type or definition.node_type,
        budget_usd=definition.budget_usd,
        pricing=Pricing(market=definition.pricing, platform=definition.platform_fee(for_one_run=for_one_run)),
        user=current_user(),
    )


def plan_from_json(data: dict[str, Any]) -> ClusterPlan:
    """The plan that :meth:`ClusterPlan.to_json` wrote."""
    from pydantic import TypeAdapter

    return TypeAdapter(ClusterPlan).validate_json(json.dumps(data))


def access_from_json(data: dict[str, Any]) -> ClusterAccess:
    """The access that a supervisor told."""
    from pydantic import TypeAdapter

    return TypeAdapter(ClusterAccess).validate_json(json.dumps(data))


def current_user() -> str:
    """Who is asking, for the ledger."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def cluster_folder(workspace: Path, cluster_id: str) -> Path:
    """Where a cluster's logs and configuration are."""
    return workspace / "clusters" / cluster_id


def environments_folder(workspace: Path) -> Path:
    """Where the environments with the libraries of definitions are."""
    return workspace / "environments"


def make_scratch(folder: Path) -> Path:
    """Make the folder for a cluster's sockets and temporary files, which ``folder`` then leads to, and return it."""
    # Unix sockets some 70 characters down in it may have paths of 107 bytes at most.
    usual = tempfile.gettempdir()
    scratch = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=usual if len(usual) <= MAX_SCRATCH_PARENT else "/tmp"))  # noqa: S108
    (scratch / OWNER).write_text(str(folder.resolve()))
    (folder / SCRATCH).symlink_to(scratch)
    return scratch


def scratch_folders() -> list[tuple[Path, Path]]:
    """The scratch folders of clusters of this user on this machine, each with the cluster's folder."""
    found = []
    for parent in {tempfile.gettempdir(), "/tmp"}:  # noqa: S108
        for scratch in Path(parent).glob(f"{SCRATCH_PREFIX}*"):
            owner = scratch / OWNER
            # Only what bears our mark: others may call their folders so too.
            if not scratch.is_symlink() and owner.is_file() and scratch.stat().st_uid == os.getuid():
                found.append((scratch, Path(owner.read_text())))
    return sorted(found)


def remove_scratch(folder: Path) -> None:
    """Remove what :func:`make_scratch` made, and all that is in it; it need not be there."""
    link = folder / SCRATCH
    if link.is_symlink():
        shutil.rmtree(link.resolve(), ignore_errors=True)
        link.unlink(missing_ok=True)


def socket_path(folder: Path) -> Path:
    """Where a cluster's supervisor listens."""
    return (folder / SCRATCH).resolve() / "control"
