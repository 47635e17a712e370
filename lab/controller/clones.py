# SPDX-License-Identifier: Apache-2.0
"""Cloning resource definitions: the copy starts with the call and goes on after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition, ResourceGroup, StoragePool
from lab.controller.names import key
from lab.controller.placement import Filter
from lab.controller.progress import Progress
from lab.controller.tiebreaker import QUORUM

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

_ZFS_CLONE = "UseZFSClone"


class Clones:
    """The bytes are those of the instant of the call; devices appear when the clone is complete."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._origins: dict[str, dict[int, str]] = {}

    @locked
    def start(self, source_name: str, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Answers (reply object, started). Fails with 301, 501, 974, 227, 206, 996, 228 as a normal list."""
        source = self.cluster.rd(source_name)
        reply = Reply(codes.CREATE, codes.RSC_DFN)
        group = (
            self.cluster.rg(body["resource_group"])
            if body.get("resource_group")
            else self.cluster.group_of(source)
        )
        target = self._prepare(source, group, body, reply)
        self._check_source(source, reply)
        sizes = self._sizes(source, body.get("volume_sizes") or [], reply)
        pools = self._pools(source, group if body.get("resource_group") else None, reply)
        self._check_room(source, target, pools, sizes, reply)
        self._record(source, target, pools, sizes)
        self._copy(source, target, pools, bool(body.get("use_zfs_clone")), reply)
        started = {
            "location": f"/v1/resource-definitions/{source.name}/clone/{target.name}",
            "source_name": source.name,
            "clone_name": target.name,
            "messages": reply.to_json(),
        }
        return started, not reply.failed

    def _prepare(
        self, source: ResourceDefinition, group: ResourceGroup, body: dict[str, Any], reply: Reply
    ) -> ResourceDefinition:
        override = body.get("override_props") or {}
        target = self.cluster.definitions.prepare(
            reply,
            name=body.get("name") or "",
            external_name=body.get("external_name") or "",
            group=group,
            layers=list(body.get("layer_list") or source.layers),
            settings=override,
            peer_slots=source.peer_slots,
        )
        target.props = {name: value for name, value in source.props.items() if name != QUORUM}
        target.props["cloned-from"] = source.name
        props.apply(
            target.props, override, body.get("delete_props") or (), body.get("delete_namespaces") or ()
        )
        phrases = body.get("volume_passphrases")
        if phrases is not None and len(phrases) != len(source.volumes):
            raise reply.fail(codes.INVLD_REQUEST, "There must be one passphrase for each volume.")
        target.flags.add("CLONING")
        target.cloned = True
        reply.refs["RscDfn"] = target.name
        return target

    def _check_source(self, source: ResourceDefinition, reply: Reply) -> None:
        if not source.diskful:
            raise reply.fail(
                codes.NOT_FOUND_RSC, f"'{source.name}' has no replica with a disk to clone from."
            )
        for resource in source.diskful:
            online = self.cluster.nodes[key(resource.node)].online
            for volume in resource.volumes.values():
                if not online or not volume.made or not volume.up_to_date:
                    raise reply.fail(
                        codes.NOT_ALL_UPTODATE,
                        f"Resource '{source.name}' on node '{resource.node}' is not UpToDate.",
                        refs={"Node": resource.node},
                    )
                if not volume.pool.provider.clones:
                    raise reply.fail(
                        codes.INVLD_STOR_DRIVER,
                        f"Storage pool '{volume.pool.name}' ({volume.pool.kind}) cannot clone.",
                    )

    def _sizes(self, source: ResourceDefinition, wanted: list[int], reply: Reply) -> dict[int, int]:
        """Sizes of the clone's volumes; 0 keeps the source's. Raises 228, 206."""
        numbers = sorted(source.volumes)
        if wanted and len(wanted) != len(numbers):
            raise reply.fail(codes.INVLD_VLM_SIZES, "There must be one size for each volume.")
        sizes = {number: source.volumes[number].size_kib for number in numbers}
        for number, size in zip(numbers, wanted):
            if size:
                self.cluster.volume_definitions.check_size(reply, size)
                if size < sizes[number]:
                    raise reply.fail(codes.INVLD_VLM_SIZE, f"Volume {number} of the clone cannot be smaller.")
                sizes[number] = size
        return sizes

    def _pools(
        self, source: ResourceDefinition, group: ResourceGroup | None, reply: Reply
    ) -> dict[str, StoragePool]:
        """Pool for each node with a disk: the source's, or one that the new group allows. Raises 996."""
        pools = {}
        for resource in source.diskful:
            name = key(resource.node)
            pools[name] = next(iter(resource.volumes.values())).pool
            if group is None:
                continue
            wanted = Filter.of(group.select_filter)
            wanted.nodes = {name} & wanted.nodes if wanted.nodes else {name}
            candidates = self.cluster.placement.candidates(wanted) if wanted.nodes else []
            if not candidates:
                raise reply.fail(
                    codes.NOT_ENOUGH_NODES,
                    f"No storage pool on node '{resource.node}' suits resource group '{group.name}'.",
                )
            if pools[name] not in candidates:
                pools[name] = candidates[0]
        return pools

    def _check_room(
        self,
        source: ResourceDefinition,
        target: ResourceDefinition,
        pools: dict[str, StoragePool],
        sizes: dict[int, int],
        reply: Reply,
    ) -> None:
        for pool in pools.values():
            if not pool.provider.thin and pool.free_kib < sum(sizes.values()):
                raise reply.fail(
                    codes.INVLD_VLM_SIZE,
                    f"Storage pool '{pool.name}' on node '{pool.node}' cannot hold a copy of it.",
                    refs={"Node": pool.node, "StorPool": pool.name},
                )

    def _record(
        self,
        source: ResourceDefinition,
        target: ResourceDefinition,
        pools: dict[str, StoragePool],
        sizes: dict[int, int],
    ) -> None:
        self.cluster.definitions.register(target)
        for number, definition in sorted(source.volumes.items()):
            made = self.cluster.volume_definitions.add(
                target, number, sizes[number], dict(definition.props), definition.flags - {"RESIZE"}
            )
            made.usable_kib = definition.usable_kib
        for name, resource in source.resources.items():
            if resource.deleting:
                continue
            settings = {one: value for one, value in resource.props.items() if one != "StorPoolName"}
            self.cluster.resources.record(
                target,
                self.cluster.nodes[name],
                set(resource.flags),
                pools.get(name),
                client=resource.client,
                settings=settings,
            )

    def _copy(
        self,
        source: ResourceDefinition,
        target: ResourceDefinition,
        pools: dict[str, StoragePool],
        zfs_clone: bool,
        reply: Reply,
    ) -> None:
        zfs_clone = zfs_clone or props.is_true(self.cluster.inherited(source, _ZFS_CLONE))
        origins = {}
        for number, definition in target.volumes.items():
            self.cluster.devices.copy(source.content_key(number), target.content_key(number))
            target.contents.add(number)
            if definition.size_kib > source.volumes[number].size_kib:
                definition.usable_kib = self.cluster.deployment.usable_kib(
                    target, definition, list(pools.values())
                )
                self.cluster.devices.resize(target.content_key(number), definition.usable_kib)
            shares = "LUKS" not in target.layers and all(
                pool.kind == "LVM_THIN" or (zfs_clone and pool.provider.dependent) for pool in pools.values()
            )
            if shares:
                origins[number] = source.content_key(number)
        self._origins[key(target.name)] = origins
        target.clone = Progress(self.cluster.clock, self.cluster.clone_seconds, self.cluster.clone_looks)
        for name, pool in pools.items():
            self.cluster.satellites.ask([name])
            message = self.cluster.satellites.take_failure(pool.node, "clone")
            if message:
                self.cluster.satellites.report(pool.node, message)
                target.flags = (target.flags - {"CLONING"}) | {"FAILED"}
        reply.success(codes.CREATED, f"Clone '{target.name}' of '{source.name}' started.")

    def settle(self, rd: ResourceDefinition) -> None:
        """Deploy a clone whose copy has finished."""
        if "CLONING" not in rd.flags or rd.clone is None or not rd.clone.done or "DELETE" in rd.flags:
            return
        rd.flags.discard("CLONING")
        disks = {key(one.node) for one in rd.diskful}
        origins = self._origins.pop(key(rd.name), {})
        self.cluster.tie_breaker.update(rd, Reply())
        self.cluster.deployment.apply(rd, Reply(), disks, origins)

    @locked
    def status(self, name: str) -> dict[str, str]:
        """CLONING, COMPLETE or FAILED; the latter also while a node of the clone is merely not online."""
        rd = self.cluster.rd(name)
        if not rd.cloned:
            raise codes.failure(codes.NOT_FOUND_RSC_DFN, f"Resource definition '{rd.name}' is not a clone.")
        if "FAILED" in rd.flags or not all(self.cluster.nodes[one].online for one in rd.resources):
            return {"status": "FAILED"}
        if "CLONING" in rd.flags and rd.clone is not None and not rd.clone.look():
            return {"status": "CLONING"}
        self.settle(rd)
        return {"status": "COMPLETE"}
