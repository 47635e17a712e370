# SPDX-License-Identifier: Apache-2.0
"""Rolling back by restore: everything is deleted and made again from the snapshot. A safety snapshot of the
present state is there meanwhile, but not in all cases of need.

What LINSTOR 1.34 does when something goes wrong on the way:

* the safety snapshot fails on a satellite: it goes on, without safety;
* the deletion fails on a satellite: what is left is kept, diskless resources that are gone already stay away;
* the restore fails on a satellite: it goes on; that node gets a new volume later, to be filled by its peers;
* the restore is refused by the controller: all is restored from the safety snapshot, without the diskless
  resources; when that fails too, no resource is left;
* in any of these cases the safety snapshot is deleted in the end, needed or not.

Before 1.31.3 volume definitions keep the sizes of now, and a refused restore, as of a volume that has grown since,
counts as done: the data is gone; 1.31.2 makes new, empty volumes. Before 1.31.2 every replica must have the snapshot,
resources without a disk are not made again, and nothing is recovered.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from lab.controller import codes, versions
from lab.controller.codes import ApiError, Reply
from lab.controller.model import ResourceDefinition, Snapshot
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

PREFIX = "safety-snap-"
FLAG = "SAFETY_SNAPSHOT"


class Safety:
    """Rollback by restore, and what a restarted controller makes of one that it did not finish."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def roll_back(self, rd: ResourceDefinition, snapshot: Snapshot, reply: Reply) -> None:
        """Fails with 315, 979, 994 before anything has changed; whatever fails later is an entry of the reply.

        ControllerDied leaves what has been reached.
        """
        disks = {one.node: not one.diskless for one in rd.resources.values()}
        self._check_nodes(rd, snapshot, reply)
        self.cluster.snapshots.take_safety(rd, PREFIX + secrets.token_hex(5), FLAG, reply)
        self.cluster.dying.reach("safety-taken")
        if not self.cluster.deletion.empty(rd, reply):
            self._keep_what_is_left(rd, reply)
            self._drop_safety(rd, reply)
            return
        self.cluster.dying.reach("deleted")
        try:
            self._restore(rd, snapshot, reply)
        except ApiError:
            if self._since("1.31.3"):
                self._back(rd, reply)
                self._drop_safety(rd, reply)
                return
        self.cluster.dying.reach("restored")
        self._drop_safety(rd, reply)
        self.cluster.dying.reach("safety-deleted")
        if self._since("1.31.2"):
            self._make_again(rd, disks, reply)

    def _since(self, release: str) -> bool:
        return self.cluster.linstor_version >= versions.parse(release)

    def _check_nodes(self, rd: ResourceDefinition, snapshot: Snapshot, reply: Reply) -> None:
        for resource in rd.diskful:
            if key(resource.node) not in snapshot.nodes and not self._since("1.31.2"):
                raise reply.fail(
                    codes.NOT_FOUND_SNAPSHOT,
                    f"Node '{resource.node}' has no copy of snapshot '{snapshot.name}'.",
                    refs={"Node": resource.node},
                )

    def recover(self, rd: ResourceDefinition) -> None:
        """All satellites of the resource have connected: go back to the safety snapshot if there is one.

        Nobody notices a definition whose resources are all deleted.
        """
        nodes = [self.cluster.nodes[name] for name in rd.resources]
        if not nodes or not all(node.online for node in nodes) or self._of(rd) is None:
            return
        if not self._since("1.31.2"):
            return
        disks = {one.node: not one.diskless for one in rd.resources.values()}
        reply = Reply()
        if not self.cluster.attachment.users(rd):
            self._back(rd, reply)
        self._drop_safety(rd, reply)
        self._make_again(rd, disks, reply)

    def _of(self, rd: ResourceDefinition) -> Snapshot | None:
        return next((one for one in rd.snapshots.values() if FLAG in one.flags and not one.deleting), None)

    def _keep_what_is_left(self, rd: ResourceDefinition, reply: Reply) -> None:
        """Nothing is restored: LINSTOR tries, but a restore wants a definition without resources."""
        for resource in rd.diskful_or_deleting:
            self.cluster.deletion.unmark(resource)
        self.cluster.deployment.apply(rd, reply)
        for resource in rd.resources.values():
            self.cluster.attachment.expose(rd, resource)
        reply.error(codes.EXISTS_RSC, f"'{rd.name}' has resources, it cannot take a snapshot.")

    def _restore(self, rd: ResourceDefinition, snapshot: Snapshot, reply: Reply) -> None:
        """The properties that the definition had are set again; those that came later stay."""
        if self._since("1.31.3"):
            self.cluster.rollback.reset_volumes(rd, snapshot)
        self.cluster.restore.check_volumes(snapshot, rd, reply)
        pools = self.cluster.restore.pools(snapshot, [], {}, reply)
        self.cluster.restore.resources(rd, snapshot, rd, pools, reply)
        if self._loses(snapshot):
            self._blank(rd)

    def _loses(self, snapshot: Snapshot) -> bool:
        """1.32.0 to 1.32.2 do not find the ZFS snapshot, and make new volumes instead."""
        if not self._since("1.32.0") or self._since("1.32.3"):
            return False
        pools = [self.cluster.pool_of(node, pool) for node, pool, _ in snapshot.nodes.values()]
        return any(pool is not None and pool.provider.dependent for pool in pools)

    def _blank(self, rd: ResourceDefinition) -> None:
        """Volumes of zeros, with new DRBD metadata: none of them counts as UpToDate."""
        for resource in rd.resources.values():
            self.cluster.attachment.hide(rd, resource)
        for number in rd.contents:
            self.cluster.devices.delete(rd.content_key(number))
            self.cluster.devices.create(rd.content_key(number), rd.volumes[number].usable_kib)
        for resource in rd.diskful:
            for number, volume in resource.volumes.items():
                volume.pool.space.drop(rd.content_key(number))
                self.cluster.deployment.charge(rd, number, volume.pool, None)
                volume.never_filled = rd.drbd
        for resource in rd.resources.values():
            self.cluster.attachment.expose(rd, resource)
        self.cluster.attachment.refresh(rd)

    def _back(self, rd: ResourceDefinition, reply: Reply) -> None:
        """To the state of the safety snapshot. When that is none, or its restore is refused, all is gone."""
        safety = self._of(rd)
        if safety is None or not self.cluster.deletion.empty(rd, reply):
            return
        if not safety.successful:
            reply.error(codes.UNKNOWN_ERROR, f"Snapshot '{safety.name}' failed, it cannot be restored.")
            return
        try:
            self._restore(rd, safety, reply)
        except ApiError:
            # the reply has it
            return

    def _drop_safety(self, rd: ResourceDefinition, reply: Reply) -> None:
        safety = self._of(rd)
        if safety is not None:
            reply.entries += self.cluster.snapshots.delete(rd.name, safety.name, []).entries

    def _make_again(self, rd: ResourceDefinition, disks: dict[str, bool], reply: Reply) -> None:
        """As make-available would, one node after the other; a failure does not keep the next from its turn."""
        for node in sorted(disks, key=key):
            try:
                made = self.cluster.availability.make(rd.name, node, {"diskful": disks[node]})
            except ApiError as error:
                made = error.reply
            reply.entries += made.entries
