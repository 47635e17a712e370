# SPDX-License-Identifier: Apache-2.0
"""Restoring a snapshot into another resource definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition, Snapshot, StoragePool
from lab.controller.names import key
from lab.controller.tiebreaker import QUORUM

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Restore:
    """First the volume definitions, then the resources on the nodes that have the snapshot."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def volume_definitions(self, rd_name: str, name: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 313, 503."""
        snapshot = self.cluster.snapshot(rd_name, name)
        target = self.cluster.rd(body["to_resource"])
        reply = Reply(codes.CREATE, codes.VLM_DFN, RscDfn=target.name)
        for number in snapshot.volumes:
            if number in target.volumes:
                raise reply.fail(
                    codes.EXISTS_VLM_DFN, f"Volume definition {number} of '{target.name}' already exists."
                )
        for number, volume in snapshot.volumes.items():
            self.cluster.volume_definitions.add(
                target, number, volume.size_kib, dict(volume.definition_props), set()
            )
        reply.success(
            codes.CREATED, f"Volume definitions of '{target.name}' made from snapshot '{snapshot.name}'."
        )
        return reply

    @locked
    def resource(self, rd_name: str, name: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 313, 502, 314, 206, 998, 310; without volume definitions it warns."""
        snapshot = self.cluster.snapshot(rd_name, name)
        source = self.cluster.rd(rd_name)
        target = self.cluster.rd(body["to_resource"])
        reply = Reply(codes.CREATE, codes.RSC, RscDfn=target.name)
        self._check(snapshot, target, reply)
        pools = self._pools(snapshot, body, reply)
        if not target.volumes:
            reply.warning(
                codes.W_NOT_FOUND, f"'{target.name}' has no volume definitions, nothing to restore."
            )
            for pool in pools:
                self.cluster.resources.place(target, pool, reply)
            return reply
        kept = {QUORUM: target.props[QUORUM]} if QUORUM in target.props else {}
        target.props.update({**snapshot.definition_props, **kept})
        self._fill(source, snapshot, target)
        for pool in pools:
            self.cluster.resources.place(target, pool, reply)
        self.cluster.tie_breaker.update(target, reply)
        origins = {number: source.snapshot_key(number, snapshot.name) for number in snapshot.volumes}
        self.cluster.deployment.apply(target, reply, {key(pool.node) for pool in pools}, origins)
        return reply

    def _check(self, snapshot: Snapshot, target: ResourceDefinition, reply: Reply) -> None:
        if not snapshot.successful:
            raise reply.fail(
                codes.UNKNOWN_ERROR, f"Snapshot '{snapshot.name}' failed, it cannot be restored."
            )
        if target.resources:
            raise reply.fail(codes.EXISTS_RSC, f"'{target.name}' has resources, it cannot take a snapshot.")
        for number, definition in target.volumes.items():
            volume = snapshot.volumes.get(number)
            if volume is None:
                raise reply.fail(
                    codes.NOT_FOUND_SNAPSHOT_VLM_DFN,
                    f"Snapshot '{snapshot.name}' has no volume {number}, which '{target.name}' defines.",
                )
            if volume.size_kib != definition.size_kib:
                raise reply.fail(
                    codes.INVLD_VLM_SIZE,
                    f"Volume {number} of '{target.name}' has {definition.size_kib} KiB, the snapshot "
                    f"{volume.size_kib} KiB.",
                )

    def _pools(self, snapshot: Snapshot, body: dict[str, Any], reply: Reply) -> list[StoragePool]:
        renamed = {key(old): new for old, new in (body.get("stor_pool_rename") or {}).items()}
        wanted = [key(one) for one in body.get("nodes") or ()] or list(snapshot.nodes)
        pools = []
        for one in wanted:
            if one not in snapshot.nodes:
                raise reply.fail(
                    codes.NOT_FOUND_SNAPSHOT, f"Node '{one}' has no copy of snapshot '{snapshot.name}'."
                )
            node, pool_name, _ = snapshot.nodes[one]
            chosen = renamed.get(key(pool_name), pool_name)
            pool = self.cluster.pool_of(node, chosen)
            if pool is None:
                raise reply.fail(
                    codes.NOT_FOUND_STOR_POOL, f"Storage pool '{chosen}' on node '{node}' does not exist."
                )
            pools.append(pool)
        return pools

    def _fill(self, source: ResourceDefinition, snapshot: Snapshot, target: ResourceDefinition) -> None:
        for number, definition in target.volumes.items():
            definition.usable_kib = snapshot.volumes[number].usable_kib
            self.cluster.devices.copy(source.snapshot_key(number, snapshot.name), target.content_key(number))
            target.contents.add(number)
