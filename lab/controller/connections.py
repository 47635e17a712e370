# SPDX-License-Identifier: Apache-2.0
"""Resource connections: properties of a pair of nodes of one resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, props
from lab.controller.codes import ApiError, Reply, failure
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition
from lab.controller.names import key
from lab.controller.windows import Pair, pair_of

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Connections:
    """Calls below ``/v1/resource-definitions/{r}/resource-connections``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def modify(self, rd_name: str, node_a: str, node_b: str, body: dict[str, Any]) -> Reply:
        """Fails with 300, 213; for a missing definition or resource with 301 or 302, before REST 1.29 with 998."""
        reply = Reply(codes.MODIFY, codes.RSC_CONN, RscDfn=rd_name)
        pair = self._ends(rd_name, node_a, node_b, reply)
        rd = self.cluster.rd(rd_name)
        settings = dict(rd.connections.get(pair, {}))
        changed = props.change(reply, "connection", settings, body)
        if settings:
            rd.connections[pair] = settings
        else:
            rd.connections.pop(pair, None)
        reply.success(
            codes.MODIFIED, f"Connection of '{rd.name}' between '{node_a}' and '{node_b}' modified."
        )
        if not changed:
            return reply
        self.cluster.attachment.refresh(rd, reply)
        for node in pair:
            if not self.cluster.nodes[node].online:
                reply.not_connected(self.cluster.nodes[node].name)
        return reply

    def _ends(self, rd_name: str, node_a: str, node_b: str, reply: Reply) -> Pair:
        for node in (node_a, node_b):
            self.cluster.node(node)
        try:
            for node in (node_a, node_b):
                self.cluster.resource(rd_name, node)
        except ApiError:
            if self.cluster.at_least("1.29"):
                raise
            # servers before LINSTOR 1.35 do not look and stumble over the missing object
            report = self.cluster.satellites.report("controller", "NullPointerException")
            raise reply.fail(
                codes.UNKNOWN_ERROR, "An unknown error occurred.", error_report_ids=[report]
            ) from None
        return pair_of(node_a, node_b)

    @locked
    def list_all(self, rd_name: str) -> list[dict[str, Any]]:
        rd = self.cluster.rd(rd_name)
        names = sorted(rd.resources)
        pairs = [(left, right) for left in names for right in names if left < right]
        return [self._view(rd, *pair) for pair in pairs]

    @locked
    def get(self, rd_name: str, node_a: str, node_b: str) -> dict[str, Any]:
        """Fails with 301, and with 307 unless both nodes have the resource."""
        rd = self.cluster.rd(rd_name)
        if not {key(node_a), key(node_b)} <= rd.resources.keys() or key(node_a) == key(node_b):
            raise failure(
                codes.NOT_FOUND_RSC_CONN,
                f"'{rd.name}' has no connection between '{node_a}' and '{node_b}'.",
            )
        return self._view(rd, *pair_of(node_a, node_b))

    def _view(self, rd: ResourceDefinition, left: str, right: str) -> dict[str, Any]:
        body: dict[str, Any] = {"node_a": rd.resources[left].node, "node_b": rd.resources[right].node}
        settings = rd.connections.get((left, right))
        return {**body, "props": dict(settings)} if settings else body
