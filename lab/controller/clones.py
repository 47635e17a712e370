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
_MARK = "use-zfs-clone"
"""Set by LINSTOR on a clone that shares blocks. It is copied with the other properties, to clones of the clone
and by snapshots, and cannot be deleted."""


def _copying(target: ResourceDefinition) -> str:
    return f"{key(target.name)}+copy"


def _snapshot_of(target: ResourceDefinition) -> str:
    return f"{key(target.name)}+snapshot"


class Clones:
    """I/O of the source is suspended during the call, while every satellite takes a snapshot of its own; from
    that the data is copied afterwards. So the bytes are those of an instant before the reply. Devices appear
    when the copy is complete.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._origins: dict[str, dict[int, str]] = {}
        self._under_way: dict[str, list[StoragePool]] = {}

    @locked
    def start(self, source_name: str, body: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Answers (reply object, without errors). Fails with 301, 501, 228, 206, 996, 974, 227 as a normal list.

        All satellites of the source have to answer, those of its diskless resources, too: else a clone is left
        that never begins.
        """
        source = self.cluster.rd(source_name)
        reply = Reply(codes.CREATE, codes.RSC_DFN)
        group = (
            self.cluster.rg(body["resource_group"])
            if body.get("resource_group")
            else self.cluster.group_of(source)
        )
        target = self._prepare(source, group, body, reply)
        sizes = self._sizes(source, body.get("volume_sizes") or [], reply)
        pools = self._pools(source, group if body.get("resource_group") else None, reply)
        self._check_source(source, pools, sizes, reply)
        self._record(source, target, pools, sizes)
        reply.success(codes.CREATED, f"Clone '{target.name}' of '{source.name}' registered.")
        self._copy(source, target, pools, reply)
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
        delete, namespaces = body.get("delete_props") or (), body.get("delete_namespaces") or ()
        props.check_deletion(reply, "definition", target.props, delete, namespaces)
        props.apply(target.props, override, delete, namespaces)
        wanted = body.get("use_zfs_clone")
        if wanted is None:
            wanted = props.is_true(self._inherited(source))
        if wanted:
            # otherwise a mark that the source has stays, and counts
            target.props[_MARK] = "true"
        phrases = body.get("volume_passphrases")
        if phrases is not None and len(phrases) != len(source.volumes):
            raise reply.fail(codes.INVLD_REQUEST, "There must be one passphrase for each volume.")
        target.flags.add("CLONING")
        target.cloned = True
        reply.refs["RscDfn"] = target.name
        return target

    def _inherited(self, source: ResourceDefinition) -> str | None:
        """Of the source's group, then of the controller: the definition's own value does not count."""
        for level in (self.cluster.group_of(source).props, self.cluster.settings.props):
            if _ZFS_CLONE in level:
                return str(level[_ZFS_CLONE])
        return None

    def _check_source(
        self,
        source: ResourceDefinition,
        pools: dict[str, StoragePool],
        sizes: dict[int, int],
        reply: Reply,
    ) -> None:
        if not source.diskful:
            raise reply.fail(
                codes.NOT_FOUND_RSC, f"'{source.name}' has no replica with a disk to clone from."
            )
        for resource in source.diskful:
            online = self.cluster.nodes[key(resource.node)].online
            for number, volume in resource.volumes.items():
                if not volume.made or (source.drbd and not (online and volume.up_to_date)):
                    raise reply.fail(
                        codes.NOT_ALL_UPTODATE,
                        f"Resource '{source.name}' on node '{resource.node}' is not UpToDate.",
                        refs={"Node": resource.node},
                    )
                self._check_room(source, number, volume.pool, reply)
            target = pools[key(resource.node)]
            if target.free_kib < sum(sizes.values()) and not target.provider.thin:
                raise self._full(target, reply)
            if not target.provider.clones:
                raise reply.fail(
                    codes.INVLD_STOR_DRIVER, f"Storage pool '{target.name}' ({target.kind}) cannot clone."
                )

    def _check_room(self, source: ResourceDefinition, number: int, pool: StoragePool, reply: Reply) -> None:
        """Asked of the source's pool, of the source's size: thick LVM needs a full snapshot besides the copy."""
        factor = 2 if pool.kind == "LVM" else 1
        if self.cluster.pools.creatable(pool) < source.volumes[number].size_kib * factor:
            raise self._full(pool, reply)

    @staticmethod
    def _full(pool: StoragePool, reply: Reply) -> codes.ApiError:
        return reply.fail(
            codes.INVLD_VLM_SIZE,
            f"Storage pool '{pool.name}' on node '{pool.node}' cannot hold a copy.",
            refs={"Node": pool.node, "StorPool": pool.name},
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
        reply: Reply,
    ) -> None:
        target.clone = Progress(self.cluster.clock, self.cluster.clone_seconds, self.cluster.clone_looks)
        with self.cluster.suspension.hold([source]):
            for resource in source.resources.values():
                node = self.cluster.nodes[key(resource.node)]
                if not node.online:
                    reply.not_connected(node.name)
                    message = f"No connection to satellite '{node.name}'."
                    reply.error(codes.NOT_CONNECTED, message, refs={"Node": node.name})
            self._refuse_files(source, reply)
            if reply.failed:
                target.clone.stop()
                return
            origins = self._snapshot(source, target, pools)
        self._origins[key(target.name)] = origins
        self._reserve(source, target, pools)
        for name, pool in pools.items():
            self.cluster.satellites.ask([name])
            message = self.cluster.satellites.take_failure(pool.node, "clone")
            if message:
                self.cluster.satellites.report(pool.node, message)
                target.flags = (target.flags - {"CLONING"}) | {"FAILED"}
                self.forget(target)
        reply.success(codes.MODIFIED, f"Clone '{target.name}' of '{source.name}' started.")

    def _refuse_files(self, source: ResourceDefinition, reply: Reply) -> None:
        """The controller looks at the pools of the clone only; satellites find out about those of the source."""
        for resource in source.diskful:
            kinds = {one.pool.kind for one in resource.volumes.values() if not one.pool.provider.clones}
            for kind in sorted(kinds):
                self.cluster.satellites.fault(resource.node, f"Volumes of {kind} cannot be cloned", reply)

    def _snapshot(
        self, source: ResourceDefinition, target: ResourceDefinition, pools: dict[str, StoragePool]
    ) -> dict[int, str]:
        """Fix the bytes. Answers the contents that the volumes of the clone share their blocks with."""
        zfs_clone = props.is_true(target.props.get(_MARK))
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
        return origins

    def _reserve(
        self, source: ResourceDefinition, target: ResourceDefinition, pools: dict[str, StoragePool]
    ) -> None:
        """What thick volumes take while the copy goes on: the copy itself, and the snapshot of plain LVM."""
        self._under_way[key(target.name)] = []
        for name, pool in pools.items():
            if pool.provider.thin:
                continue
            kept = self.cluster.deployment.backing_kib
            size = sum(kept(target, one, pool) for one in target.volumes.values())
            self._hold(target, pool, _copying(target), size)
            origin = next(iter(source.resources[name].volumes.values())).pool
            if origin.kind == "LVM":
                size = sum(kept(source, one, origin) for one in source.volumes.values())
                self._hold(target, origin, _snapshot_of(target), size)

    def _hold(self, target: ResourceDefinition, pool: StoragePool, what: str, size_kib: int) -> None:
        pool.space.put(what, size_kib, size_kib, measured=False)
        self._under_way[key(target.name)].append(pool)
        self.cluster.pools.note(pool)

    def forget(self, target: ResourceDefinition) -> None:
        """The copy has ended, in whatever way."""
        self._origins.pop(key(target.name), None)
        for pool in self._under_way.pop(key(target.name), []):
            pool.space.drop(_copying(target))
            pool.space.drop(_snapshot_of(target))
            self.cluster.pools.note(pool)

    def settle(self, rd: ResourceDefinition) -> None:
        """Deploy a clone whose copy has finished."""
        if "CLONING" not in rd.flags or rd.clone is None or not rd.clone.done or "DELETE" in rd.flags:
            return
        rd.flags.discard("CLONING")
        disks = {key(one.node) for one in rd.diskful}
        origins = self._origins.get(key(rd.name), {})
        self.forget(rd)
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
