"""Run by a cluster's guard when its supervisor has ended: settles what the supervisor, had it lived, would have.

``python -m nodewise.clusters.aftermath WORKSPACE CLUSTER_ID STATUS``, where the status is the supervisor's.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from nodewise.clusters.daemons import log_tail
from nodewise.clusters.plan import cluster_folder, remove_scratch
from nodewise.clusters.processes import kill_cluster
from nodewise.isolation.leftovers import remove_leftovers
from nodewise.specs.clusters import ClusterState
from nodewise.workspace import Workspace

__all__ = ["settle"]


def settle(workspace: Workspace, cluster_id: str, status: int) -> None:
    """Remove what is left of a cluster that nobody looks after any more, and note that it failed."""
    kill_cluster(cluster_id)
    remove_leftovers(cluster_id)
    folder = cluster_folder(workspace.root, cluster_id)
    remove_scratch(folder)
    how = f"by signal {-status}" if status < 0 else f"with status {status}"
    tail = log_tail(folder / "supervisor.log")
    reason = f"its supervisor ended {how}" + (f": {tail}" if tail else "")
    failed = {"state": ClusterState.FAILED, "state_message": reason, "run_id": None}
    if workspace.clusters.change(cluster_id, **failed, ended_at=datetime.now(UTC)):
        workspace.clusters.add_event(cluster_id, ClusterState.FAILED.value, reason)


if __name__ == "__main__":
    settle(Workspace(Path(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
