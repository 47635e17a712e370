# SPDX-License-Identifier: Apache-2.0
"""make-available and, from REST 1.29, unmake-available with controller-managed dual primary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Node, Resource, ResourceDefinition, StoragePool
from lab.controller.names import key
from lab.controller.placement import Filter
from lab.controller.resources import DISKLESS_FLAGS

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Availability:
    """Lets a node open a resource with the least change, and takes that back."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def make(self, rd_name: str, node_name: str, body: dict[str, Any]) -> Reply:
        """Idempotent. Fails with 301, 300, 310 (no eligible pool), 901 (another migration)."""
        rd = self.cluster.rd(rd_name)
        node = self.cluster.node(node_name)
        reply = Reply(codes.CREATE, codes.RSC, RscDfn=rd.name, Node=node.name)
        managed = bool(body.get("auto_manage_dual_primary"))
        source = self.cluster.migration.source(rd, node, reply) if managed else None
        diskful = bool(body.get("diskful", False))
        resource = rd.resources.get(key(node.name))
        if resource is None:
            self._add(rd, node, diskful, reply)
        else:
            self._reuse(rd, node, resource, diskful, reply)
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        if source is not None and not reply.failed:
            self.cluster.migration.open(rd, source, rd.resources[key(node.name)], reply)
            self.cluster.attachment.refresh(rd, reply)
        elif managed and not reply.failed:
            reply.info(0, f"Nothing to migrate: '{rd.name}' is not in use on another node.")
        return reply

    def _reuse(
        self, rd: ResourceDefinition, node: Node, resource: Resource, diskful: bool, reply: Reply
    ) -> None:
        if resource.deleting:
            self.cluster.deletion.unmark(resource)
            reply.success(
                codes.MODIFIED, f"Resource '{rd.name}' on '{node.name}' is no longer to be deleted."
            )
            if not node.online:
                reply.not_connected(node.name)
        if resource.inactive:
            # EVICTED contains INACTIVE: without the one, the other is gone, too
            resource.flags -= {"INACTIVE", "EVICTED"}
            reply.success(codes.MODIFIED, f"Resource '{rd.name}' on '{node.name}' activated.")
            if not node.online:
                reply.not_connected(node.name)
        elif diskful and resource.diskless:
            self.cluster.resources.give_disk(rd, resource, self._pool(rd, node, reply), reply)
        elif resource.tie_breaker:
            resource.flags.discard("TIE_BREAKER")
            reply.success(codes.MODIFIED, f"Tie-breaker of '{rd.name}' on '{node.name}' became a diskless.")
        elif not reply.entries:
            reply.success(0, f"Resource '{rd.name}' is available on '{node.name}' already.")

    def _add(self, rd: ResourceDefinition, node: Node, diskful: bool, reply: Reply) -> None:
        if diskful or not rd.diskful:
            pool = self._pool(rd, node, reply)
            self.cluster.resources.check_mixing(rd, pool, reply)
            self.cluster.resources.place(rd, pool, reply)
            return
        if not rd.drbd:
            raise reply.fail(
                codes.INVLD_LAYER_STACK,
                f"Resource '{rd.name}' cannot be diskless on '{node.name}': no layer has remote access.",
            )
        if not node.placeable:
            raise self._no_pool(node, reply)
        self.cluster.resources.record(
            rd, node, set(DISKLESS_FLAGS), None, client=self.cluster.at_least("1.28")
        )
        reply.success(codes.CREATED, f"Diskless resource '{rd.name}' added on '{node.name}'.")

    def _pool(self, rd: ResourceDefinition, node: Node, reply: Reply) -> StoragePool:
        """Pool of the node that the group's filter allows. Raises 310."""
        wanted = Filter.of(self.cluster.group_of(rd).select_filter)
        if node.online:
            self.cluster.pools.refresh([node])
        if wanted.nodes and key(node.name) not in wanted.nodes:
            raise self._no_pool(node, reply)
        wanted.nodes = {key(node.name)}
        size = sum(one.size_kib for one in rd.volumes.values())
        pools = self.cluster.placement.choose(wanted, 1, size, rd)
        if not pools:
            raise self._no_pool(node, reply)
        return pools[0]

    def _no_pool(self, node: Node, reply: Reply) -> codes.ApiError:
        return reply.fail(
            codes.NOT_FOUND_STOR_POOL,
            f"Autoplacer could not find diskless stor pool on node {node.name}",
        )

    @locked
    def unmake(self, rd_name: str, node_name: str) -> Reply:
        """Remove a diskless resource and close the dual-primary window; disks and tie-breakers stay.

        Fails with 300 and 997; a missing definition is a warning.
        """
        reply = Reply(codes.DELETE, codes.RSC, RscDfn=rd_name, Node=node_name)
        rd = self.cluster.rds.get(key(rd_name))
        if rd is None:
            reply.warning(codes.W_NOT_FOUND, f"Resource definition '{rd_name}' not found.")
            return reply
        self.cluster.node(node_name)
        resource = rd.resources.get(key(node_name))
        if resource is not None and resource in self.cluster.attachment.users(rd):
            raise reply.fail(codes.IN_USE, f"Resource '{rd.name}' on node '{resource.node}' is in use.")
        self.cluster.migration.close(rd, node_name)
        self.cluster.attachment.refresh(rd, reply)
        if reply.failed:
            # the resource stays: its removal would have come after the adjust
            return reply
        if resource is None:
            reply.info(0, f"Resource '{rd.name}' is not deployed on node '{node_name}'.")
        elif resource.tie_breaker:
            reply.info(0, f"Resource '{rd.name}' on node '{resource.node}' stays as tie-breaker.")
        elif not resource.diskless:
            reply.warning(0, f"Resource '{rd.name}' on node '{resource.node}' has a disk and stays.")
        else:
            removed = self.cluster.deletion.delete_resource(rd.name, resource.node, keep_tie_breaker=True)
            reply.entries += removed.entries
        return reply
