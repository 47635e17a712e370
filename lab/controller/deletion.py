# SPDX-License-Identifier: Apache-2.0
"""Removing resources and resource definitions, at once or when the satellites return."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Resource, ResourceDefinition
from lab.controller.names import key
from lab.controller.tiebreaker import AUTO_ADD
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

ZFS_DELETE_STRATEGY = "StorDriver/Zfs/DeleteStrategy"


class Deletion:
    """A deletion first marks (flags DELETE, with DRBD also DRBD_DELETE), then lets online satellites act."""

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
        self._warn_offline([resource], reply)
        self.finish(rd, reply)
        if key(rd.name) in self.cluster.rds:
            self.cluster.attachment.refresh_writers(rd)
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
        resources = list(rd.resources.values())
        for resource in resources:
            self.mark(rd, resource)
        reply.success(codes.DELETED, f"Resource definition '{rd.name}' marked for deletion.")
        self._warn_offline(resources, reply)
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
        resources = list(rd.resources.values())
        for resource in resources:
            self.mark(rd, resource)
        reply.success(codes.DELETED, f"All resources of '{rd.name}' marked for deletion.")
        self._warn_offline(resources, reply)
        self.finish(rd, reply)
        return reply

    def mark(self, rd: ResourceDefinition, resource: Resource) -> None:
        resource.flags |= {"DELETE", "DRBD_DELETE"} if rd.drbd else {"DELETE"}

    def unmark(self, resource: Resource) -> None:
        resource.flags -= {"DELETE", "DRBD_DELETE"}

    def finish(self, rd: ResourceDefinition, reply: Reply) -> None:
        """Let the online satellites remove what is marked; forget definitions that became empty."""
        marked = [one for one in rd.resources.values() if one.deleting]
        # diskless peers first: the content can go only when nobody sees it any more
        for resource in sorted(marked, key=lambda one: not one.diskless):
            if self.cluster.nodes[key(resource.node)].online:
                self._remove(rd, resource, reply)
        if not any(not one.diskless for one in rd.resources.values()):
            self.drop_contents(rd)
        if "DELETE" in rd.flags and not rd.resources:
            self._forget(rd)

    def drop_contents(self, rd: ResourceDefinition) -> None:
        """Delete the bytes, unless a device of an unreachable node still shows them."""
        if any(one.exposed for one in rd.resources.values()):
            return
        for number in list(rd.contents):
            self.cluster.devices.delete(rd.content_key(number))
            rd.contents.discard(number)
        rd.writers = None

    def _remove(self, rd: ResourceDefinition, resource: Resource, reply: Reply) -> None:
        self.cluster.satellites.ask([resource.node])
        message = self.cluster.satellites.take_failure(resource.node, "delete")
        if not message:
            try:
                self.cluster.attachment.hide(rd, resource)
            except DeviceBusy:
                message = f"Failed to delete '{rd.name}': a process holds the device open"
        if message:
            report = self.cluster.satellites.report(resource.node, message)
            reply.error(
                codes.UNKNOWN_ERROR,
                f"({resource.node}) {message}",
                error_report_ids=[report],
                refs={"Node": resource.node},
            )
            return
        self.drop(rd, resource)

    def drop(self, rd: ResourceDefinition, resource: Resource) -> None:
        """Forget a resource whose devices are gone, and its room in the pool."""
        for number, volume in resource.volumes.items():
            if volume.made and not resource.diskless:
                volume.pool.space.drop(rd.content_key(number))
                self.cluster.pools.note(volume.pool)
        name = key(resource.node)
        del rd.resources[name]
        self.cluster.members[name].discard(key(rd.name))
        self.cluster.nodes[name].resource_count -= 1
        rd.connections = {ends: one for ends, one in rd.connections.items() if name not in ends}
        self.stop_orphaned_syncs(rd)

    def stop_orphaned_syncs(self, rd: ResourceDefinition) -> None:
        """Replicas that still waited for data stay Inconsistent when nobody has it any more."""
        for number in rd.volumes:
            copies = [one.volumes[number] for one in rd.resources.values() if not one.diskless]
            made = [volume for volume in copies if volume.made]
            if made and not any(volume.up_to_date for volume in made):
                for volume in made:
                    if volume.sync:
                        volume.sync.stop()

    def _forget(self, rd: ResourceDefinition) -> None:
        for definition in rd.volumes.values():
            self.cluster.numbers.minors.give_back(definition.minor)
        self.cluster.numbers.ports.give_back(rd.port)
        self.cluster.external_names.pop(rd.external_name, None)
        self.cluster.attachment.forget(rd)
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
        if resource.diskless or self.cluster.inherited(rd, ZFS_DELETE_STRATEGY) != "Delete":
            return
        zfs = any(volume.pool.provider.dependent for volume in resource.volumes.values())
        if zfs and any(key(resource.node) in one.nodes for one in rd.snapshots.values()):
            raise reply.fail(
                codes.EXISTS_SNAPSHOT_ZFS,
                f"Resource '{rd.name}' has snapshots on '{resource.node}' and cannot go.",
            )

    def _stays(self, rd: ResourceDefinition, resource: Resource, keep: bool, reply: Reply) -> bool:
        """Whether the resource stays as the tie-breaker instead of being deleted."""
        tie_breakers = self.cluster.tie_breaker
        if resource.tie_breaker and not keep:
            rd.props[AUTO_ADD] = "False"
            reply.info(
                codes.I_PROP_SET,
                f"'{rd.name}' gets no automatic tie-breaker any more: "
                "its tie-breaker was removed by request.",
            )
            return False
        if keep and resource.diskless and not props.is_true(rd.props.get(AUTO_ADD), True):
            rd.props[AUTO_ADD] = "True"
        if not resource.diskless or not tie_breakers.wanted(rd, without=resource):
            return False
        if any(one.tie_breaker and one is not resource and not one.deleting for one in rd.resources.values()):
            return False
        tie_breakers.take_over(rd, resource, reply)
        self.cluster.attachment.refresh_writers(rd)
        return True

    def _warn_offline(self, resources: list[Resource], reply: Reply) -> None:
        for resource in resources:
            if not self.cluster.nodes[key(resource.node)].online:
                reply.not_connected(resource.node, "The resource is deleted when the satellite is back.")
