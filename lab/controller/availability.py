# SPDX-License-Identifier: Apache-2.0
"""make-available and, from REST 1.29, unmake-available with controller-managed dual primary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes
from lab.controller.attachment import PROTOCOL, TWO_PRIMARIES
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Node, Resource, ResourceDefinition, StoragePool
from lab.controller.names import key
from lab.controller.placement import Filter
from lab.controller.resources import DISKLESS_FLAGS

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

_NO_EFFECT = 3001


class Availability:
    """Lets a node open a resource with the least change, and takes that back."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def make(self, rd_name: str, node_name: str, body: dict[str, Any]) -> Reply:
        """Idempotent. Fails with 301, 300, 310 (no eligible pool), 900/901 (dual primary)."""
        rd = self.cluster.rd(rd_name)
        node = self.cluster.node(node_name)
        reply = Reply(codes.CREATE, codes.RSC, RscDfn=rd.name, Node=node.name)
        source = self._migration_source(rd, node, reply) if body.get("auto_manage_dual_primary") else None
        diskful = bool(body.get("diskful", False))
        resource = rd.resources.get(key(node.name))
        if resource is None:
            self._add(rd, node, diskful, reply)
        else:
            self._reuse(rd, node, resource, diskful, reply)
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        if source is not None:
            self._open_window(rd, source, rd.resources[key(node.name)])
        self.cluster.attachment.refresh_writers(rd)
        return reply

    def _reuse(
        self, rd: ResourceDefinition, node: Node, resource: Resource, diskful: bool, reply: Reply
    ) -> None:
        if resource.deleting:
            self.cluster.deletion.unmark(resource)
            reply.success(
                codes.MODIFIED, f"Resource '{rd.name}' on '{node.name}' is no longer to be deleted."
            )
        if diskful and resource.diskless:
            self.cluster.resources.give_disk(rd, resource, self._pool(rd, node, reply), reply)
        elif resource.tie_breaker:
            resource.flags.discard("TIE_BREAKER")
            reply.success(codes.MODIFIED, f"Tie-breaker of '{rd.name}' on '{node.name}' became a diskless.")
        elif "INACTIVE" in resource.flags:
            resource.flags.discard("INACTIVE")
            reply.success(codes.MODIFIED, f"Resource '{rd.name}' on '{node.name}' activated.")
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

    def _migration_source(self, rd: ResourceDefinition, target: Node, reply: Reply) -> Resource | None:
        users = self.cluster.attachment.users(rd)
        if rd.migration is not None and rd.migration[1] != key(target.name) and users:
            raise reply.fail(
                codes.MIGRATION_RUNNING, f"Another migration of resource '{rd.name}' is running already."
            )
        sources = [one for one in users if key(one.node) != key(target.name)]
        if len(sources) > 1:
            raise reply.fail(
                codes.MIGRATION_SOURCE_MISSING,
                f"The source of the migration of '{rd.name}' cannot be told: it is in use on several nodes.",
            )
        return sources[0] if sources else None

    def _open_window(self, rd: ResourceDefinition, source: Resource, target: Resource) -> None:
        rd.migration = (key(source.node), key(target.node))
        settings = self._window_props(rd, rd.migration)
        settings[TWO_PRIMARIES] = "yes"
        if (self.cluster.inherited(rd, PROTOCOL) or "C") != "C":
            settings[PROTOCOL] = "C"
            rd.migration_protocol_set = True

    def _window_props(self, rd: ResourceDefinition, pair: tuple[str, str]) -> dict[str, str]:
        """Where the window is set: the connection, or the definition when two diskless nodes have none."""
        ends = [rd.resources.get(one) for one in pair]
        if all(one is not None and one.diskless for one in ends):
            return rd.props
        left, right = sorted(pair)
        return rd.connections.setdefault((left, right), {})

    def _close_window(self, rd: ResourceDefinition) -> None:
        if rd.migration is None:
            return
        left, right = sorted(rd.migration)
        for settings in (rd.connections.get((left, right)), rd.props):
            if settings is not None:
                settings.pop(TWO_PRIMARIES, None)
                if rd.migration_protocol_set:
                    settings.pop(PROTOCOL, None)
        if not rd.connections.get((left, right), True):
            del rd.connections[(left, right)]
        rd.migration = None
        rd.migration_protocol_set = False

    @locked
    def unmake(self, rd_name: str, node_name: str) -> Reply:
        """Remove a diskless resource and close the dual-primary window; disks and tie-breakers stay."""
        reply = Reply(codes.DELETE, codes.RSC, RscDfn=rd_name, Node=node_name)
        rd = self.cluster.rds.get(key(rd_name))
        if rd is None:
            reply.warning(codes.W_NOT_FOUND, f"Resource definition '{rd_name}' not found.")
            return reply
        resource = rd.resources.get(key(node_name))
        if resource is not None and resource in self.cluster.attachment.users(rd):
            raise reply.fail(codes.IN_USE, f"Resource '{rd.name}' on node '{resource.node}' is in use.")
        self._close_window(rd)
        if resource is None:
            reply.info(0, f"Resource '{rd.name}' is not deployed on node '{node_name}'.")
        elif resource.tie_breaker:
            reply.info(0, f"Resource '{rd.name}' on node '{resource.node}' stays as tie-breaker.")
        elif not resource.diskless:
            reply.warning(_NO_EFFECT, f"Resource '{rd.name}' on node '{resource.node}' has a disk and stays.")
        else:
            removed = self.cluster.deletion.delete_resource(rd.name, resource.node, keep_tie_breaker=True)
            reply.entries += removed.entries
        self.cluster.attachment.refresh_writers(rd)
        return reply
