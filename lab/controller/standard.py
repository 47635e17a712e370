# SPDX-License-Identifier: Apache-2.0
"""The standard cluster of the lab, and a large one."""

from __future__ import annotations

from typing import Any

from lab.controller.cluster import Cluster
from lab.controller.model import Resource, ResourceDefinition, Volume, VolumeDefinition
from lab.controller.names import key
from lab.devices_protocol import Devices

GIB = 1 << 20
POOL = "thin"
NODES = ("alice", "bob", "charlie")
DISKLESS_NODE = "dave"


def standard_cluster(
    devices: Devices,
    rest_version: str = "1.28.0",
    *,
    provider: str = "LVM_THIN",
    pool_gib: int = 100,
    **options: Any,
) -> Cluster:
    """Three nodes with pool ``thin``, a diskless one, groups ``one`` (2 replicas) and ``one-three``."""
    cluster = Cluster(devices, rest_version, **options)
    for name in NODES:
        cluster.add_node(name, pools=[(POOL, provider, pool_gib * GIB)])
    cluster.add_node(DISKLESS_NODE)
    for group, count in (("one", 2), ("one-three", 3)):
        cluster.groups.create(
            {"name": group, "select_filter": {"place_count": count, "storage_pool_list": [POOL]}}
        )
        cluster.groups.create_volume_group(group, {})
    return cluster


def populate(
    cluster: Cluster, count: int, *, prefix: str = "bulk", size_kib: int = 64 * 1024, group: str = "one"
) -> None:
    """Add many deployed definitions with two replicas each, without the work of real calls.

    Their contents exist for the devices as well, so everything works on them.
    """
    with cluster.lock:
        nodes = [cluster.node(name) for name in NODES]
        for number in range(count):
            rd = ResourceDefinition(
                f"{prefix}-{number}", group, ["DRBD", "STORAGE"], props={"Aux/one/ds_id": str(number % 7)}
            )
            rd.volumes[0] = VolumeDefinition(0, size_kib, cluster.numbers.minors.take())
            cluster.definitions.register(rd)
            chosen = [nodes[number % 3], nodes[(number + 1) % 3]]
            pools = [node.pools[key(POOL)] for node in chosen]
            rd.volumes[0].usable_kib = cluster.deployment.usable_kib(rd, rd.volumes[0], pools)
            cluster.devices.create(rd.content_key(0), rd.volumes[0].usable_kib)
            rd.contents.add(0)
            for node_id, (node, pool) in enumerate(zip(chosen, pools)):
                resource = Resource(
                    rd.name,
                    node.name,
                    node_id,
                    props={"StorPoolName": pool.name},
                    volumes={0: Volume(pool, made=True)},
                    deployed=True,
                    created_ms=cluster.now_ms(),
                    pool=pool.name,
                )
                rd.resources[key(node.name)] = resource
                cluster.members[key(node.name)].add(key(rd.name))
                node.resource_count += 1
                backing = cluster.deployment.backing_kib(rd, rd.volumes[0], pool)
                pool.space.put(rd.content_key(0), 0, backing, measured=True)
                cluster.attachment.expose(rd, resource)
        for node in nodes:
            for pool in node.storage_pools:
                cluster.pools.note(pool)
