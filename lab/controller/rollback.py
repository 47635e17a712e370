# SPDX-License-Identifier: Apache-2.0
"""Rolling a resource back to one of its snapshots: which of two mechanics, and the one within the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, versions
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Resource, ResourceDefinition, Snapshot
from lab.controller.names import key
from lab.controller.progress import Progress
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

STRATEGY = "StorDriver/Zfs/RollbackStrategy"


class Rollback:
    """Sizes, bytes and properties of the volumes return to the snapshot's.

    Up to LINSTOR 1.30 the storage rolls back within the volume, and only to the newest snapshot. Since 1.31
    everything is deleted and restored (``safety``), but on ZFS, since 1.32, LINSTOR prefers the former where
    it is possible. It leaves the definition's properties alone, unlike the latter.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def roll_back(self, rd_name: str, name: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 313, 977, 998, 995, 997; within the volume with 514 and 315, else as a snapshot."""
        snapshot = self.cluster.snapshot(rd_name, name)
        rd = self.cluster.rd(rd_name)
        reply = Reply(codes.MODIFY, codes.SNAPSHOT, RscDfn=rd.name, Snapshot=snapshot.name)
        within = self._within(rd, snapshot, body.get("zfs_rollback_strategy"), reply)
        self._check(rd, snapshot, reply)
        if within:
            self._roll_back_within(rd, snapshot, reply)
        else:
            self.cluster.safety.roll_back(rd, snapshot, reply)
        return reply

    def _within(self, rd: ResourceDefinition, snapshot: Snapshot, asked: str | None, reply: Reply) -> bool:
        if not self.cluster.at_least("1.25"):
            return True
        if self.cluster.linstor_version < versions.parse("1.32.0") or not self._all_zfs(rd, snapshot):
            return False
        strategy = (asked or self.cluster.inherited(rd, STRATEGY) or "dynamic").lower()
        newest = self._newest(rd, snapshot)
        if strategy == "clone":
            return False
        if strategy == "rollback" and not (newest and not snapshot.renamed):
            reason = "belongs to a volume that was replaced" if newest else "is not the newest one"
            raise reply.fail(
                codes.DEPENDEND_BACKUP, f"Snapshot '{snapshot.name}' {reason}: ZFS cannot roll back to it."
            )
        return newest and not snapshot.renamed

    def _all_zfs(self, rd: ResourceDefinition, snapshot: Snapshot) -> bool:
        pools = [volume.pool for one in rd.diskful for volume in one.volumes.values()]
        for node, pool_name, _ in snapshot.nodes.values():
            pool = self.cluster.pool_of(node, pool_name)
            pools += [pool] if pool else []
        return all(pool.provider.dependent for pool in pools)

    @staticmethod
    def _newest(rd: ResourceDefinition, snapshot: Snapshot) -> bool:
        return all(one.sequence <= snapshot.sequence for one in rd.snapshots.values())

    def _check(self, rd: ResourceDefinition, snapshot: Snapshot, reply: Reply) -> None:
        if not snapshot.successful:
            raise reply.fail(codes.UNKNOWN_ERROR, f"Snapshot '{snapshot.name}' failed, it cannot be used.")
        for resource in rd.resources.values():
            if not self.cluster.nodes[key(resource.node)].online:
                raise reply.fail(
                    codes.NOT_CONNECTED,
                    f"Node '{resource.node}' is not connected, '{rd.name}' cannot be rolled back.",
                    refs={"Node": resource.node},
                )
        users = self.cluster.attachment.users(rd)
        if users:
            raise reply.fail(
                codes.IN_USE,
                f"Resource '{rd.name}' is in use on node '{users[0].node}', it cannot be rolled back.",
                refs={"Node": users[0].node},
            )

    # --- by the storage itself

    def _roll_back_within(self, rd: ResourceDefinition, snapshot: Snapshot, reply: Reply) -> None:
        if not self._newest(rd, snapshot):
            raise reply.fail(codes.EXISTS_SNAPSHOT, f"Snapshot '{snapshot.name}' is not the newest one.")
        for resource in rd.diskful:
            if key(resource.node) not in snapshot.nodes or set(resource.volumes) - set(snapshot.volumes):
                raise reply.fail(
                    codes.NOT_FOUND_SNAPSHOT,
                    f"Snapshot '{snapshot.name}' does not hold all volumes on node '{resource.node}'.",
                )
        self._hide(rd, reply)
        failed = self._failed(rd, reply)
        if len(failed) < len(rd.diskful):
            self.reset_volumes(rd, snapshot)
            for number in snapshot.volumes:
                self._replace(rd, snapshot, number)
            self._refill(rd, failed)
        rd.writers = None
        self.cluster.deployment.apply(rd, reply)
        for resource in rd.resources.values():
            self.cluster.attachment.expose(rd, resource)
        self.cluster.attachment.refresh(rd, reply)
        if not failed:
            reply.success(codes.MODIFIED, f"Resource '{rd.name}' rolled back to snapshot '{snapshot.name}'.")

    def _failed(self, rd: ResourceDefinition, reply: Reply) -> list[Resource]:
        """Nodes whose satellites fail: they are filled by the others, or keep their data when all do."""
        failed = []
        for resource in rd.diskful:
            self.cluster.satellites.ask([resource.node])
            message = self.cluster.satellites.take_failure(resource.node, "rollback")
            if message:
                self.cluster.satellites.fault(resource.node, message, reply)
                failed.append(resource)
        return failed

    def _hide(self, rd: ResourceDefinition, reply: Reply) -> None:
        for resource in rd.resources.values():
            try:
                self.cluster.attachment.hide(rd, resource)
            except DeviceBusy:
                for other in rd.resources.values():
                    self.cluster.attachment.expose(rd, other)
                self.cluster.satellites.fault(
                    resource.node, f"Failed to take down '{rd.name}': a process holds the device open", reply
                )
                raise codes.ApiError(reply) from None

    def reset_volumes(self, rd: ResourceDefinition, snapshot: Snapshot) -> None:
        """Volume definitions as they were: later ones go, missing ones come back, sizes and properties."""
        for number in set(rd.volumes) - set(snapshot.volumes):
            self.cluster.volume_definitions.drop(rd, number)
        for number, volume in snapshot.volumes.items():
            definition = rd.volumes.get(number)
            if definition is None:
                definition = self.cluster.volume_definitions.add(rd, number, volume.size_kib, {}, set())
            definition.size_kib, definition.usable_kib = volume.size_kib, volume.usable_kib
            definition.props = dict(volume.definition_props)

    def _replace(self, rd: ResourceDefinition, snapshot: Snapshot, number: int) -> None:
        content = rd.content_key(number)
        if number in rd.contents:
            self.cluster.devices.delete(content)
        self.cluster.devices.copy(rd.snapshot_key(number, snapshot.name), content)
        rd.contents.add(number)

    def _refill(self, rd: ResourceDefinition, failed: list[Resource]) -> None:
        for resource in rd.diskful:
            for number, volume in resource.volumes.items():
                volume.made = True
                volume.usable_kib = None
                synced = Progress(self.cluster.clock, self.cluster.sync_seconds)
                volume.sync = synced if resource in failed else None
                self.cluster.deployment.recharge(rd, number, volume.pool)
