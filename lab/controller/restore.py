# SPDX-License-Identifier: Apache-2.0
"""Restoring a snapshot into another resource definition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        """Fails with 301, 313, 502, 314, 206, 998, 310, 315; without volume definitions it warns.

        When a satellite fails, the resources stay, and LINSTOR forgets what they were to be made from: on the
        next try that node gets a new volume, which its peers fill, or nobody.
        """
        snapshot = self.cluster.snapshot(rd_name, name)
        source = self.cluster.rd(rd_name)
        target = self.cluster.rd(body["to_resource"])
        reply = Reply(codes.CREATE, codes.RSC, RscDfn=target.name)
        self._check(snapshot, target, reply)
        pools = self.pools(snapshot, body.get("nodes") or (), body.get("stor_pool_rename") or {}, reply)
        if not target.volumes:
            reply.warning(
                codes.W_NOT_FOUND, f"'{target.name}' has no volume definitions, nothing to restore."
            )
            for pool in pools:
                self.cluster.resources.place(target, pool, reply)
            return reply
        self.resources(source, snapshot, target, pools, reply)
        return reply

    def _check(self, snapshot: Snapshot, target: ResourceDefinition, reply: Reply) -> None:
        if target.resources:
            raise reply.fail(codes.EXISTS_RSC, f"'{target.name}' has resources, it cannot take a snapshot.")
        if not snapshot.successful:
            raise reply.fail(
                codes.UNKNOWN_ERROR, f"Snapshot '{snapshot.name}' failed, it cannot be restored."
            )
        self.check_volumes(snapshot, target, reply)

    def check_volumes(self, snapshot: Snapshot, target: ResourceDefinition, reply: Reply) -> None:
        """Raises 314, 206 unless the snapshot has the target's volumes in their sizes."""
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

    def pools(
        self, snapshot: Snapshot, nodes: Sequence[str], rename: Mapping[str, str], reply: Reply
    ) -> list[StoragePool]:
        """Where the snapshot is restored to: all of its nodes, or those that are named. Raises 315, 310, 206."""
        renamed = {key(old): new for old, new in rename.items()}
        pools = []
        for one in [key(one) for one in nodes] or list(snapshot.nodes):
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
            self._check_room(snapshot, pool, reply)
            pools.append(pool)
        return pools

    def _check_room(self, snapshot: Snapshot, pool: StoragePool, reply: Reply) -> None:
        message = self.cluster.satellites.take_failure(pool.node, "restore-refused")
        wanted = sum(volume.size_kib for volume in snapshot.volumes.values())
        if message or (not pool.provider.thin and pool.free_kib < wanted):
            raise reply.fail(
                codes.INVLD_VLM_SIZE,
                message or f"Pool '{pool.name}' on node '{pool.node}' has no room for '{snapshot.name}'.",
                refs={"Node": pool.node, "StorPool": pool.name},
            )

    def resources(
        self,
        source: ResourceDefinition,
        snapshot: Snapshot,
        target: ResourceDefinition,
        pools: list[StoragePool],
        reply: Reply,
    ) -> None:
        """Let the satellites make a definition's resources from a snapshot.

        The definition gets the properties that the source had, over its own.
        """
        kept = {QUORUM: target.props[QUORUM]} if QUORUM in target.props else {}
        target.props.update({**snapshot.definition_props, **kept})
        for pool in pools:
            self.cluster.resources.place(target, pool, reply)
        self.cluster.tie_breaker.update(target, reply)
        self._fill(source, snapshot, target)
        origins = {number: source.snapshot_key(number, snapshot.name) for number in snapshot.volumes}
        seeded = {key(pool.node) for pool in pools}
        self.cluster.deployment.apply(target, reply, seeded, origins, "restore")
        if not any(volume.made for one in target.diskful for volume in one.volumes.values()):
            self._forget(target)
        if reply.failed:
            self.cluster.deletion.try_later(target)

    def _fill(self, source: ResourceDefinition, snapshot: Snapshot, target: ResourceDefinition) -> None:
        for number, definition in target.volumes.items():
            definition.usable_kib = snapshot.volumes[number].usable_kib
            self.cluster.devices.copy(source.snapshot_key(number, snapshot.name), target.content_key(number))
            target.contents.add(number)

    def _forget(self, target: ResourceDefinition) -> None:
        """No node has made its volume, so nobody has the bytes."""
        for one in target.resources.values():
            self.cluster.attachment.hide(target, one)
        for number in list(target.contents):
            self.cluster.devices.delete(target.content_key(number))
            target.contents.discard(number)
