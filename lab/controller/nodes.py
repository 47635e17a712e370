# SPDX-License-Identifier: Apache-2.0
"""Nodes: registration, connection state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Node, StoragePool
from lab.controller.names import key
from lab.controller.providers import DISKLESS

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

DISKLESS_POOL = "DfltDisklessStorPool"
_DISKLESS_CAPACITY = (1 << 63) - 1


class Nodes:
    """Calls below ``/v1/nodes`` and the levers that change a node's state."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def add(
        self, name: str, pools: list[tuple[str, str, int]], address: str, settings: dict[str, str]
    ) -> Node:
        if key(name) in self.cluster.nodes:
            raise ValueError(f"node {name} exists")
        node = Node(name, address or f"10.0.0.{len(self.cluster.nodes) + 1}")
        node.props = {"NodeUname": name.lower(), "CurStltConnName": "default", **settings}
        node.pools[key(DISKLESS_POOL)] = StoragePool(name, DISKLESS_POOL, DISKLESS, _DISKLESS_CAPACITY)
        self.cluster.nodes[key(name)] = node
        self.cluster.members[key(name)] = set()
        for pool_name, kind, total_kib in pools:
            self.cluster.pools.add(node, pool_name, kind, total_kib)
        self.cluster.events.node("node-create", node)
        return node

    def set_status(self, name: str, status: str, satellite_only: bool) -> None:
        node = self.cluster.node(name)
        was_online, old = node.online, self.cluster.views.node(node)
        self._set_power(node, status != "OFFLINE" or satellite_only)
        # the controller does not connect to an evicted node again
        node.status = "OFFLINE" if "EVICTED" in node.flags else status
        if node.online:
            node.eviction_timestamp = None
            if not was_online:
                self._catch_up(node)
        elif was_online:
            node.eviction_timestamp = self.cluster.now_ms() + 60 * 60 * 1000
        self.cluster.events.node("node-modified", node, old)

    def _set_power(self, node: Node, running: bool) -> None:
        affected = [self.cluster.rds[name] for name in sorted(self.cluster.members[key(node.name)])]
        for rd in affected:
            if not running and key(node.name) in self.cluster.attachment.primaries(rd):
                rd.died_primary.add(key(node.name))
            elif running:
                rd.died_primary.discard(key(node.name))
            self.cluster.freshness.update(rd)
        self.cluster.connectivity.power(key(node.name), running)
        for rd in affected:
            self.cluster.attachment.refresh(rd)

    def _catch_up(self, node: Node) -> None:
        """The satellite is back: carry out what was stored for it."""
        reply = Reply()
        for rd in [self.cluster.rds[name] for name in sorted(self.cluster.members[key(node.name)])]:
            self.cluster.deletion.finish(rd, reply)
            if key(rd.name) in self.cluster.rds and "DELETE" not in rd.flags:
                self.cluster.tie_breaker.update(rd, reply)
                self.cluster.deployment.apply(rd, reply)
                self.cluster.resize.retry(rd)
                self.cluster.safety.recover(rd)
        self.cluster.pools.refresh([node])

    @locked
    def list_all(self, names: list[str], filters: list[str]) -> list[dict[str, Any]]:
        if not self.cluster.at_least("1.28"):
            # before 1.34 an unknown node in the filter was an error, unlike in other lists
            for name in names:
                self.cluster.node(name)
        wanted = {key(name) for name in names}
        return [
            self.cluster.views.node(node)
            for name, node in sorted(self.cluster.nodes.items())
            if (not wanted or name in wanted) and props.matches(node.props, filters)
        ]

    @locked
    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.views.node(self.cluster.node(name))

    @locked
    def modify(self, name: str, body: dict[str, Any]) -> Reply:
        node = self.cluster.node(name)
        reply = Reply(codes.MODIFY, codes.NODE, Node=node.name)
        old = self.cluster.views.node(node)
        props.change(reply, "node", node.props, body)
        reply.success(codes.MODIFIED, f"Node '{node.name}' modified.")
        self.cluster.events.node("node-modified", node, old)
        return reply
