"""Finds and ends the processes of a cluster by the mark that they inherit, whoever their parents are by now."""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress

import psutil

from nodewise.core.errors import NodewiseError
from nodewise.specs.place import CLUSTER_VARIABLE

__all__ = ["cluster_processes", "kill_cluster"]

END_S = 10.0


def cluster_processes() -> dict[str, list[psutil.Process]]:
    """The processes of this machine's clusters, as far as this user may see them, by the cluster's id.

    The calling process and its ancestors are left out.
    """
    here = psutil.Process()
    own = {process.pid for process in [here, *here.parents()]}
    found = defaultdict(list)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid in own or process.status() == psutil.STATUS_ZOMBIE:
                continue
            cluster_id = process.environ().get(CLUSTER_VARIABLE)
            if cluster_id:
                found[cluster_id].append(process)
    return dict(found)


def kill_cluster(cluster_id: str) -> int:
    """End every process of a cluster; how many there were.

    Raises:
        NodewiseError: One does not end even when killed.
    """
    killed: set[int] = set()
    # Until none is left: one may have started another in the meantime.
    while processes := cluster_processes().get(cluster_id, []):
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        killed |= {process.pid for process in processes}
        _, alive = psutil.wait_procs(processes, timeout=END_S)
        if alive:
            raise NodewiseError(f"cluster {cluster_id}: processes {[p.pid for p in alive]} do not end when killed")
    return len(killed)
