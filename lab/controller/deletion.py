# SPDX-License-Identifier: Apache-2.0
"""Removing resources and resource definitions, at once or when the satellites return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller import codes
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Node, Resource, ResourceDefinition
from lab.controller.names import key
from lab.controller.tiebreaker import AUTO_ADD
from lab.controller.windows import RETRY_SECONDS
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

ZFS_DELETE_STRATEGY = "StorDriver/Zfs/DeleteStrategy"


class Deletion:
    """A deletion first marks (flags DELETE, with DRBD also DRBD_DELETE), then lets online satellites act.

    With DRBD it has two steps: all satellites take the resource out of DRBD, then the node removes its data.
    When the first one fails anywhere, only DRBD_DELETE is left. The controller tries again after a minute.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def delete_resource(self, rd_name: str, node_name: str, keep_tie_breaker: bool = False) -> Reply:
        """Remove a resource from a node. Fails with 997 or 516; a missing one is a warning."""
        reply = Reply(codes.DELETE, codes.RSC, RscDfn=rd_name, Node=node_name)
        rd = self.cluster.rds.get(key(rd_name))
        resource = rd.resources.get(key(node_name)) if rd else None
        if rd is None or resource is None:
            reply.warning(
                codes.W_NOT_FOUND,
                f"There is no resource '{rd_name}' on node '{node_name}'.",
                cause="It may have been deleted before.",
            )
            return reply
        keep_tie_breaker = keep_tie_breaker and self.cluster.at_least("1.23")
        self._check_unused(rd, [resource], reply)
        self._check_last_disk(rd, resource, reply)
        self._check_zfs(rd, resource, reply)
        if self._stays(rd, resource, keep_tie_breaker, reply):
            return reply
        self.mark(rd, resource)
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        reply.success(codes.DELETED, f"Resource '{rd.name}' on node '{resource.node}' is being deleted.")
        if reply.failed:
            self._put_off(rd, resource)
            return reply
        self.finish(rd, reply)
        if key(rd.name) in self.cluster.rds:
            self.cluster.attachment.refresh(rd, reply)
        return reply

    @locked
    def delete_definition(self, name: str) -> Reply:
        """Remove a definition with its resources. Fails with 514 or 997; a missing one is a warning."""
        reply = Reply(codes.DELETE, codes.RSC_DFN, RscDfn=name)
        rd = self.cluster.rds.get(key(name))
        if rd is None:
            reply.warning(codes.W_NOT_FOUND, f"Resource definition '{name}' not found.")
            return reply
        if rd.snapshots:
            raise reply.fail(
                codes.EXISTS_SNAPSHOT,
                f"Resource definition '{rd.name}' cannot be deleted because it has snapshots.",
                correction="Delete the snapshots first.",
            )
        self._check_unused(rd, list(rd.resources.values()), reply)
        rd.flags.add("DELETE")
        reply.success(codes.DELETED, f"Resource definition '{rd.name}' marked for deletion.")
        self.finish(rd, reply)
        return reply

    @locked
    def truncate(self, name: str, delete_empty: bool) -> Reply:
        """REST 1.29: delete all resources of a definition and keep the definition, unless asked otherwise."""
        reply = Reply(codes.DELETE, codes.RSC_DFN, RscDfn=name)
        rd = self.cluster.rds.get(key(name))
        if rd is None:
            reply.warning(codes.W_NOT_FOUND, f"Resource definition '{name}' not found.")
            return reply
        self._check_unused(rd, list(rd.resources.values()), reply)
        if delete_empty and not rd.snapshots:
            rd.flags.add("DELETE")
        reply.success(codes.DELETED, f"All resources of '{rd.name}' marked for deletion.")
        self.empty(rd, reply)
        self._tidy(rd)
        return reply

    def mark(self, rd: ResourceDefinition, resource: Resource) -> None:
        resource.flags |= {"DELETE", "DRBD_DELETE"} if rd.drbd else {"DELETE"}

    def unmark(self, resource: Resource) -> None:
        resource.flags -= {"DELETE", "DRBD_DELETE"}

    def _put_off(self, rd: ResourceDefinition, resource: Resource) -> None:
        if rd.drbd:
            resource.flags.discard("DELETE")
        self.try_later(rd)

    def try_later(self, rd: ResourceDefinition) -> None:
        """Let satellites that failed be asked again after a minute."""
        rd.retry_at = self.cluster.clock() + RETRY_SECONDS

    def retry(self, rd: ResourceDefinition) -> None:
        """Try again what failed, when it is time."""
        if rd.retry_at is None or self.cluster.clock() < rd.retry_at:
            return
        rd.retry_at = None
        reply = Reply()
        waiting = [one for one in rd.resources.values() if one.deleting]
        self.cluster.attachment.refresh(rd, reply)
        for resource in waiting:
            if reply.failed and "DELETE" not in resource.flags:
                self._put_off(rd, resource)
            else:
                self.mark(rd, resource)
        self.finish(rd, reply)
        if key(rd.name) in self.cluster.rds and "DELETE" not in rd.flags:
            self.cluster.deployment.apply(rd, reply)
            self.cluster.resize.retry(rd)

    def finish(self, rd: ResourceDefinition, reply: Reply) -> None:
        """Let the satellites remove what is marked; forget definitions that became empty."""
        if "DELETE" in rd.flags:
            self.empty(rd, reply)
        else:
            for resource in [one for one in rd.resources.values() if "DELETE" in one.flags]:
                if self._remove(rd, resource, reply):
                    self.drop(rd, resource)
        self._tidy(rd)

    def _tidy(self, rd: ResourceDefinition) -> None:
        if not any(not one.diskless for one in rd.resources.values()):
            self.drop_contents(rd)
        if "DELETE" in rd.flags and not rd.resources:
            self._forget(rd)

    def empty(self, rd: ResourceDefinition, reply: Reply) -> bool:
        """Remove all resources: first the diskless ones, then the others. Each step needs every satellite, so
        the records of a step stay, and the next one does not begin, while any node is away or fails.

        Answers whether all are gone; the bytes are, too, then.
        """
        for chosen in (
            [one for one in rd.resources.values() if one.diskless],
            [one for one in rd.resources.values() if not one.diskless],
        ):
            for resource in chosen:
                resource.flags.add("DELETE")
            away = [one for one in rd.resources.values() if not self.cluster.nodes[key(one.node)].online]
            failed = [one for one in chosen if one not in away and not self._remove(rd, one, reply)]
            for resource in away:
                reply.not_connected(resource.node, "The deletion goes on when the satellite is back.")
            if chosen and (away or failed):
                return False
            for resource in chosen:
                self.drop(rd, resource)
        self.drop_contents(rd)
        return True

    def drop_contents(self, rd: ResourceDefinition) -> None:
        """Delete the bytes, unless a device of an unreachable node still shows them."""
        if any(one.exposed for one in rd.resources.values()):
            return
        for number in list(rd.contents):
            self.cluster.devices.delete(rd.content_key(number))
            rd.contents.discard(number)
        rd.writers = None

    def _remove(self, rd: ResourceDefinition, resource: Resource, reply: Reply) -> bool:
        """Let the satellite take away devices and data. False when it is offline or fails."""
        if not self.cluster.nodes[key(resource.node)].online:
            reply.not_connected(resource.node, "The resource is deleted when the satellite is back.")
            return False
        self.cluster.satellites.ask([resource.node])
        message = self.cluster.satellites.take_failure(resource.node, "delete")
        if not message:
            try:
                self.cluster.attachment.hide(rd, resource)
            except DeviceBusy:
                message = f"Shutdown of the DRBD resource '{rd.name}' failed: a process holds the device open"
                if "DELETE" not in rd.flags:
                    self._put_off(rd, resource)
        if message:
            self.try_later(rd)
            report = self.cluster.satellites.report(resource.node, message)
            reply.error(
                codes.UNKNOWN_ERROR,
                f"({resource.node}) {message}",
                error_report_ids=[report],
                refs={"Node": resource.node},
            )
            return False
        for number, volume in resource.volumes.items():
            if volume.made and not resource.diskless:
                volume.pool.space.drop(rd.content_key(number))
                self.cluster.pools.note(volume.pool)
                if volume.pool.provider.dependent:
                    self._rename(rd, resource)
            volume.made = False
        resource.deployed = False
        return True

    def _rename(self, rd: ResourceDefinition, resource: Resource) -> None:
        """ZFS keeps a volume that has snapshots, under another name, and they stay with it."""
        for snapshot in rd.snapshots.values():
            snapshot.renamed = snapshot.renamed or key(resource.node) in snapshot.nodes

    def drop(self, rd: ResourceDefinition, resource: Resource) -> None:
        """Forget a resource whose devices and data are gone."""
        name = key(resource.node)
        del rd.resources[name]
        self.cluster.members[name].discard(key(rd.name))
        self.cluster.nodes[name].resource_count -= 1
        rd.connections = {ends: one for ends, one in rd.connections.items() if name not in ends}
        rd.died_primary.discard(name)
        self.cluster.freshness.update(rd)

    def _forget(self, rd: ResourceDefinition) -> None:
        for definition in rd.volumes.values():
            self.cluster.numbers.minors.give_back(definition.minor)
        self.cluster.numbers.ports.give_back(rd.port)
        self.cluster.external_names.pop(rd.external_name, None)
        self.cluster.attachment.forget(rd)
        self.cluster.clones.forget(rd)
        del self.cluster.rds[key(rd.name)]

    def _check_unused(self, rd: ResourceDefinition, resources: list[Resource], reply: Reply) -> None:
        users = [one.node for one in self.cluster.attachment.users(rd) if one in resources]
        if users:
            raise reply.fail(
                codes.IN_USE,
                f"Resource '{rd.name}' is in use on node '{users[0]}'.",
                cause="A program holds the device open.",
                correction=f"Close the device on node '{users[0]}'.",
            )

    def _check_last_disk(self, rd: ResourceDefinition, resource: Resource, reply: Reply) -> None:
        if resource.diskless or [one for one in rd.diskful if one is not resource]:
            return
        if any(one.diskless and not one.deleting for one in rd.resources.values()):
            raise reply.fail(
                codes.IN_USE,
                f"Resource '{rd.name}' on '{resource.node}' has the last disk, and diskless peers.",
                cause="Without a disk the diskless resources could not work.",
            )

    def _check_zfs(self, rd: ResourceDefinition, resource: Resource, reply: Reply) -> None:
        """LINSTOR asks neither for the provider nor for the nodes of the snapshots."""
        if not resource.diskless:
            self.check_strategy(rd, reply)

    def check_strategy(self, rd: ResourceDefinition, reply: Reply) -> None:
        """Raises 516 when volumes with snapshots are not to be renamed."""
        if (self.cluster.inherited(rd, ZFS_DELETE_STRATEGY) or "").lower() == "delete" and rd.snapshots:
            raise reply.fail(
                codes.EXISTS_SNAPSHOT_ZFS,
                f"'{rd.name}' has snapshots, which strategy 'Delete' does not allow.",
            )

    def _stays(self, rd: ResourceDefinition, resource: Resource, keep: bool, reply: Reply) -> bool:
        """Whether the resource stays as the tie-breaker instead of being deleted: one with a disk loses it."""
        tie_breakers = self.cluster.tie_breaker
        if keep and not tie_breakers.automatic(rd):
            rd.props[AUTO_ADD] = "True"
            reply.info(codes.I_PROP_SET, f"'{rd.name}' gets an automatic tie-breaker again, as requested.")
        node = self.cluster.nodes[key(resource.node)]
        if node.flags & {"EVICTED", "EVACUATE"} or not tie_breakers.wanted(rd, without=resource):
            return False
        if resource.tie_breaker and not keep:
            rd.props[AUTO_ADD] = "False"
            reply.info(
                codes.I_PROP_SET,
                f"'{rd.name}' gets no automatic tie-breaker any more: "
                "its tie-breaker was removed by request.",
            )
            return False
        if not (resource.tie_breaker or self._can_take_over(rd, resource, node)):
            return False
        if not resource.diskless:
            self.cluster.toggle.take_disk(rd, resource)
        tie_breakers.take_over(rd, resource, reply)
        self.cluster.attachment.refresh(rd, reply)
        return True

    def _can_take_over(self, rd: ResourceDefinition, resource: Resource, node: Node) -> bool:
        if any(one.tie_breaker and not one.deleting for one in rd.resources.values()):
            return False
        return self.cluster.tie_breaker.could_be_on(rd, resource) and (resource.diskless or node.placeable)
