# SPDX-License-Identifier: Apache-2.0
"""Rolling a resource back to one of its snapshots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition, Snapshot
from lab.controller.names import key
from lab.controller.progress import Progress
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Rollback:
    """REST 1.25: sizes and bytes return to the snapshot's, later snapshots survive."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def roll_back(self, rd_name: str, name: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 313, 995, 997, 971, 977, 998 and, before REST 1.25, 514 unless newest."""
        snapshot = self.cluster.snapshot(rd_name, name)
        rd = self.cluster.rd(rd_name)
        reply = Reply(codes.MODIFY, codes.SNAPSHOT, RscDfn=rd.name, Snapshot=snapshot.name)
        self._check(rd, snapshot, body.get("zfs_rollback_strategy") or "dynamic", reply)
        self._hide(rd, reply)
        for number, volume in snapshot.volumes.items():
            self._restore_content(rd, snapshot, number)
            definition = rd.volumes.get(number)
            if definition is None:
                definition = self.cluster.volume_definitions.add(rd, number, volume.size_kib, {}, set())
            definition.size_kib, definition.usable_kib = volume.size_kib, volume.usable_kib
            definition.props = dict(volume.definition_props)
        self._refill(rd, snapshot)
        rd.writers = None
        self.cluster.attachment.refresh(rd)
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        for resource in rd.resources.values():
            self.cluster.attachment.expose(rd, resource)
        reply.success(codes.MODIFIED, f"Resource '{rd.name}' rolled back to snapshot '{snapshot.name}'.")
        return reply

    def _check(self, rd: ResourceDefinition, snapshot: Snapshot, strategy: str, reply: Reply) -> None:
        if rd.rolling_back:
            raise reply.fail(codes.ROLLBACK_IN_PROGRESS, f"A rollback of '{rd.name}' is running already.")
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
        newest = all(one.sequence <= snapshot.sequence for one in rd.snapshots.values())
        if not newest and not self.cluster.at_least("1.25"):
            raise reply.fail(codes.EXISTS_SNAPSHOT, f"Snapshot '{snapshot.name}' is not the newest one.")
        zfs = any(volume.pool.provider.dependent for one in rd.diskful for volume in one.volumes.values())
        if zfs and strategy == "rollback" and not newest:
            raise reply.fail(
                codes.DEPENDEND_BACKUP, f"Newer snapshots than '{snapshot.name}' prevent a ZFS rollback."
            )

    def _hide(self, rd: ResourceDefinition, reply: Reply) -> None:
        for resource in rd.resources.values():
            try:
                self.cluster.attachment.hide(rd, resource)
            except DeviceBusy:
                for other in rd.resources.values():
                    self.cluster.attachment.expose(rd, other)
                message = f"Failed to take down '{rd.name}': a process holds the device open"
                report = self.cluster.satellites.report(resource.node, message)
                raise reply.fail(
                    codes.UNKNOWN_ERROR, f"({resource.node}) {message}", error_report_ids=[report]
                ) from None

    def _restore_content(self, rd: ResourceDefinition, snapshot: Snapshot, number: int) -> None:
        content = rd.content_key(number)
        if number in rd.contents:
            self.cluster.devices.delete(content)
        self.cluster.devices.copy(rd.snapshot_key(number, snapshot.name), content)
        rd.contents.add(number)

    def _refill(self, rd: ResourceDefinition, snapshot: Snapshot) -> None:
        """Replicas of nodes with the snapshot have the data at once, the others are synced."""
        for resource in rd.diskful:
            for number, volume in resource.volumes.items():
                if number not in snapshot.volumes:
                    continue
                with_data = key(resource.node) in snapshot.nodes
                volume.made = True
                volume.sync = None if with_data else Progress(self.cluster.clock, self.cluster.sync_seconds)
                volume.pool.space.drop(rd.content_key(number))
                origin = rd.snapshot_key(number, snapshot.name) if with_data else None
                self.cluster.deployment.charge(rd, number, volume.pool, origin)
