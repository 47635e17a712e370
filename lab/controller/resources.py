# SPDX-License-Identifier: Apache-2.0
"""Resources: explicit creation, automatic placement, properties."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, Callable

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import Node, Resource, ResourceDefinition, StoragePool, Volume
from lab.controller.names import key
from lab.controller.nodes import DISKLESS_POOL
from lab.controller.placement import Filter

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

DISKLESS_FLAGS = {"DISKLESS", "DRBD_DISKLESS"}
_MIXING = "AllowMixingStoragePoolDriver"


class Resources:
    """Records resources; their devices are the business of Deployment."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def create(self, rd_name: str, items: list[dict[str, Any]]) -> Reply:
        """Create resources on named nodes; idempotent, and repairing what is there (REST guide: 10008)."""
        reply = Reply(codes.CREATE, codes.RSC, RscDfn=rd_name)
        rd = self.cluster.rd(rd_name)
        planned = [self._plan(rd, item, reply) for item in items]
        for step in planned:
            step()
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        return reply

    def _plan(self, rd: ResourceDefinition, item: dict[str, Any], reply: Reply) -> Callable[[], None]:
        """Check one item; the answer carries it out. A list is done as a whole or not at all."""
        body = item["resource"]
        node = self.cluster.node(body.get("node_name", ""))
        flags = set(body.get("flags") or ())
        settings = dict(body.get("props") or {})
        diskless = bool(flags & DISKLESS_FLAGS) or bool(item.get("drbd_client"))
        if diskless and not rd.drbd:
            raise reply.fail(codes.INVLD_LAYER_STACK, "Diskless resources need a DRBD layer.")
        if node.flags & {"EVACUATE", "EVICTED"}:
            raise reply.fail(
                codes.EVACUATING,
                f"Node '{node.name}' is evacuating, no new resource can be created there.",
            )
        props.check(reply, "resource", settings)
        pool = None if diskless else self._explicit_pool(rd, node, settings, reply)
        existing = rd.resources.get(key(node.name))
        if pool is not None and (existing is None or existing.diskless):
            self.check_mixing(rd, pool, reply)
        if existing is not None:
            if diskless and not existing.diskless and not existing.deleting:
                raise reply.fail(
                    codes.EXISTS_RSC,
                    f"A resource '{rd.name}' with disk already exists on node '{existing.node}'.",
                    refs={"Node": existing.node},
                )
            return functools.partial(self._repair, rd, existing, diskless, pool, reply)
        client = bool(item.get("drbd_client"))
        return functools.partial(self._create_one, rd, node, diskless, pool, client, settings, reply)

    def _create_one(
        self,
        rd: ResourceDefinition,
        node: Node,
        diskless: bool,
        pool: StoragePool | None,
        client: bool,
        settings: dict[str, str],
        reply: Reply,
    ) -> None:
        flags = set(DISKLESS_FLAGS) if diskless else set()
        self.record(rd, node, flags, pool, client=client, settings=settings)
        reply.success(
            codes.CREATED,
            f"Resource '{rd.name}' on node '{node.name}' created.",
            refs={"Node": node.name},
        )

    def _repair(
        self,
        rd: ResourceDefinition,
        existing: Resource,
        diskless: bool,
        pool: StoragePool | None,
        reply: Reply,
    ) -> None:
        undeleted = existing.deleting
        if undeleted:
            self.cluster.deletion.unmark(existing)
            reply.success(codes.MODIFIED, f"Deletion of '{rd.name}' on node '{existing.node}' was undone.")
        if existing.diskless and not diskless and pool is not None:
            self.give_disk(rd, existing, pool, reply)
        elif existing.tie_breaker and diskless:
            existing.flags.discard("TIE_BREAKER")
            reply.success(
                codes.MODIFIED, f"Tie breaker of '{rd.name}' on '{existing.node}' is now a diskless."
            )
        elif not undeleted:
            reply.info(
                codes.I_RSC_ALREADY_EXISTS,
                f"Resource '{rd.name}' on node '{existing.node}' already exists.",
                refs={"Node": existing.node},
            )

    def _explicit_pool(
        self, rd: ResourceDefinition, node: Node, settings: dict[str, str], reply: Reply
    ) -> StoragePool:
        name = settings.get("StorPoolName") or self.cluster.inherited(rd, "StorPoolName")
        name = name or node.props.get("StorPoolName") or "DfltStorPool"
        pool = node.pools.get(key(name))
        if pool is None:
            raise reply.fail(
                codes.NOT_FOUND_STOR_POOL,
                f"The storage pool '{name}' for resource '{rd.name}' on node '{node.name}' does not exist.",
                correction="Create the storage pool or name another one.",
            )
        return pool

    def check_mixing(self, rd: ResourceDefinition, pool: StoragePool, reply: Reply) -> None:
        """Raises 221 when thin and thick replicas would come together."""
        others = [volume.pool for one in rd.diskful for volume in one.volumes.values()]
        mixed = any(other.provider.thin != pool.provider.thin for other in others)
        if mixed and not props.is_true(self.cluster.inherited(rd, _MIXING)):
            raise reply.fail(
                codes.INVLD_PROVIDER_MIX,
                f"Storage pool '{pool.name}' ({pool.kind}) cannot be mixed with the pools of '{rd.name}'.",
            )

    def record(
        self,
        rd: ResourceDefinition,
        node: Node,
        flags: set[str],
        pool: StoragePool | None,
        *,
        client: bool = False,
        settings: dict[str, str] | None = None,
    ) -> Resource:
        """Add a resource to the database. Without a pool it is diskless. Raises 993 without a peer slot."""
        taken = {one.node_id for one in rd.resources.values()}
        node_id = next(number for number in range(len(taken) + 1) if number not in taken)
        if node_id > rd.peer_slots:
            raise Reply(codes.CREATE, codes.RSC, RscDfn=rd.name).fail(
                codes.INSUFFICIENT_PEER_SLOTS, f"Resource '{rd.name}' has no free peer slot left."
            )
        chosen = pool or node.pools[key(DISKLESS_POOL)]
        made = Resource(
            definition=rd.name,
            node=node.name,
            node_id=node_id,
            flags=flags,
            client=client,
            created_ms=self.cluster.now_ms(),
            pool=chosen.name,
            props={"StorPoolName": chosen.name, **(settings or {})},
            volumes={number: Volume(chosen) for number in rd.volumes},
        )
        rd.resources[key(node.name)] = made
        self.cluster.members[key(node.name)].add(key(rd.name))
        node.resource_count += 1
        return made

    def give_disk(self, rd: ResourceDefinition, resource: Resource, pool: StoragePool, reply: Reply) -> None:
        """Turn a diskless resource into one with a disk; the sync goes on after the reply."""
        self.check_mixing(rd, pool, reply)
        resource.flags -= {"DISKLESS", "DRBD_DISKLESS", "TIE_BREAKER"}
        resource.client = False
        resource.pool = pool.name
        resource.props["StorPoolName"] = pool.name
        resource.volumes = {number: Volume(pool) for number in rd.volumes}
        reply.success(
            codes.MODIFIED,
            f"Resource '{rd.name}' on node '{resource.node}' gets a disk in '{pool.name}'.",
            refs={"Node": resource.node},
        )

    @locked
    def autoplace(self, rd_name: str, body: dict[str, Any]) -> Reply:
        """Place what is missing to the wanted count. Warns with 1006 when nothing is; fails with 996."""
        reply = Reply(codes.CREATE, codes.RSC, RscDfn=rd_name)
        rd = self.cluster.rd(rd_name)
        chosen = dict(body.get("select_filter") or {})
        if body.get("diskless_on_remaining") is not None:
            chosen.setdefault("diskless_on_remaining", body["diskless_on_remaining"])
        if not self.place_missing(rd, chosen, reply):
            reply.warning(
                codes.W_ALREADY_DEPLOYED,
                f"Resource '{rd.name}' was already deployed on {len(rd.diskful)} nodes.",
            )
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        return reply

    def place_missing(self, rd: ResourceDefinition, chosen: dict[str, Any], reply: Reply) -> bool:
        """Record missing replicas. Answers False when there are enough; raises 996 and changes nothing."""
        wanted = Filter.of(self.cluster.group_of(rd).select_filter, chosen)
        if wanted.additional and "place_count" not in chosen:
            missing = wanted.additional
        else:
            missing = wanted.place_count + wanted.additional - len(rd.diskful)
        placed = False
        if missing > 0:
            self.cluster.pools.refresh()
            pools = self.choose(wanted, missing, self._size(rd), reply, rd)
            for pool in pools:
                self.place(rd, pool, reply)
            placed = True
        if wanted.diskless_on_remaining and rd.drbd:
            placed = self._place_remaining(rd) or placed
        return placed

    def place(self, rd: ResourceDefinition, pool: StoragePool, reply: Reply) -> Resource:
        """Record one chosen replica, turning a diskless resource on that node into it."""
        node = self.cluster.nodes[key(pool.node)]
        existing = rd.resources.get(key(node.name))
        if existing is not None:
            self.give_disk(rd, existing, pool, reply)
            return existing
        made = self.record(rd, node, set(), pool)
        reply.success(
            codes.CREATED,
            f"Resource '{rd.name}' placed on '{node.name}' in storage pool '{pool.name}'.",
            refs={"Node": node.name, "StorPool": pool.name},
        )
        return made

    def choose(
        self,
        wanted: Filter,
        count: int,
        size_kib: int,
        reply: Reply,
        rd: ResourceDefinition | None = None,
    ) -> list[StoragePool]:
        """Raises 996."""
        if wanted.apart_from_regex:
            try:
                re.compile(wanted.apart_from_regex)
            except re.error as error:
                raise reply.fail(codes.INVLD_REQUEST, f"Invalid regular expression: {error}") from None
        pools = self.cluster.placement.choose(wanted, count, size_kib, rd)
        if pools is None:
            raise reply.fail(
                codes.NOT_ENOUGH_NODES,
                "Not enough nodes for the wanted replicas.",
                cause=f"No place for {count} replica(s) of {size_kib} KiB.",
                details="A node must be online and open for placement, its pool must be one of "
                f"{sorted(wanted.pools) or 'any name'} and take {size_kib} KiB, and the group's constraints "
                "must hold.",
            )
        return pools

    def _size(self, rd: ResourceDefinition) -> int:
        return sum(one.size_kib for one in rd.volumes.values())

    def _place_remaining(self, rd: ResourceDefinition) -> bool:
        placed = False
        for name, node in sorted(self.cluster.nodes.items()):
            if node.placeable and name not in rd.resources:
                self.record(rd, node, set(DISKLESS_FLAGS), None)
                placed = True
        return placed

    @locked
    def modify(self, rd_name: str, node_name: str, body: dict[str, Any]) -> Reply:
        resource = self.cluster.resource(rd_name, node_name)
        rd = self.cluster.rd(rd_name)
        reply = Reply(codes.MODIFY, codes.RSC, RscDfn=rd.name, Node=resource.node)
        props.change(reply, "resource", resource.props, body)
        if body.get("drbd_client") is not None and resource.diskless:
            resource.client = bool(body["drbd_client"])
            resource.flags.discard("TIE_BREAKER")
            self.cluster.tie_breaker.update(rd, reply)
        reply.success(codes.MODIFIED, f"Resource '{rd.name}' on node '{resource.node}' modified.")
        self.cluster.deployment.apply(rd, reply)
        return reply
