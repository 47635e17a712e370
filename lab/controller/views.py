# SPDX-License-Identifier: Apache-2.0
"""Records as JSON objects. Empty strings, maps and lists are left out; 0 and false stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes
from lab.controller.codes import Entry
from lab.controller.layers import Layers
from lab.controller.model import (
    Node,
    Resource,
    ResourceDefinition,
    ResourceGroup,
    Snapshot,
    StoragePool,
    VolumeDefinition,
    VolumeGroup,
)
from lab.controller.names import key
from lab.controller.providers import DISKLESS, PROVIDERS

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

# fields of a select filter that GET leaves out, REST guide 2.4
_HIDDEN_FILTER_FIELDS = ("storage_pool_diskless_list", "node_name_list")


def prune(body: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the API leaves out."""
    return {name: value for name, value in body.items() if value is not None and value not in ("", [], {})}


class Views:
    """What lists and single GETs show."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.layers = Layers(cluster)

    def node(self, node: Node) -> dict[str, Any]:
        return prune(
            {
                "name": node.name,
                "type": "SATELLITE",
                "flags": sorted(node.flags),
                "props": dict(node.props),
                "net_interfaces": [
                    {
                        "name": "default",
                        "address": node.address,
                        "satellite_port": 3366,
                        "satellite_encryption_type": "PLAIN",
                        "is_active": True,
                        "uuid": node.interface_uuid,
                    }
                ],
                "connection_status": node.status,
                "uuid": node.uuid,
                "storage_providers": sorted({DISKLESS} | {one.kind for one in node.storage_pools}),
                "resource_layers": ["DRBD", "LUKS", "STORAGE"],
                "eviction_timestamp": node.eviction_timestamp,
            }
        )

    def pool(self, node: Node, pool: StoragePool) -> dict[str, Any]:
        provider = pool.provider
        body: dict[str, Any] = {
            "storage_pool_name": pool.name,
            "node_name": node.name,
            "provider_kind": pool.kind,
            "props": dict(pool.props),
            "static_traits": {"SupportsSnapshots": str(self._snapshots(pool)).lower()},
            "free_space_mgr_name": pool.shared or f"{node.name};{pool.name}",
            "uuid": pool.uuid,
            "supports_snapshots": self._snapshots(pool),
            "external_locking": False,
        }
        if pool.kind != DISKLESS:
            body["static_traits"]["Provisioning"] = "Thin" if provider.thin else "Fat"
        if not node.online:
            body["reports"] = [
                Entry(
                    codes.WARNING, codes.W_NOT_CONNECTED, f"Satellite '{node.name}' is not connected."
                ).to_json()
            ]
        elif pool.broken:
            body["reports"] = [Entry(codes.ERROR, codes.UNKNOWN_ERROR, pool.broken).to_json()]
            body["free_capacity"] = body["total_capacity"] = 0
        else:
            body["free_capacity"] = pool.total_kib if pool.kind == DISKLESS else pool.cached_free_kib
            body["total_capacity"] = pool.total_kib
        return prune(body)

    def _snapshots(self, pool: StoragePool) -> bool:
        provider = PROVIDERS[pool.kind]
        return provider.snapshots and self.cluster.rest_version >= provider.snapshots_since

    def group(self, rg: ResourceGroup) -> dict[str, Any]:
        shown = {name: value for name, value in rg.select_filter.items() if name not in _HIDDEN_FILTER_FIELDS}
        return prune(
            {
                "name": rg.name,
                "description": rg.description,
                "props": dict(rg.props),
                "select_filter": prune({"place_count": 2, **shown}),
                "uuid": rg.uuid,
                "peer_slots": rg.peer_slots,
            }
        )

    def volume_group(self, one: VolumeGroup) -> dict[str, Any]:
        return prune(
            {
                "volume_number": one.number,
                "props": dict(one.props),
                "flags": list(one.flags),
                "uuid": one.uuid,
            }
        )

    def definition(self, rd: ResourceDefinition, volumes: bool) -> dict[str, Any]:
        if "CLONING" in rd.flags and rd.clone is not None:
            rd.clone.look()
            self.cluster.clones.settle(rd)
        body: dict[str, Any] = {
            "name": rd.name,
            "external_name": rd.external_name,
            "props": dict(rd.props),
            "flags": sorted(rd.flags),
            "layer_data": self.layers.definition(rd),
            "uuid": rd.uuid,
            "resource_group_name": rd.group,
        }
        if volumes:
            body["volume_definitions"] = [
                self.volume_definition(rd, one) for _, one in sorted(rd.volumes.items())
            ]
        return prune(body)

    def volume_definition(self, rd: ResourceDefinition, one: VolumeDefinition) -> dict[str, Any]:
        return prune(
            {
                "volume_number": one.number,
                "size_kib": one.size_kib,
                "props": dict(one.props),
                "flags": sorted(one.flags),
                "layer_data": self.layers.volume_definition(rd, one),
                "uuid": one.uuid,
            }
        )

    def resource(self, rd: ResourceDefinition, resource: Resource, *, look: bool = True) -> dict[str, Any]:
        """As below a definition: without ``volumes``."""
        if look:
            self._look(rd, resource)
        in_use = self.cluster.attachment.in_use(rd, resource)
        online = self.cluster.nodes[key(resource.node)].online
        state = {} if in_use is None else {"in_use": in_use}
        return prune(
            {
                "name": rd.name,
                "node_name": resource.node,
                "props": dict(resource.props),
                "flags": sorted(resource.flags),
                "layer_object": self.layers.resource(rd, resource, online),
                "state": state,
                "uuid": resource.uuid,
                "create_timestamp": resource.created_ms,
            }
        )

    def resource_with_volumes(self, rd: ResourceDefinition, resource: Resource) -> dict[str, Any]:
        shown = self.resource(rd, resource)
        shown["volumes"] = [self.volume(rd, resource, number) for number in sorted(resource.volumes)]
        return shown

    def _look(self, rd: ResourceDefinition, resource: Resource) -> None:
        self.cluster.clones.settle(rd)
        for volume in resource.volumes.values():
            if volume.sync is not None:
                volume.sync.look()

    def volume(self, rd: ResourceDefinition, resource: Resource, number: int) -> dict[str, Any]:
        volume = resource.volumes[number]
        online = self.cluster.nodes[key(resource.node)].online
        reports = []
        if resource.failure:
            reports.append(Entry(codes.ERROR, codes.UNKNOWN_ERROR, resource.failure).to_json())
        state: dict[str, Any] = {}
        if online and resource.deployed:
            state = prune(
                {
                    "disk_state": self.layers.disk_state(rd, resource, number),
                    "replication_states": self.layers.replication(rd, resource, number),
                }
            )
        elif online and resource.failure:
            state = {"disk_state": "Failed"}
        return prune(
            {
                "volume_number": number,
                "storage_pool_name": volume.pool.name,
                "provider_kind": volume.pool.kind,
                "device_path": self.layers.device_path(rd, resource, number),
                "allocated_size_kib": self.layers.allocated_kib(rd, resource, number),
                "props": dict(volume.props),
                "state": state,
                "layer_data_list": self.layers.volume(rd, resource, number),
                "uuid": volume.uuid,
                "reports": reports,
            }
        )

    def snapshot(self, rd: ResourceDefinition, one: Snapshot) -> dict[str, Any]:
        body: dict[str, Any] = {
            "name": one.name,
            "resource_name": rd.name,
            "nodes": [node for node, _, _ in one.nodes.values()],
            "props": {**one.definition_props, **one.props},
            "flags": sorted(one.flags),
            "uuid": one.uuid,
            "volume_definitions": [
                {"volume_number": volume.number, "size_kib": volume.size_kib}
                for _, volume in sorted(one.volumes.items())
            ],
            "snapshots": [
                prune(
                    {
                        "snapshot_name": one.name,
                        "node_name": node,
                        "create_timestamp": created if one.successful else None,
                        "flags": sorted(one.flags),
                        "uuid": one.node_uuids[name],
                        "snapshot_volumes": [
                            {"uuid": one.node_uuids[name], "vlm_nr": number} for number in sorted(one.volumes)
                        ],
                    }
                )
                for name, (node, _, created) in one.nodes.items()
            ],
        }
        if self.cluster.at_least("1.24"):
            body["snapshot_definition_props"] = dict(one.props)
            body["resource_definition_props"] = dict(one.definition_props)
        return prune(body)
