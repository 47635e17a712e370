# SPDX-License-Identifier: Apache-2.0
"""What satellites do with resources that the controller recorded for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller import codes, props, sizes
from lab.controller.codes import Reply
from lab.controller.model import Resource, ResourceDefinition, StoragePool, Volume, VolumeDefinition
from lab.controller.names import key
from lab.controller.progress import Progress

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

EXACT_SIZE = "DrbdOptions/ExactSize"


class Deployment:
    """Makes devices for everything that is recorded and not made yet.

    ``seeded`` in the calls: nodes whose backing volumes already hold the data (made from a snapshot or
    a clone); ``origins``: volume number -> content that the blocks are shared with.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def apply(
        self,
        rd: ResourceDefinition,
        reply: Reply,
        seeded: set[str] | None = None,
        origins: dict[int, str] | None = None,
        operation: str = "create",
    ) -> None:
        """Deploy on all online nodes; offline ones are told as warnings, failures as error entries.

        ``operation``: what the satellites do, as failures name it.
        """
        if rd.flags & {"CLONING", "FAILED"}:
            return
        ready = []
        for resource in rd.resources.values():
            if resource.deleting or (resource.deployed and self._complete(rd, resource)):
                continue
            node = self.cluster.nodes[key(resource.node)]
            if not node.online:
                reply.not_connected(node.name)
                continue
            self.cluster.satellites.ask([node.name])
            unmade = any(not volume.made for volume in resource.volumes.values())
            if (unmade or not resource.deployed) and self._fails(rd, resource, operation, reply):
                continue
            ready.append(resource)
        existing = set(rd.contents)
        for number in rd.volumes:
            self._make_content(rd, number, ready)
        for resource in ready:
            self._deploy(rd, resource, existing, seeded, origins or {}, reply)
        self.cluster.attachment.refresh(rd, reply)

    def _complete(self, rd: ResourceDefinition, resource: Resource) -> bool:
        return all(
            number in resource.volumes and resource.volumes[number].made for number in rd.volumes
        ) and (not rd.contents - resource.exposed)

    def _fails(self, rd: ResourceDefinition, resource: Resource, operation: str, reply: Reply) -> bool:
        message = self.cluster.satellites.take_failure(resource.node, operation)
        if not message and not resource.diskless:
            message = self._no_room(rd, resource)
        if not message:
            resource.failure = ""
            return False
        resource.failure = message
        self.cluster.satellites.fault(resource.node, message, reply)
        return True

    def _no_room(self, rd: ResourceDefinition, resource: Resource) -> str:
        for number, volume in resource.volumes.items():
            if volume.made or volume.pool.provider.thin:
                continue
            wanted = self.backing_kib(rd, rd.volumes[number], volume.pool)
            if wanted > volume.pool.free_kib:
                return f"Failed to create volume {number} of '{rd.name}': '{volume.pool.backing}' is full"
        return ""

    def _make_content(self, rd: ResourceDefinition, number: int, ready: list[Resource]) -> None:
        disks = [one for one in ready if not one.diskless]
        definition = rd.volumes[number]
        if number in rd.contents or not disks:
            return
        if not definition.usable_kib:
            definition.usable_kib = self.usable_kib(
                rd, definition, [one.volumes[number].pool for one in disks]
            )
        # DRBD shows what one replica has; the others are filled from it.
        stale = any(one.volumes[number].pool.provider.stale for one in disks)
        self.cluster.devices.create(rd.content_key(number), definition.usable_kib, stale=stale)
        rd.contents.add(number)
        self.cluster.windows.repeat(rd, number)

    def _deploy(
        self,
        rd: ResourceDefinition,
        resource: Resource,
        existing: set[int],
        seeded: set[str] | None,
        origins: dict[int, str],
        reply: Reply,
    ) -> None:
        for number, volume in resource.volumes.items():
            if volume.made or resource.diskless:
                volume.made = True
                continue
            filled = seeded is not None and key(resource.node) in seeded
            if not filled and self._must_sync(rd, resource, number, existing):
                volume.sync = Progress(self.cluster.clock, self.cluster.sync_seconds)
            volume.made = True
            self.charge(rd, number, volume.pool, origins.get(number) if filled else None)
        if not resource.deployed:
            resource.deployed = True
            reply.success(
                codes.CREATED,
                f"({resource.node}) Resource '{rd.name}' deployed.",
                refs={"Node": resource.node},
            )
        self.cluster.attachment.expose(rd, resource)

    def _must_sync(self, rd: ResourceDefinition, resource: Resource, number: int, existing: set[int]) -> bool:
        """A replica is filled by a peer unless it was born together with the data and reads as zeros."""
        others = [
            one.volumes[number]
            for one in rd.diskful
            if one is not resource and number in one.volumes and one.volumes[number].made
        ]
        return (
            rd.drbd
            and bool(others)
            and (number in existing or not resource.volumes[number].pool.provider.thin)
        )

    def charge(self, rd: ResourceDefinition, number: int, pool: StoragePool, origin: str | None) -> None:
        """Count the backing volume in its pool."""
        content = rd.content_key(number)
        backing = self.backing_kib(rd, rd.volumes[number], pool)
        provider = pool.provider
        if origin and provider.shares_blocks and pool.space.holds(origin):
            pool.space.measure(origin, self.cluster.devices.allocated_kib(origin))
            pool.space.put_copy(
                content, origin, backing, dependent=provider.dependent, measured=provider.thin
            )
        elif provider.thin:
            allocated = self.cluster.devices.allocated_kib(content)
            pool.space.put(content, allocated, backing, measured=True)
        else:
            pool.space.put(content, backing, backing, measured=False)
        self.cluster.pools.note(pool)

    def recharge(self, rd: ResourceDefinition, number: int, pool: StoragePool) -> None:
        """Count again a backing volume whose content or size has changed."""
        content = rd.content_key(number)
        backing = self.backing_kib(rd, rd.volumes[number], pool)
        pool.space.grow(content, backing, backing)
        pool.space.measure(content, self.cluster.devices.allocated_kib(content))
        self.cluster.pools.note(pool)

    def usable_kib(
        self, rd: ResourceDefinition, definition: VolumeDefinition, pools: list[StoragePool]
    ) -> int:
        """Size that the device will have."""
        extents = [pool.provider.extent_kib for pool in pools]
        if "GROSS_SIZE" in definition.flags:
            gross = min(sizes.round_up(definition.size_kib, extent) for extent in extents)
            return (gross - sizes.overhead(gross, rd.layers, rd.peer_slots)) // 4 * 4
        exact = props.is_true(self.cluster.inherited(rd, EXACT_SIZE))
        return sizes.usable(definition.size_kib, rd.layers, rd.peer_slots, extents, exact=exact)

    def replica_kib(self, rd: ResourceDefinition, definition: VolumeDefinition, volume: Volume) -> int:
        """Size of the backing volume of one replica, which a resize may not have reached."""
        if volume.usable_kib is None:
            return self.backing_kib(rd, definition, volume.pool)
        return sizes.backing(volume.usable_kib, rd.layers, rd.peer_slots, volume.pool.provider.extent_kib)

    def backing_kib(self, rd: ResourceDefinition, definition: VolumeDefinition, pool: StoragePool) -> int:
        usable = definition.usable_kib or self.usable_kib(rd, definition, [pool])
        return sizes.backing(usable, rd.layers, rd.peer_slots, pool.provider.extent_kib)
