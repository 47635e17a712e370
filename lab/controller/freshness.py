# SPDX-License-Identifier: Apache-2.0
"""Which replicas have the current data: those that miss writes become Outdated and are filled again later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller.model import Resource, ResourceDefinition, Volume
from lab.controller.names import key
from lab.controller.progress import Progress
from lab.controller.quorum import READ_WRITE

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Freshness:
    """Follows connections and Primaries. A Primary with quorum is taken to write all the time."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def update(self, rd: ResourceDefinition) -> None:
        if self.settled(rd):
            return
        copies = [one for one in rd.resources.values() if not one.diskless and one.configured]
        for number in rd.volumes:
            made = [one for one in copies if number in one.volumes and one.volumes[number].made]
            self._outdate_those_without(rd, number, made)
            for one in made:
                self._fill(rd, one, number)

    def _outdate_those_without(self, rd: ResourceDefinition, number: int, copies: list[Resource]) -> None:
        """Replicas that are not connected to a working Primary miss what it writes."""
        writing = [
            rd.resources[name]
            for name in self.cluster.attachment.primaries(rd)
            if self.cluster.quorum.access(rd, rd.resources[name], number) == READ_WRITE
        ]
        missing = [
            one
            for one in copies
            for primary in writing
            if one not in self.cluster.connectivity.reachable(rd, primary)
        ]
        for one in missing:
            self.mark(one.volumes[number])

    def mark(self, volume: Volume) -> None:
        volume.outdated, volume.sync = True, None

    def _fill(self, rd: ResourceDefinition, resource: Resource, number: int) -> None:
        """Start, or stop, the resync of a replica that is not UpToDate."""
        volume = resource.volumes[number]
        if volume.up_to_date:
            return
        source = any(
            not peer.diskless and number in peer.volumes and peer.volumes[number].up_to_date
            for peer in self.cluster.connectivity.peers(rd, resource)
        )
        if not source:
            if volume.sync:
                volume.sync.stop()
        elif volume.outdated or volume.sync is None or volume.sync.stuck:
            volume.outdated = volume.never_filled = False
            volume.sync = Progress(self.cluster.clock, self.cluster.sync_seconds)

    def settled(self, rd: ResourceDefinition) -> bool:
        """Whether nothing can have changed by itself: all hosts connected, all disks UpToDate."""
        if not rd.drbd:
            return True
        return not self.cluster.connectivity.disturbed and all(
            volume.up_to_date for one in rd.resources.values() for volume in one.volumes.values()
        )

    def outdate(self, rd: ResourceDefinition, node: str) -> None:
        """Lever: the replica of a node missed writes."""
        for volume in rd.resources[key(node)].volumes.values():
            self.mark(volume)
