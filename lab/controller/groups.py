# SPDX-License-Identifier: Apache-2.0
"""Resource groups: templates, spawning, adjusting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lab.controller import codes, names, props
from lab.controller.codes import ApiError, Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition, ResourceGroup, StoragePool, VolumeGroup
from lab.controller.names import key
from lab.controller.placement import Filter

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Groups:
    """Calls below ``/v1/resource-groups``."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def create(self, body: dict[str, Any]) -> Reply:
        """Properties in the body are ignored, as LINSTOR's handler does. Fails with 522, 237."""
        name = body.get("name") or ""
        reply = Reply(codes.CREATE, codes.RSC_GRP, RscGrp=name)
        names.check_group(reply, name)
        if key(name) in self.cluster.rgs:
            raise reply.fail(codes.EXISTS_RSC_GRP, f"A resource group with the name '{name}' already exists.")
        self.cluster.rgs[key(name)] = ResourceGroup(
            name,
            description=body.get("description") or "",
            select_filter=dict(body.get("select_filter") or {}),
            peer_slots=body.get("peer_slots"),
        )
        reply.success(codes.CREATED, f"Resource group '{name}' created.")
        return reply

    @locked
    def modify(self, name: str, body: dict[str, Any]) -> Reply:
        rg = self.cluster.rg(name)
        reply = Reply(codes.MODIFY, codes.RSC_GRP, RscGrp=rg.name)
        changed = props.change(reply, "group", rg.props, body)
        if body.get("description") is not None:
            rg.description = body["description"]
        rg.select_filter.update(body.get("select_filter") or {})
        if body.get("peer_slots") is not None:
            rg.peer_slots = body["peer_slots"]
        reply.success(codes.MODIFIED, f"Resource group '{rg.name}' modified.")
        if changed:
            for rd in self.definitions(rg):
                self.cluster.definitions.after_prop_change(rd, changed, reply)
        return reply

    @locked
    def delete(self, name: str) -> Reply:
        reply = Reply(codes.DELETE, codes.RSC_GRP, RscGrp=name)
        rg = self.cluster.rgs.get(key(name))
        if rg is None:
            reply.warning(codes.W_NOT_FOUND, f"Resource group '{name}' not found.")
            return reply
        if self.definitions(rg):
            raise reply.fail(
                codes.EXISTS_RSC_DFN, f"Resource group '{rg.name}' still has resource definitions."
            )
        del self.cluster.rgs[key(name)]
        reply.success(codes.DELETED, f"Resource group '{rg.name}' deleted.")
        return reply

    def definitions(self, rg: ResourceGroup) -> list[ResourceDefinition]:
        return [rd for rd in self.cluster.rds.values() if key(rd.group) == key(rg.name)]

    @locked
    def list_all(self, wanted: list[str], filters: list[str]) -> list[dict[str, Any]]:
        chosen = {key(one) for one in wanted}
        return [
            self.cluster.views.group(rg)
            for name, rg in sorted(self.cluster.rgs.items())
            if (not chosen or name in chosen) and props.matches(rg.props, filters)
        ]

    @locked
    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.views.group(self.cluster.rg(name))

    @locked
    def create_volume_group(self, name: str, body: dict[str, Any]) -> Reply:
        rg = self.cluster.rg(name)
        reply = Reply(codes.CREATE, codes.VLM_GRP, RscGrp=rg.name)
        number = body.get("volume_number")
        if number is None:
            number = next(one for one in range(len(rg.volume_groups) + 1) if one not in rg.volume_groups)
        if number in rg.volume_groups:
            raise reply.fail(codes.EXISTS_VLM_GRP, f"Volume group {number} of '{rg.name}' already exists.")
        settings = body.get("props") or {}
        props.check(reply, "volume-group", settings)
        rg.volume_groups[number] = VolumeGroup(number, dict(settings), list(body.get("flags") or ()))
        reply.success(
            codes.CREATED, f"Volume group {number} of '{rg.name}' created.", refs={"VlmNr": str(number)}
        )
        return reply

    @locked
    def volume_groups(self, name: str) -> list[dict[str, Any]]:
        rg = self.cluster.rg(name)
        return [self.cluster.views.volume_group(one) for _, one in sorted(rg.volume_groups.items())]

    @locked
    def delete_volume_group(self, name: str, number: int) -> Reply:
        rg = self.cluster.rg(name)
        reply = Reply(codes.DELETE, codes.VLM_GRP, RscGrp=rg.name, VlmNr=str(number))
        if rg.volume_groups.pop(number, None) is None:
            reply.warning(codes.W_NOT_FOUND, f"Volume group {number} of '{rg.name}' not found.")
        else:
            reply.success(codes.DELETED, f"Volume group {number} of '{rg.name}' deleted.")
        return reply

    @locked
    def spawn(self, name: str, body: dict[str, Any]) -> Reply:
        """Definition, volumes and placement in one transaction; satellites may still fail after it."""
        rg = self.cluster.rg(name)
        reply = Reply(codes.CREATE, codes.RSC_GRP, RscGrp=rg.name)
        sizes = [int(size) for size in body.get("volume_sizes") or ()]
        self._check_sizes(rg, sizes, bool(body.get("partial")), reply)
        chosen = body.get("select_filter") or {}
        wanted = Filter.of(rg.select_filter, chosen)
        rd = self.cluster.definitions.prepare(
            reply,
            name=body.get("resource_definition_name") or "",
            external_name=body.get("resource_definition_external_name") or "",
            group=rg,
            layers=wanted.layers,
            settings=body.get("resource_definition_props") or {},
            peer_slots=body.get("peer_slots"),
        )
        reply.refs["RscDfn"] = rd.name
        self._check_passphrases(sizes, body.get("volume_passphrases"), reply)
        for size in sizes:
            self.cluster.volume_definitions.check_size(reply, size)
        self.cluster.pools.refresh()
        pools: list[StoragePool] = []
        if not body.get("definitions_only"):
            pools = self.cluster.resources.choose(wanted, wanted.place_count, sum(sizes), reply)
        self.cluster.definitions.register(rd)
        for number, size in enumerate(sizes):
            template = rg.volume_groups.get(number)
            self.cluster.volume_definitions.add(
                rd,
                number,
                size,
                dict(template.props) if template else {},
                set(template.flags) if template else set(),
            )
        reply.success(codes.CREATED, f"Resource definition '{rd.name}' created by group '{rg.name}'.")
        for pool in pools:
            self.cluster.resources.place(rd, pool, reply)
        if body.get("definitions_only"):
            reply.info(codes.I_NO_RSC_SPAWNED, f"No resources of '{rd.name}' were created, as requested.")
            return reply
        if wanted.diskless_on_remaining:
            self.cluster.resources.place_missing(rd, chosen, reply)
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
        return reply

    def _check_sizes(self, rg: ResourceGroup, sizes: list[int], partial: bool, reply: Reply) -> None:
        if not rg.volume_groups:
            reply.info(0, f"Resource group '{rg.name}' has no volume groups, sizes are taken as they are.")
        elif len(sizes) != len(rg.volume_groups) and not partial:
            raise reply.fail(
                codes.INVLD_VLM_SIZES,
                f"Resource group '{rg.name}' has {len(rg.volume_groups)} volume group(s), but {len(sizes)} "
                "size(s) were given.",
            )

    def _check_passphrases(self, sizes: list[int], phrases: list[str] | None, reply: Reply) -> None:
        if phrases is not None and len(phrases) != len(sizes):
            raise reply.fail(codes.INVLD_REQUEST, "There must be one passphrase for each volume size.")

    @locked
    def adjust(self, name: str, body: dict[str, Any]) -> Reply:
        """Place the missing replicas of all definitions of the group."""
        rg = self.cluster.rg(name)
        reply = Reply(codes.MODIFY, codes.RSC_GRP, RscGrp=rg.name)
        for rd in self.definitions(rg):
            if "DELETE" in rd.flags or "CLONING" in rd.flags:
                continue
            self.complete(rd, body.get("select_filter") or {}, reply)
        reply.success(codes.MODIFIED, f"Resource group '{rg.name}' adjusted.")
        return reply

    def complete(self, rd: ResourceDefinition, chosen: dict[str, Any], reply: Reply) -> None:
        """Place what is missing of one definition; failures become entries of the reply."""
        try:
            self.cluster.resources.place_missing(rd, chosen, reply)
        except ApiError as error:
            if error.reply is not reply:
                reply.entries += error.reply.entries
            return
        self.cluster.tie_breaker.update(rd, reply)
        self.cluster.deployment.apply(rd, reply)
