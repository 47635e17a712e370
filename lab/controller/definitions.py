# SPDX-License-Identifier: Apache-2.0
"""Resource definitions: creation, changes, lists, sync status."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from lab.controller import codes, names, props
from lab.controller.codes import Reply
from lab.controller.locking import locked
from lab.controller.model import ResourceDefinition, ResourceGroup
from lab.controller.names import key
from lab.controller.placement import Filter
from lab.controller.tiebreaker import AUTO_ADD, QUORUM

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

DEFAULT_LAYERS = ["DRBD", "STORAGE"]
_STACKS = (["DRBD", "STORAGE"], ["STORAGE"], ["LUKS", "STORAGE"], ["DRBD", "LUKS", "STORAGE"])
_PEER_SLOTS = 7


class Definitions:
    """Calls below ``/v1/resource-definitions``, except volumes, resources and snapshots."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @locked
    def create(self, body: dict[str, Any]) -> Reply:
        """Fails with 501, 517, 317, 202, 225, 213, 606."""
        given = body["resource_definition"]
        reply = Reply(codes.CREATE, codes.RSC_DFN)
        group = self.cluster.rg(given.get("resource_group_name") or "DfltRscGrp")
        rd = self.prepare(
            reply,
            name=given.get("name") or "",
            external_name=given.get("external_name") or "",
            group=group,
            layers=[one["type"] for one in given.get("layer_data") or ()],
            settings=given.get("props") or {},
            peer_slots=body.get("drbd_peer_slots"),
        )
        self.register(rd)
        reply.refs["RscDfn"] = rd.name
        reply.success(codes.CREATED, f"Resource definition '{rd.name}' created.", refs={"UUID": rd.uuid})
        return reply

    def prepare(
        self,
        reply: Reply,
        *,
        name: str,
        external_name: str,
        group: ResourceGroup,
        layers: list[str],
        settings: dict[str, str],
        peer_slots: int | None,
    ) -> ResourceDefinition:
        """Check everything and answer a definition that is not in the database yet."""
        if not name and not external_name:
            raise reply.fail(codes.MISSING_EXT_NAME, "Either a name or an external name is needed.")
        if name:
            names.check_resource(reply, name)
            if key(name) in self.cluster.rds:
                raise reply.fail(
                    codes.EXISTS_RSC_DFN,
                    f"A resource definition with the name '{name}' already exists.",
                    refs={"RscDfn": name},
                )
        if external_name and external_name in self.cluster.external_names:
            raise reply.fail(codes.EXISTS_EXT_NAME, f"The external name '{external_name}' is taken.")
        props.check(reply, "definition", settings)
        stack = layers or Filter.of(group.select_filter).layers or DEFAULT_LAYERS
        self.check_stack(reply, stack)
        return ResourceDefinition(
            name or self._generated(external_name),
            group.name,
            list(stack),
            external_name=external_name,
            props=dict(settings),
            peer_slots=peer_slots or group.peer_slots or _PEER_SLOTS,
            secret=secrets.token_hex(10),
            quorum_by_user=QUORUM in settings,
        )

    def check_stack(self, reply: Reply, stack: list[str]) -> None:
        """Raises 225 for layers that do not go together, 312 when LUKS needs a passphrase that is locked."""
        if list(stack) not in _STACKS:
            raise reply.fail(codes.INVLD_LAYER_STACK, f"The layer stack {stack} is not supported.")
        if "LUKS" in stack and self.cluster.settings.passphrase_status() != "unlocked":
            raise reply.fail(
                codes.NOT_FOUND_CRYPT_KEY,
                "Encrypted volumes cannot be created: the master passphrase is not set or not entered.",
                correction="Create or enter the master passphrase.",
            )

    def _generated(self, external_name: str) -> str:
        base = re.sub(r"[^A-Za-z0-9_-]", "_", external_name)[:32] or "_"
        if not base[0].isalpha():
            base = f"LS_{base}"
        name, number = base, 1
        while key(name) in self.cluster.rds or len(name) < 2:
            number += 1
            name = f"{base}_{number}"
        return name

    def register(self, rd: ResourceDefinition) -> None:
        rd.port = self.cluster.numbers.ports.take()
        self.cluster.rds[key(rd.name)] = rd
        if rd.external_name:
            self.cluster.external_names[rd.external_name] = rd.name

    @locked
    def modify(self, name: str, body: dict[str, Any]) -> Reply:
        """Fails with 301, 317, 213, 502. A new group places replicas that it wants and that are missing."""
        rd = self.cluster.rd(name)
        reply = Reply(codes.MODIFY, codes.RSC_DFN, RscDfn=rd.name)
        group = self.cluster.rg(body["resource_group"]) if body.get("resource_group") else None
        if body.get("layer_stack"):
            if rd.resources:
                raise reply.fail(codes.EXISTS_RSC, f"'{rd.name}' is deployed, its layers cannot be changed.")
            self.check_stack(reply, list(body["layer_stack"]))
        changed = props.change(reply, "definition", rd.props, body)
        if QUORUM in changed:
            rd.quorum_by_user = QUORUM in rd.props
        if body.get("layer_stack"):
            rd.layers = list(body["layer_stack"])
        if body.get("drbd_peer_slots"):
            rd.peer_slots = body["drbd_peer_slots"]
        reply.success(codes.MODIFIED, f"Resource definition '{rd.name}' modified.")
        if group is not None and key(group.name) != key(rd.group):
            changed |= set(group.props) | set(self.cluster.group_of(rd).props)
            rd.group = group.name
            wanted = Filter.of(group.select_filter).place_count
            if rd.diskful and len(rd.diskful) < wanted:
                self.cluster.groups.complete(rd, {}, reply)
        self.after_prop_change(rd, changed, reply)
        return reply

    def after_prop_change(self, rd: ResourceDefinition, changed: set[str], reply: Reply) -> None:
        """Let the change reach what depends on it, here or in a group or the controller above."""
        if changed & {AUTO_ADD, QUORUM} and rd.resources:
            self.cluster.tie_breaker.update(rd, reply)
            self.cluster.deployment.apply(rd, reply)
        if not changed:
            return
        self.cluster.attachment.refresh(rd, reply)
        for resource in rd.resources.values():
            if not self.cluster.nodes[key(resource.node)].online:
                reply.not_connected(resource.node)

    @locked
    def list_all(
        self, wanted: list[str], filters: list[str], volumes: bool, page: tuple[int, int] = (0, 0)
    ) -> list[dict[str, Any]]:
        """Filtered by name this looks at the named ones only; ``page`` is (limit, offset)."""
        known = self.cluster.rds.keys()
        chosen = sorted({key(one) for one in wanted} & known if wanted else known)
        found = [rd for rd in map(self.cluster.rds.__getitem__, chosen) if props.matches(rd.props, filters)]
        limit, offset = page
        if limit:
            found = found[offset : offset + limit]
        return [self.cluster.views.definition(rd, volumes) for rd in found]

    @locked
    def get(self, name: str) -> dict[str, Any]:
        return self.cluster.views.definition(self.cluster.rd(name), False)

    @locked
    def sync_status(self, name: str) -> dict[str, Any]:
        """True when every visible disk is UpToDate; offline satellites count as synced."""
        rd = self.cluster.rd(name)
        self.cluster.clones.settle(rd)
        synced = True
        for resource in rd.diskful:
            if not self.cluster.nodes[key(resource.node)].online:
                continue
            for volume in resource.volumes.values():
                # every volume is looked at: a look makes a simulated sync advance
                filled = volume.sync is None or volume.sync.look()
                synced = filled and volume.made and not volume.outdated and synced
        self.cluster.settle(rd)
        return {"synced_on_all": synced}
