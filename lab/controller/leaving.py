# SPDX-License-Identifier: Apache-2.0
"""Nodes that leave: evicted because they are away for too long, or evacuated by the administrator."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from lab.controller.codes import ApiError, Reply
from lab.controller.model import Node, Resource, ResourceDefinition
from lab.controller.names import key
from lab.controller.placement import Filter

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Leaving:
    """Replicas of a node that leaves are made elsewhere if possible."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def evict(self, name: str) -> None:
        """Raises ValueError for an online node. Its DRBD resources become INACTIVE, others stay as they are."""
        node = self.cluster.node(name)
        if node.online:
            raise ValueError(f"{name} is online, it cannot be evicted")
        node.flags |= {"EVICTED", "DELETE"}
        self.cluster.events.node("node-evicted", node)
        for rd, resource in self._members(node):
            if not rd.drbd or resource.deleting:
                continue
            resource.flags |= {"EVICTED", "INACTIVE"}
            if not resource.diskless:
                # with nowhere to go, the replicas that are left must do
                with contextlib.suppress(ApiError):
                    self.cluster.resources.place_missing(rd, {}, Reply())
            self.cluster.tie_breaker.update(rd, Reply())
            self.cluster.deployment.apply(rd, Reply())

    def evacuate(self, name: str) -> None:
        """Resources go when their replacement is UpToDate and nobody uses them; those without DRBD stay."""
        node = self.cluster.node(name)
        node.flags.add("EVACUATE")
        self.cluster.events.node("node-evacuate", node)
        for rd, resource in self._members(node):
            resource.flags.add("EVACUATE")
            if rd.drbd:
                # in use, or the last disk of others: it stays
                with contextlib.suppress(ApiError):
                    self._evacuate(rd, resource)

    def _members(self, node: Node) -> list[tuple[ResourceDefinition, Resource]]:
        found = [self.cluster.rds[name] for name in sorted(self.cluster.members[key(node.name)])]
        return [(rd, rd.resources[key(node.name)]) for rd in found]

    def _evacuate(self, rd: ResourceDefinition, resource: Resource) -> None:
        wanted = Filter.of(self.cluster.group_of(rd).select_filter)
        fresh = [one for one in rd.diskful if all(volume.up_to_date for volume in one.volumes.values())]
        staying = [one for one in fresh if "EVACUATE" not in one.flags]
        if resource not in fresh or len(staying) >= wanted.place_count:
            self.cluster.deletion.delete_resource(rd.name, resource.node)
            return
        self.cluster.pools.refresh()
        size = sum(one.size_kib for one in rd.volumes.values())
        pools = self.cluster.placement.choose(wanted, 1, size, rd)
        if pools:
            target = self.cluster.resources.place(rd, pools[0], Reply())
            self.cluster.toggle.replace(rd, resource, target)
            self.cluster.deployment.apply(rd, Reply())
