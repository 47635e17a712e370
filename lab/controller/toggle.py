# SPDX-License-Identifier: Apache-2.0
"""toggle-disk and migrate-disk: a resource gets or loses its disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Resource, ResourceDefinition, StoragePool, Volume
from lab.controller.names import key
from lab.controller.nodes import DISKLESS_POOL
from lab.controller.placement import Filter
from lab.controller.resources import DISKLESS_FLAGS

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Toggle:
    """The reply comes when the change has started; ``disk_state`` tells when it has finished."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._moves: dict[str, list[tuple[str, str]]] = {}

    @locked
    def unified(self, rd_name: str, node_name: str, body: dict[str, Any]) -> Reply:
        """REST 1.28: one call with an operation."""
        operation = body.get("operation") or "INTO_DRBD_DISKFUL"
        if operation == "INTO_DRBD_DISKFUL":
            return self.diskful(
                rd_name, node_name, body.get("storage_pool") or "", body.get("migrate_from") or ""
            )
        return self.diskless(rd_name, node_name, client=operation == "INTO_DRBD_CLIENT")

    @locked
    def diskful(self, rd_name: str, node_name: str, pool_name: str = "", migrate_from: str = "") -> Reply:
        """Fails with 310; warns with 1007. ``migrate_from``: that node loses its disk afterwards."""
        rd = self.cluster.rd(rd_name)
        resource = rd.resources.get(key(node_name))
        reply = Reply(codes.MODIFY, codes.RSC, RscDfn=rd.name, Node=node_name)
        if resource is not None and not resource.diskless:
            reply.warning(
                codes.W_ALREADY_HAS_DISK, f"Resource '{rd.name}' on '{node_name}' has a disk already."
            )
            return reply
        source = self.cluster.resource(rd_name, migrate_from) if migrate_from else None
        if resource is None:
            if source is None:
                self.cluster.resource(rd_name, node_name)
            resource = self.cluster.resources.record(
                rd, self.cluster.node(node_name), set(DISKLESS_FLAGS), None
            )
        pool = self._pool(rd, resource, pool_name, reply)
        self.cluster.resources.give_disk(rd, resource, pool, reply)
        if source is not None:
            self.replace(rd, source, resource)
        else:
            self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        return reply

    def _pool(self, rd: ResourceDefinition, resource: Resource, name: str, reply: Reply) -> StoragePool:
        if name:
            pool = self.cluster.pool_of(resource.node, name)
            if pool is None:
                raise reply.fail(
                    codes.NOT_FOUND_STOR_POOL, f"Storage pool '{name}' on node '{resource.node}' not found."
                )
            return pool
        wanted = Filter.of(self.cluster.group_of(rd).select_filter)
        wanted.nodes = {key(resource.node)}
        size = sum(one.size_kib for one in rd.volumes.values())
        pools = self.cluster.placement.choose(wanted, 1, size, rd)
        if not pools:
            raise reply.fail(
                codes.NOT_FOUND_STOR_POOL, f"No storage pool on node '{resource.node}' suits '{rd.name}'."
            )
        return pools[0]

    @locked
    def diskless(self, rd_name: str, node_name: str, *, client: bool = False) -> Reply:
        """Fails with 991 for the last disk; warns with 1008 when there is no disk."""
        resource = self.cluster.resource(rd_name, node_name)
        rd = self.cluster.rd(rd_name)
        reply = Reply(codes.MODIFY, codes.RSC, RscDfn=rd.name, Node=resource.node)
        if resource.diskless:
            if resource.client != client:
                resource.client = client
                resource.flags.discard("TIE_BREAKER")
                self.cluster.tie_breaker.update(rd, reply)
                self.cluster.deployment.apply(rd, reply)
            reply.warning(codes.W_ALREADY_DISKLESS, f"Resource '{rd.name}' on '{node_name}' has no disk.")
            return reply
        if not rd.drbd:
            raise reply.fail(
                codes.INVLD_LAYER_STACK, f"Resource '{rd.name}' has no layer that can be diskless."
            )
        if len(rd.diskful) < 2:
            raise reply.fail(
                codes.INSUFFICIENT_REPLICA_COUNT,
                f"Resource '{rd.name}' on node '{resource.node}' holds the last disk.",
            )
        self.take_disk(rd, resource, client)
        reply.success(codes.MODIFIED, f"Disk of '{rd.name}' on node '{resource.node}' is removed.")
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        return reply

    def take_disk(self, rd: ResourceDefinition, resource: Resource, client: bool = False) -> None:
        """Make a resource with a disk a diskless one."""
        for number, volume in resource.volumes.items():
            if volume.made:
                volume.pool.space.drop(rd.content_key(number))
                self.cluster.pools.note(volume.pool)
        node = self.cluster.nodes[key(resource.node)]
        pool = node.pools[key(DISKLESS_POOL)]
        resource.flags |= DISKLESS_FLAGS
        resource.client = client
        resource.pool = pool.name
        resource.props["StorPoolName"] = pool.name
        resource.volumes = {number: Volume(pool, made=True) for number in rd.volumes}
        self.cluster.freshness.update(rd)

    def replace(self, rd: ResourceDefinition, source: Resource, target: Resource) -> None:
        """The source goes as soon as the target is in sync and nobody uses the source."""
        self._moves.setdefault(key(rd.name), []).append((key(source.node), key(target.node)))

    def settle(self, rd: ResourceDefinition) -> None:
        """Remove the sources of disk migrations whose targets are in sync."""
        for source, target in list(self._moves.get(key(rd.name), ())):
            new = rd.resources.get(target)
            old = rd.resources.get(source)
            if old is not None and self.cluster.attachment.in_use(rd, old):
                continue
            if new is None or all(volume.made and volume.up_to_date for volume in new.volumes.values()):
                self._moves[key(rd.name)].remove((source, target))
                if new is not None and old is not None:
                    reply = Reply()
                    self.cluster.deletion.mark(rd, old)
                    self.cluster.deletion.finish(rd, reply)
                    self.cluster.tie_breaker.update(rd, reply)
                    self.cluster.deployment.apply(rd, reply)
