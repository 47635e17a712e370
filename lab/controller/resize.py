# SPDX-License-Identifier: Apache-2.0
"""Growing and shrinking volumes: first the storage on every satellite, then DRBD. Sizes are KiB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.deployment import EXACT_SIZE
from lab.controller.model import Resource, ResourceDefinition, VolumeDefinition
from lab.controller.names import key
from lab.controller.progress import Progress

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

RESIZE = "RESIZE"


class Resize:
    """The definition has its new size, and the flag RESIZE, before the first satellite is asked. When one fails
    it keeps both, and the device keeps its old size, until the controller has tried again with success.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def check(self, rd: ResourceDefinition, definition: VolumeDefinition, size: int, reply: Reply) -> None:
        """Raises 206, 980, 213, 974, 514."""
        self.cluster.volume_definitions.check_size(reply, size)
        if size < definition.size_kib and rd.drbd and rd.resources:
            raise reply.fail(
                codes.INVLD_VLM_SIZE,
                f"Volume {definition.number} of '{rd.name}' cannot shrink: DRBD volumes only grow.",
            )
        if size > definition.size_kib:
            self._check_room(rd, definition, size - definition.size_kib, reply)
            if props.is_true(self.cluster.inherited(rd, EXACT_SIZE)) and rd.resources:
                raise reply.fail(codes.INVLD_PROP, f"'{rd.name}' has an exact size, it cannot be resized.")
        for resource in rd.diskful if rd.drbd else ():
            if not self._up_to_date(resource, definition.number):
                raise reply.fail(
                    codes.NOT_ALL_UPTODATE,
                    f"Volume {definition.number} of '{rd.name}' on node '{resource.node}' is not UpToDate.",
                    correction="Wait until all replicas are in sync and all nodes are online.",
                    refs={"Node": resource.node},
                )
        self._check_snapshots(rd, definition, reply)

    def _check_room(
        self, rd: ResourceDefinition, definition: VolumeDefinition, growth: int, reply: Reply
    ) -> None:
        """Each pool for itself, by what was known of it last; what metadata and extents add is not asked for."""
        for resource in rd.diskful:
            pool = resource.volumes[definition.number].pool
            if not pool.provider.thin and pool.cached_free_kib < growth:
                raise reply.fail(
                    codes.NOT_ENOUGH_FREE_SPACE,
                    f"Pool '{pool.name}' on node '{pool.node}' has no room for {growth} KiB more.",
                    refs={"Node": pool.node, "StorPool": pool.name},
                )

    def _check_snapshots(self, rd: ResourceDefinition, definition: VolumeDefinition, reply: Reply) -> None:
        for resource in rd.diskful:
            pool = resource.volumes[definition.number].pool
            if pool.kind == "LVM" and any(key(resource.node) in one.nodes for one in rd.snapshots.values()):
                raise reply.fail(
                    codes.EXISTS_SNAPSHOT,
                    f"'{rd.name}' has snapshots in '{pool.name}', it cannot be resized.",
                )

    def _up_to_date(self, resource: Resource, number: int) -> bool:
        volume = resource.volumes.get(number)
        online = self.cluster.nodes[key(resource.node)].online
        return online and volume is not None and volume.made and volume.up_to_date

    def start(self, rd: ResourceDefinition, definition: VolumeDefinition, size: int, reply: Reply) -> None:
        """Carry out what ``check`` has let pass."""
        for resource in rd.diskful:
            volume = resource.volumes[definition.number]
            if volume.usable_kib is None:
                volume.usable_kib = definition.usable_kib
        definition.size_kib = size
        if not rd.resources:
            return
        definition.flags.add(RESIZE)
        pools = [one.volumes[definition.number].pool for one in rd.diskful]
        if definition.number in rd.contents:
            definition.usable_kib = self.cluster.deployment.usable_kib(rd, definition, pools)
        self._go_on(rd, definition, reply)

    def retry(self, rd: ResourceDefinition) -> None:
        """The controller tries again, by itself."""
        for definition in rd.volumes.values():
            if RESIZE in definition.flags:
                self._go_on(rd, definition, Reply())

    def _go_on(self, rd: ResourceDefinition, definition: VolumeDefinition, reply: Reply) -> None:
        failed = [one for one in rd.diskful if not self._resize_storage(rd, definition, one, reply)]
        if failed or not self._resize_device(rd, definition, reply):
            self.cluster.deletion.try_later(rd)
            return
        definition.flags.discard(RESIZE)
        for resource in rd.diskful:
            reply.success(
                codes.MODIFIED,
                f"({resource.node}) Volume {definition.number} of '{rd.name}' resized.",
                refs={"Node": resource.node},
            )

    def _resize_storage(
        self, rd: ResourceDefinition, definition: VolumeDefinition, resource: Resource, reply: Reply
    ) -> bool:
        volume = resource.volumes[definition.number]
        if volume.usable_kib is None or not volume.made:
            volume.usable_kib = None
            return True
        if not self.cluster.nodes[key(resource.node)].online:
            reply.not_connected(resource.node)
            return False
        self.cluster.satellites.ask([resource.node])
        deployment = self.cluster.deployment
        wanted = deployment.backing_kib(rd, definition, volume.pool)
        growth = wanted - deployment.replica_kib(rd, definition, volume)
        message = self.cluster.satellites.take_failure(resource.node, "resize")
        if not volume.pool.provider.thin and growth > volume.pool.free_kib:
            message = (
                message or f"Failed to resize volume {definition.number}: '{volume.pool.backing}' is full"
            )
        if message:
            self.cluster.satellites.fault(resource.node, message, reply)
            return False
        volume.usable_kib = None
        volume.pool.space.grow(rd.content_key(definition.number), wanted, wanted)
        self.cluster.pools.note(volume.pool)
        return True

    def _resize_device(self, rd: ResourceDefinition, definition: VolumeDefinition, reply: Reply) -> bool:
        """DRBD grows on all nodes at once. What is new is filled from one disk, unless all storage is thin."""
        disks = rd.diskful
        for resource in disks if rd.drbd else ():
            message = self.cluster.satellites.take_failure(resource.node, "drbd-resize")
            if message:
                self.cluster.satellites.fault(resource.node, message, reply)
                return False
        if definition.number not in rd.contents:
            return True
        volumes = [one.volumes[definition.number] for one in disks]
        stale = any(volume.pool.provider.stale for volume in volumes)
        self.cluster.devices.resize(rd.content_key(definition.number), definition.usable_kib, stale=stale)
        if rd.drbd and not all(volume.pool.provider.thin for volume in volumes):
            for volume in volumes[1:]:
                volume.sync = Progress(self.cluster.clock, self.cluster.sync_seconds)
        return True
