# SPDX-License-Identifier: Apache-2.0
"""The layer part of resources and volumes: DRBD states, device paths, sizes (KiB)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller.model import Resource, ResourceDefinition, VolumeDefinition
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Layers:
    """Views of what stands between a device and its storage."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def definition(self, rd: ResourceDefinition) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = []
        for layer in rd.layers:
            one: dict[str, Any] = {"type": layer}
            if layer == "DRBD":
                one["data"] = self._drbd_definition(rd)
            shown.append(one)
        return shown

    def _drbd_definition(self, rd: ResourceDefinition) -> dict[str, Any]:
        body: dict[str, Any] = {
            "peer_slots": rd.peer_slots,
            "al_stripes": 1,
            "al_stripe_size_kib": 32,
            "transport_type": "IP",
            "secret": rd.secret,
            "down": False,
        }
        if not self.cluster.at_least("1.26"):
            # later versions keep the port with each resource
            body["port"] = rd.port
        return body

    def volume_definition(self, rd: ResourceDefinition, one: VolumeDefinition) -> list[dict[str, Any]]:
        return [
            {"type": layer, "data": {"volume_number": one.number, "minor_number": one.minor}}
            if layer == "DRBD"
            else {"type": layer}
            for layer in rd.layers
        ]

    def device_path(self, rd: ResourceDefinition, resource: Resource, number: int) -> str:
        """Empty while the volume is not deployed."""
        if not resource.deployed or number not in resource.exposed:
            return ""
        return self.cluster.attachment.paths(rd, resource, number)[0]

    def disk_state(self, rd: ResourceDefinition, resource: Resource, number: int) -> str:
        """DRBD's word, or ``Created`` for stacks without DRBD."""
        if not rd.drbd:
            return "Created"
        if resource.diskless:
            return "Diskless"
        volume = resource.volumes[number]
        return "UpToDate" if volume.up_to_date else "Outdated" if volume.outdated else "Inconsistent"

    def replication(self, rd: ResourceDefinition, resource: Resource, number: int) -> dict[str, Any]:
        """State towards each connected peer; a SyncTarget shows how far it is."""
        if not rd.drbd or not self.cluster.at_least("1.25"):
            return {}
        volume = resource.volumes[number]
        shown: dict[str, Any] = {}
        for peer in self.cluster.connectivity.peers(rd, resource):
            other = peer.volumes.get(number)
            progress, state = None, "Established"
            if other is not None and not peer.diskless and not resource.diskless:
                if other.up_to_date and not volume.up_to_date:
                    progress, state = volume.sync, "SyncTarget"
                elif volume.up_to_date and not other.up_to_date:
                    progress, state = other.sync, "SyncSource"
            shown[peer.node] = {"replication_state": state}
            if progress:
                shown[peer.node]["done_percentage"] = progress.percent
        return shown

    def allocated_kib(self, rd: ResourceDefinition, resource: Resource, number: int) -> int:
        """Thin: blocks in use, 0 when unknown. Thick: the size."""
        volume = resource.volumes[number]
        online = self.cluster.nodes[key(resource.node)].online
        if resource.diskless or not volume.made:
            return 0
        if not volume.pool.provider.thin:
            return self.cluster.deployment.replica_kib(rd, rd.volumes[number], volume)
        return self.cluster.devices.allocated_kib(rd.content_key(number)) if online else 0

    def volume(self, rd: ResourceDefinition, resource: Resource, number: int) -> list[dict[str, Any]]:
        shown = []
        for layer in rd.layers:
            if layer == "DRBD":
                shown.append({"type": layer, "data": self._drbd_volume(rd, resource, number)})
            elif not resource.diskless:
                shown.append({"type": layer, "data": self._backing_volume(rd, resource, number, layer)})
        return shown

    def _drbd_volume(self, rd: ResourceDefinition, resource: Resource, number: int) -> dict[str, Any]:
        definition = rd.volumes[number]
        own = resource.volumes[number].usable_kib
        body: dict[str, Any] = {
            "drbd_volume_definition": {"volume_number": number, "minor_number": definition.minor},
            "allocated_size_kib": self.allocated_kib(rd, resource, number),
            # that of the storage below, even where DRBD itself has not been resized
            "usable_size_kib": own if own is not None else definition.usable_kib,
        }
        path = self.device_path(rd, resource, number)
        if path:
            body["device_path"] = path
        if path and not resource.diskless:
            body["backing_device"] = self._backing_path(rd, resource, number)
            body["meta_disk"] = "internal"
        if resource.deployed and self.cluster.nodes[key(resource.node)].online:
            body["disk_state"] = self.disk_state(rd, resource, number)
        return body

    def _backing_path(self, rd: ResourceDefinition, resource: Resource, number: int) -> str:
        pool = resource.volumes[number].pool
        return pool.provider.device_path(pool.backing, rd.name, number, rd.volumes[number].minor)

    def _backing_volume(
        self, rd: ResourceDefinition, resource: Resource, number: int, layer: str
    ) -> dict[str, Any]:
        volume = resource.volumes[number]
        backing = self.cluster.deployment.replica_kib(rd, rd.volumes[number], volume)
        body: dict[str, Any] = {
            "volume_number": number,
            "allocated_size_kib": self.allocated_kib(rd, resource, number),
            "usable_size_kib": backing,
        }
        if volume.made:
            path = self._backing_path(rd, resource, number)
            body["device_path"] = (
                f"/dev/mapper/Linstor-Crypt-{rd.name}_{number:05d}" if layer == "LUKS" else path
            )
            if layer == "LUKS":
                body.update(backing_device=path, opened=True)
            else:
                body["disk_state"] = "[]"
        return body

    def resource(self, rd: ResourceDefinition, resource: Resource, online: bool) -> dict[str, Any]:
        """Nested: the topmost layer first."""
        shown: dict[str, Any] = {}
        for layer in reversed(rd.layers):
            body: dict[str, Any] = {"type": layer}
            if shown:
                body["children"] = [shown]
            if layer == "DRBD":
                body["drbd"] = self._drbd_resource(rd, resource, online)
            else:
                kind = layer.lower()
                body[kind] = {
                    f"{kind}_volumes": [
                        self._backing_volume(rd, resource, number, layer)
                        for number in sorted(resource.volumes)
                        if not resource.diskless
                    ]
                }
            shown = body
        return shown

    def _drbd_resource(self, rd: ResourceDefinition, resource: Resource, online: bool) -> dict[str, Any]:
        body: dict[str, Any] = {
            "drbd_resource_definition": self._drbd_definition(rd),
            "node_id": resource.node_id,
            "peer_slots": rd.peer_slots,
            "al_stripes": 1,
            "al_size": 32,
            "drbd_volumes": [self._drbd_volume(rd, resource, number) for number in sorted(resource.volumes)],
        }
        flags = [] if resource.diskless else ["INITIALIZED"]
        if resource.client and resource.diskless:
            flags.append("CLIENT")
        elif resource.diskless:
            flags.append("DISKLESS")
        body["flags"] = flags
        if self.cluster.at_least("1.26"):
            body["tcp_ports"] = [rd.port]
        if online and resource.deployed:
            body["connections"] = self._connections(rd, resource)
            body["promotion_score"] = self.cluster.quorum.promotion_score(rd, resource)
            body["may_promote"] = self.cluster.quorum.may_promote(rd, resource)
        return body

    def _connections(self, rd: ResourceDefinition, resource: Resource) -> dict[str, Any]:
        connected = self.cluster.connectivity.peers(rd, resource)
        return {
            one.node: {
                "connected": one in connected,
                "message": "Connected" if one in connected else "Connecting",
            }
            for one in self.cluster.connectivity.configured(rd, resource)
        }
