# SPDX-License-Identifier: Apache-2.0
"""DRBD's connections between hosts: they fail with a host or with the network, whatever the controller sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lab.controller.model import Resource, ResourceDefinition
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Connectivity:
    """Which resources of a definition are connected. Node names are keys."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._side: dict[str, int] = {}
        self._lost: dict[str, float] = {}

    def partition(self, groups: Iterable[Iterable[str]]) -> None:
        """Cut the links between the groups; hosts that no group names form one of their own.

        Raises ValueError for a host in two groups, and 300.
        """
        sides: dict[str, int] = {}
        for number, group in enumerate(groups, start=1):
            for name in group:
                node = key(self.cluster.node(name).name)
                if node in sides:
                    raise ValueError(f"{name} is in two groups")
                sides[node] = number
        self._side = sides

    def heal(self) -> None:
        self._side = {}

    def power(self, node: str, running: bool) -> None:
        """A host goes down or comes up; its peers notice the loss ``peer_loss_lag`` seconds later."""
        if self.cluster.nodes[node].running and not running:
            self._lost[node] = self.cluster.clock()
        elif running:
            self._lost.pop(node, None)
        self.cluster.nodes[node].running = running

    @property
    def disturbed(self) -> bool:
        """Whether any host is down or cut off."""
        return bool(self._side or self._lost)

    def linked(self, left: str, right: str) -> bool:
        return (
            self._seems_alive(left)
            and self._seems_alive(right)
            and self._side.get(left, 0) == self._side.get(right, 0)
        )

    def _seems_alive(self, node: str) -> bool:
        lost = self._lost.get(node)
        return lost is None or self.cluster.clock() - lost < self.cluster.peer_loss_lag

    def configured(self, rd: ResourceDefinition, resource: Resource) -> list[Resource]:
        """Resources that this one has a connection to, up or not. Two diskless ones have none."""
        return [
            one
            for one in rd.resources.values()
            if one is not resource and one.configured and not (one.diskless and resource.diskless)
        ]

    def peers(self, rd: ResourceDefinition, resource: Resource) -> list[Resource]:
        """Resources that this one is connected to."""
        if not (resource.configured and resource.deployed):
            return []
        here = key(resource.node)
        return [
            one for one in self.configured(rd, resource) if one.deployed and self.linked(here, key(one.node))
        ]

    def reachable(self, rd: ResourceDefinition, resource: Resource) -> list[Resource]:
        """The resource and all that it is connected to, also by way of others."""
        found = [resource]
        for one in found:
            found += [peer for peer in self.peers(rd, one) if peer not in found]
        return found
