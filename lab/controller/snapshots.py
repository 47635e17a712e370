# SPDX-License-Identifier: Apache-2.0
"""Snapshots: one or several resources at the same instant, lists, deletion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, names, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import (
    Resource,
    ResourceDefinition,
    Snapshot,
    SnapshotVolume,
    StoragePool,
    new_uuid,
)
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Snapshots:
    """Snapshots are taken on all diskful, online, non-evacuating replicas unless nodes are named."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def create(self, rd_name: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 218, 514, 994, 995, 302, 979. Whether somebody uses the resource does not matter."""
        return self._create([(rd_name, body)])

    @locked
    def create_multi(self, items: list[dict[str, Any]]) -> Reply:
        """All or nothing, crash-consistent over all resources."""
        return self._create([(one.get("resource_name") or "", one) for one in items])

    def _create(self, items: list[tuple[str, dict[str, Any]]]) -> Reply:
        reply = Reply(codes.CREATE, codes.SNAPSHOT)
        planned: list[tuple[ResourceDefinition, Snapshot]] = []
        for rd_name, body in items:
            rd = self.cluster.rd(rd_name)
            name = body.get("name") or ""
            names.check_snapshot(reply, name)
            if key(name) in rd.snapshots or any(
                key(name) == key(one.name) and rd is other for other, one in planned
            ):
                raise reply.fail(
                    codes.EXISTS_SNAPSHOT,
                    f"Resource '{rd.name}' has a snapshot named '{name}' already.",
                    refs={"RscDfn": rd.name, "Snapshot": name},
                )
            settings = body.get("snapshot_definition_props") or {}
            props.check(reply, "snapshot", settings)
            members = self._members(rd, list(body.get("nodes") or ()), reply)
            planned.append((rd, self._prepare(rd, name, members, dict(settings))))
            reply.success(
                codes.CREATED,
                f"Snapshot '{name}' of '{rd.name}' registered.",
                refs={"RscDfn": rd.name, "Snapshot": name},
            )
        self._take(planned, reply)
        return reply

    def take_safety(self, rd: ResourceDefinition, name: str, flag: str, reply: Reply) -> None:
        """A snapshot of the controller's own. Raises 994, 979, 302; a satellite's failure is in the reply only."""
        snapshot = self._prepare(rd, name, self._members(rd, [], reply), {})
        snapshot.flags.add(flag)
        self._take([(rd, snapshot)], reply)

    def _members(self, rd: ResourceDefinition, wanted: list[str], reply: Reply) -> list[Resource]:
        """Replicas to take it of. LINSTOR asks for support of all replicas, wherever the snapshot is wanted."""
        for resource in rd.diskful:
            self._check_support(resource, reply)
        if not any(self.cluster.nodes[key(one.node)].online for one in rd.diskful):
            raise reply.fail(
                codes.NOT_CONNECTED,
                f"No snapshot of '{rd.name}' is possible: no replica with a disk is reachable.",
            )
        members = []
        for resource in self._chosen(rd, wanted, reply):
            node = self.cluster.nodes[key(resource.node)]
            if node.flags & {"EVACUATE", "EVICTED"}:
                self._left_out(rd, resource, "is evacuating", reply)
            elif not node.online and not wanted:
                self._left_out(rd, resource, "is offline", reply)
            else:
                members.append(resource)
        if not members:
            raise reply.fail(codes.NOT_FOUND_RSC, f"There is nothing to take a snapshot of '{rd.name}' from.")
        return members

    def _chosen(self, rd: ResourceDefinition, wanted: list[str], reply: Reply) -> list[Resource]:
        if not wanted:
            return rd.diskful
        chosen = [self.cluster.resource(rd.name, node) for node in wanted]
        for resource in chosen:
            if resource.diskless:
                raise reply.fail(
                    codes.SNAPSHOTS_NOT_SUPPORTED,
                    f"Resource '{rd.name}' has no disk on '{resource.node}' to take a snapshot of.",
                )
        return chosen

    def _left_out(self, rd: ResourceDefinition, resource: Resource, why: str, reply: Reply) -> None:
        """A warning without a code or anything else by which a program could tell it."""
        made = reply.add(
            codes.WARNING, 0, f"Node '{resource.node}' {why}: '{rd.name}' gets no snapshot there."
        )
        made.operation = made.obj = 0
        made.obj_refs = {}

    def _check_support(self, resource: Resource, reply: Reply) -> None:
        for volume in resource.volumes.values():
            provider = volume.pool.provider
            if not provider.snapshots or self.cluster.rest_version < provider.snapshots_since:
                raise reply.fail(
                    codes.SNAPSHOTS_NOT_SUPPORTED,
                    f"Pool '{volume.pool.name}' ({provider.kind}) on '{resource.node}' has no snapshots.",
                    refs={"Node": resource.node, "StorPool": volume.pool.name},
                )

    def _prepare(
        self, rd: ResourceDefinition, name: str, members: list[Resource], settings: dict[str, str]
    ) -> Snapshot:
        now = self.cluster.now_ms()
        return Snapshot(
            name,
            rd.name,
            nodes={key(one.node): (one.node, one.pool, now) for one in members},
            volumes={
                number: SnapshotVolume(number, one.size_kib, one.usable_kib, dict(one.props))
                for number, one in rd.volumes.items()
            },
            definition_props=dict(rd.props),
            props=settings,
            sequence=self.cluster.numbers.sequence(),
            node_uuids={key(one.node): new_uuid() for one in members},
        )

    def _take(self, planned: list[tuple[ResourceDefinition, Snapshot]], reply: Reply) -> None:
        """Suspend I/O of all, take all, resume. A failure anywhere leaves records of all with a FAILED flag."""
        with self.cluster.suspension.hold(rd for rd, _ in planned):
            for rd, snapshot in planned:
                self._check_up_to_date(rd, snapshot, reply)
            for rd, snapshot in planned:
                rd.snapshots[key(snapshot.name)] = snapshot
            # every satellite is asked, whatever the others answer
            failed = [self._fails(node, reply) for _, one in planned for node, _, _ in one.nodes.values()]
            if any(failed):
                for _, snapshot in planned:
                    snapshot.flags.add("FAILED_DEPLOYMENT")
                return
            for rd, snapshot in planned:
                self._keep(rd, snapshot)

    def _check_up_to_date(self, rd: ResourceDefinition, snapshot: Snapshot, reply: Reply) -> None:
        """Only DRBD tells. Of a satellite that is away nothing is known."""
        for name in snapshot.nodes:
            resource = rd.resources[name]
            online = self.cluster.nodes[name].online
            for number, volume in resource.volumes.items():
                if not volume.made or (rd.drbd and not (online and volume.up_to_date)):
                    raise reply.fail(
                        codes.SNAPSHOT_NOT_UPTODATE,
                        f"Volume {number} of '{rd.name}' on node '{resource.node}' is not UpToDate.",
                        refs={"Node": resource.node},
                    )

    def _fails(self, node: str, reply: Reply) -> bool:
        self.cluster.satellites.ask([node])
        message = self.cluster.satellites.take_failure(node, "snapshot")
        lost = self.cluster.satellites.take_failure(node, "snapshot-disconnect")
        if message:
            self.cluster.satellites.fault(node, message, reply)
        elif lost:
            # LINSTOR only warns, so that the reply as a whole is a success
            reply.not_connected(node, lost)
        return bool(message or lost)

    def _keep(self, rd: ResourceDefinition, snapshot: Snapshot) -> None:
        for number in snapshot.volumes:
            copy = rd.snapshot_key(number, snapshot.name)
            self.cluster.devices.copy(rd.content_key(number), copy)
            for name in snapshot.nodes:
                self._charge(rd, rd.resources[name], number, copy)
        snapshot.has_content = True
        snapshot.flags.add("SUCCESSFUL")

    def _charge(self, rd: ResourceDefinition, resource: Resource, number: int, copy: str) -> None:
        pool = resource.volumes[number].pool
        content = rd.content_key(number)
        pool.space.measure(content, self.cluster.devices.allocated_kib(content))
        if pool.provider.shares_blocks:
            pool.space.put_copy(
                copy, content, 0, dependent=pool.provider.dependent, measured=pool.provider.thin
            )
        else:
            backing = self.cluster.deployment.backing_kib(rd, rd.volumes[number], pool)
            pool.space.put(copy, backing, backing, measured=False)
        self.cluster.pools.note(pool)

    @locked
    def list_all(
        self, nodes: list[str], resources: list[str], page: tuple[int, int] = (0, 0)
    ) -> list[dict[str, Any]]:
        """Missing names in the filters select nothing."""
        wanted_nodes = {key(one) for one in nodes}
        wanted = sorted({key(one) for one in resources} if resources else self.cluster.rds)
        found = [
            (rd, snapshot)
            for rd in (self.cluster.rds[name] for name in wanted if name in self.cluster.rds)
            for _, snapshot in sorted(rd.snapshots.items())
            if not wanted_nodes or wanted_nodes & set(snapshot.nodes)
        ]
        limit, offset = page
        if limit:
            found = found[offset : offset + limit]
        return [self.cluster.views.snapshot(rd, one) for rd, one in found]

    @locked
    def list_of(self, rd_name: str) -> list[dict[str, Any]]:
        rd = self.cluster.rd(rd_name)
        return [self.cluster.views.snapshot(rd, one) for _, one in sorted(rd.snapshots.items())]

    @locked
    def get(self, rd_name: str, name: str) -> dict[str, Any]:
        snapshot = self.cluster.snapshot(rd_name, name, codes.NOT_FOUND_SNAPSHOT)
        return self.cluster.views.snapshot(self.cluster.rd(rd_name), snapshot)

    @locked
    def modify(self, rd_name: str, name: str, body: dict[str, Any]) -> Reply:
        snapshot = self.cluster.snapshot(rd_name, name)
        reply = Reply(codes.MODIFY, codes.SNAPSHOT, RscDfn=rd_name, Snapshot=snapshot.name)
        props.change(reply, "snapshot", snapshot.props, body)
        reply.success(codes.MODIFIED, f"Snapshot '{snapshot.name}' of '{rd_name}' modified.")
        return reply

    @locked
    def delete(self, rd_name: str, name: str, nodes: list[str], delete_empty: bool = False) -> Reply:
        """A missing snapshot is a warning. ``nodes``: drop these copies only."""
        reply = Reply(codes.DELETE, codes.SNAPSHOT, RscDfn=rd_name, Snapshot=name)
        rd = self.cluster.rds.get(key(rd_name))
        snapshot = rd.snapshots.get(key(name)) if rd else None
        if rd is None or snapshot is None:
            reply.warning(codes.W_NOT_FOUND, f"Snapshot '{name}' of resource '{rd_name}' not found.")
            return reply
        wanted = {key(node) for node in nodes} or set(snapshot.nodes)
        if not nodes:
            snapshot.flags.add("DELETE")
        for one in wanted & set(snapshot.nodes):
            node, pool_name, _ = snapshot.nodes[one]
            if not self.cluster.nodes[one].online:
                reply.not_connected(node, "Data of the snapshot may stay on the node.")
            elif self._delete_fails(node, reply):
                continue
            pool = self.cluster.pool_of(node, pool_name)
            if pool is not None and snapshot.has_content:
                self._release(rd, snapshot, pool, self.cluster.nodes[one].online)
            del snapshot.nodes[one]
        if reply.failed:
            return reply
        if not snapshot.nodes:
            self.drop(rd, snapshot)
        reply.success(codes.DELETED, f"Snapshot '{snapshot.name}' of '{rd.name}' deleted.")
        if delete_empty and self.cluster.at_least("1.29") and not rd.snapshots and not rd.resources:
            rd.flags.add("DELETE")
            self.cluster.deletion.finish(rd, reply)
        return reply

    def _delete_fails(self, node: str, reply: Reply) -> bool:
        """The record stays then, with the flag DELETE, until somebody deletes it again."""
        self.cluster.satellites.ask([node])
        message = self.cluster.satellites.take_failure(node, "snapshot-delete")
        if message:
            self.cluster.satellites.fault(node, message, reply)
        return bool(message)

    def _release(
        self, rd: ResourceDefinition, snapshot: Snapshot, pool: StoragePool, reachable: bool
    ) -> None:
        for number in snapshot.volumes:
            content = rd.snapshot_key(number, snapshot.name)
            if reachable:
                pool.space.drop(content)
            else:
                pool.space.abandon(content)
        self.cluster.pools.note(pool)

    def drop(self, rd: ResourceDefinition, snapshot: Snapshot) -> None:
        """Forget a snapshot and its bytes."""
        del rd.snapshots[key(snapshot.name)]
        if snapshot.has_content:
            for number in snapshot.volumes:
                self.cluster.devices.delete(rd.snapshot_key(number, snapshot.name))
