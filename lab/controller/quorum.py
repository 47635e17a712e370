# SPDX-License-Identifier: Apache-2.0
"""DRBD's quorum, access to data, and readiness to be promoted.

Disks vote. When exactly half of them are there, the diskless resources that are no clients break the tie; a
diskless resource has quorum when a disk that it is connected to has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller.model import Resource, ResourceDefinition
from lab.controller.names import key
from lab.controller.tiebreaker import QUORUM

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

READ_WRITE, READ_ONLY, NONE = "rw", "ro", "none"


class Quorum:
    """What a node may do with a DRBD resource, from what it is connected to."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def has(self, rd: ResourceDefinition, resource: Resource) -> bool:
        wanted = self.cluster.inherited(rd, QUORUM) or "off"
        if wanted == "off":
            return True
        peers = self.cluster.connectivity.peers(rd, resource)
        if resource.diskless:
            return any(self._counts(rd, wanted, one) for one in peers if not one.diskless)
        return self._counts(rd, wanted, resource)

    def _counts(self, rd: ResourceDefinition, wanted: str, disk: Resource) -> bool:
        members = [one for one in rd.resources.values() if one.configured or one is disk]
        present = [disk, *self.cluster.connectivity.peers(rd, disk)]
        voters = sum(not one.diskless for one in members)
        votes = sum(not one.diskless for one in present)
        if wanted not in ("majority", "auto"):
            return votes >= (voters if wanted == "all" else int(wanted))
        helpers, help_here = sum(one.helping for one in members), sum(one.helping for one in present)
        return votes * 2 > voters or (votes * 2 == voters and help_here * 2 > helpers)

    def sees_data(self, rd: ResourceDefinition, resource: Resource, number: int) -> bool:
        """An UpToDate disk of its own or of a peer."""
        near = [resource, *self.cluster.connectivity.peers(rd, resource)]
        return any(
            not one.diskless and number in one.volumes and self._good(one, number)
            for one in near
            if one.deployed
        )

    @staticmethod
    def _good(resource: Resource, number: int) -> bool:
        volume = resource.volumes[number]
        return volume.made and volume.up_to_date

    def access(self, rd: ResourceDefinition, resource: Resource, number: int) -> str:
        """A node that still believes in a Primary that has died can not be promoted either."""
        if not self.sees_data(rd, resource, number):
            return NONE
        if not self.has(rd, resource) or self._waits(rd, resource):
            return READ_ONLY
        return READ_WRITE

    def _waits(self, rd: ResourceDefinition, resource: Resource) -> bool:
        if not rd.died_primary:
            return False
        near = {key(one.node) for one in self.cluster.connectivity.reachable(rd, resource)}
        return bool(rd.died_primary & near) and key(resource.node) not in self.cluster.attachment.primaries(
            rd
        )

    def may_promote(self, rd: ResourceDefinition, resource: Resource) -> bool:
        """Whether the node could become Primary now: never one that is, it has no window with itself."""
        primaries = self.cluster.attachment.primaries(rd)
        near = {key(one.node) for one in self.cluster.connectivity.reachable(rd, resource)}
        if not all(
            self.cluster.windows.open_between(rd, key(resource.node), one) for one in primaries & near
        ):
            return False
        return bool(rd.volumes) and all(
            self.access(rd, resource, number) == READ_WRITE for number in rd.volumes
        )

    def promotion_score(self, rd: ResourceDefinition, resource: Resource) -> int:
        """Higher for a better place: a disk of its own, then connections. 0 without any data."""
        if not all(self.sees_data(rd, resource, number) for number in rd.volumes):
            return 0
        own = not resource.diskless and all(one.up_to_date for one in resource.volumes.values())
        return (10100 if own else 0) + len(self.cluster.connectivity.peers(rd, resource))
