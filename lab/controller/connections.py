# SPDX-License-Identifier: Apache-2.0
"""Resource connections: properties of a pair of nodes of one resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Connections:
    """Calls below ``/v1/resource-definitions/{r}/resource-connections``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def modify(self, rd_name: str, node_a: str, node_b: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 300, 302, 213."""
        rd = self.cluster.rd(rd_name)
        left, right = sorted(key(self.cluster.resource(rd_name, node).node) for node in (node_a, node_b))
        reply = Reply(codes.MODIFY, codes.RSC_CONN, RscDfn=rd.name)
        settings = dict(rd.connections.get((left, right), {}))
        props.change(reply, "connection", settings, body)
        if settings:
            rd.connections[(left, right)] = settings
        else:
            rd.connections.pop((left, right), None)
        reply.success(
            codes.MODIFIED, f"Connection of '{rd.name}' between '{node_a}' and '{node_b}' modified."
        )
        self.cluster.attachment.refresh_writers(rd)
        return reply

    @locked
    def list_all(self, rd_name: str) -> list[dict[str, Any]]:
        rd = self.cluster.rd(rd_name)
        names = sorted(rd.resources)
        pairs = [(left, right) for left in names for right in names if left < right]
        return [self._view(rd, *pair) for pair in pairs]

    @locked
    def get(self, rd_name: str, node_a: str, node_b: str) -> dict[str, Any]:
        rd = self.cluster.rd(rd_name)
        left, right = sorted(key(self.cluster.resource(rd_name, node).node) for node in (node_a, node_b))
        return self._view(rd, left, right)

    def _view(self, rd: ResourceDefinition, left: str, right: str) -> dict[str, Any]:
        body: dict[str, Any] = {"node_a": rd.resources[left].node, "node_b": rd.resources[right].node}
        settings = rd.connections.get((left, right))
        return {**body, "props": dict(settings)} if settings else body
