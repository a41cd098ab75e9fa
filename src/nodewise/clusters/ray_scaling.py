"""How Ray's autoscaler is told what nodes of an emulated cluster are like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["HEAD", "HEAD_TYPE", "NODE_TYPE", "autoscaler_environment", "write_autoscaling_config"]

HEAD = "head"
HEAD_TYPE, NODE_TYPE = "driver", "node"
IDLE_S = 5.0
INTERVAL_S = 1


def write_autoscaling_config(
    path: Path, *, control: Path, head_host: str, least: int, most: int, cores_per_node: int
) -> None:
    """Write the file for ``ray start --head --autoscaling-config``.

    Args:
        control: Where the cluster's supervisor listens.
        least, most: Nodes.
    """
    config: dict[str, Any] = {
        "cluster_name": "nodewise",
        "max_workers": most,
        # As many at once as are wanted; the default is to double.
        "upscaling_speed": float(most),
        "idle_timeout_minutes": IDLE_S / 60,
        "provider": {
            "type": "external",
            "module": "nodewise.clusters.ray_provider.EmulatedNodeProvider",
            "control": str(control),
            "head_host": head_host,
            # The supervisor starts Ray on a node; the autoscaler would else want to do it over SSH.
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
        },
        "head_node_type": HEAD_TYPE,
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            NODE_TYPE: {
                "resources": {"CPU": cores_per_node},
                "node_config": {},
                "min_workers": least,
                "max_workers": most,
            },
        },
    }
    # Ray asks for these although there is nothing to set up.
    commands = ("setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray", "initialization")
    config |= {f"{name}_commands": [] for name in commands}
    config |= {"auth": {}, "cluster_synced_files": [], "file_mounts": {}, "file_mounts_sync_continuously": False}
    # JSON is YAML too.
    path.write_text(json.dumps(config, indent=1))


def autoscaler_environment(name: str) -> dict[str, str]:
    """Variables by which the autoscaler knows a node as the one that its provider calls so."""
    return {
        "AUTOSCALER_UPDATE_INTERVAL_S": str(INTERVAL_S),
        # The autoscaler that works with all of Ray's scheduling; with a configuration file it is not yet the default.
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": name,
        "RAY_NODE_TYPE_NAME": HEAD_TYPE if name == HEAD else NODE_TYPE,
    }
