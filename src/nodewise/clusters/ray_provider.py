"""What Ray's autoscaler has for a cloud: it asks the cluster's supervisor for nodes, and to take them away again.

Loaded by Ray's monitor process on the head, as the ``external`` node provider of the configuration that
:func:`autoscaling_config` makes.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ray.autoscaler.node_provider import NodeProvider
from ray.autoscaler.tags import (
    NODE_KIND_HEAD,
    NODE_KIND_WORKER,
    STATUS_UP_TO_DATE,
    TAG_RAY_NODE_KIND,
    TAG_RAY_NODE_NAME,
    TAG_RAY_NODE_STATUS,
    TAG_RAY_USER_NODE_TYPE,
)

from nodewise.clusters.channel import connect
from nodewise.clusters.ray_scaling import HEAD, HEAD_TYPE, NODE_TYPE
from nodewise.core.errors import ClusterLostError

__all__ = ["EmulatedNodeProvider"]


class EmulatedNodeProvider(NodeProvider):  # type: ignore[misc]
    """Nodes are known by their names; the supervisor alone knows which there are."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        super().__init__(provider_config, cluster_name)
        self._control = Path(provider_config["control"])
        # A node that is being added must not be seen by another thread before whoever asked for it knows its name.
        self._lock = threading.Lock()
        self._hosts: dict[str, str] = {}

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        """The names of the head and all nodes that have these tags."""
        with self._lock:
            self._hosts = self._ask("nodes")["nodes"]
            names = [HEAD, *self._hosts]
        return [name for name in names if tag_filters.items() <= self.node_tags(name).items()]

    def is_running(self, node_id: str) -> bool:
        """Whether a node was up when the supervisor was asked last."""
        return node_id == HEAD or node_id in self._hosts

    def is_terminated(self, node_id: str) -> bool:
        """Whether it was not."""
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        """What Ray is to know of a node."""
        is_head = node_id == HEAD
        return {
            TAG_RAY_NODE_KIND: NODE_KIND_HEAD if is_head else NODE_KIND_WORKER,
            TAG_RAY_NODE_NAME: node_id,
            TAG_RAY_NODE_STATUS: STATUS_UP_TO_DATE,
            TAG_RAY_USER_NODE_TYPE: HEAD_TYPE if is_head else NODE_TYPE,
        }

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        """Nodes have no tags but those above."""

    def internal_ip(self, node_id: str) -> str:
        """Where a node listens."""
        return self.provider_config["head_host"] if node_id == HEAD else self._hosts[node_id]

    def external_ip(self, node_id: str) -> str:
        """The same."""
        return self.internal_ip(node_id)

    def create_node(self, _node_config: dict[str, Any], _tags: dict[str, str], count: int) -> None:
        """Have nodes added; returns when they are up."""
        with self._lock:
            self._ask("add_nodes", count=count)

    def terminate_node(self, node_id: str) -> None:
        """Have a node removed."""
        with self._lock:
            self._ask("remove_node", name=node_id)

    def _ask(self, op: str, **values: Any) -> dict[str, Any]:
        channel = connect(self._control)
        if channel is None:
            raise ClusterLostError("the cluster's supervisor is gone")
        try:
            return channel.request(op, **values)
        finally:
            channel.close()
