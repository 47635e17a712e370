# SPDX-License-Identifier: Apache-2.0
"""Quorum and the diskless tie-breaker that LINSTOR keeps by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.model import Node, Resource, ResourceDefinition
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

AUTO_ADD = "DrbdOptions/auto-add-quorum-tiebreaker"
QUORUM = "DrbdOptions/Resource/quorum"
TB_FLAGS = {"DISKLESS", "DRBD_DISKLESS", "TIE_BREAKER"}


class TieBreaker:
    """Wanted with an even number of disks, no voting diskless resource, and the automatism on."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def automatic(self, rd: ResourceDefinition) -> bool:
        return props.is_true(self.cluster.inherited(rd, AUTO_ADD), True)

    def wanted(self, rd: ResourceDefinition, without: Resource | None = None) -> bool:
        """Whether the definition needs a tie-breaker; ``without``: as if that resource were gone."""
        if not rd.drbd or not self.automatic(rd):
            return False
        if rd.quorum_by_user and rd.props.get(QUORUM, "majority") not in ("majority", "auto"):
            return False
        others = [one for one in rd.resources.values() if one is not without]
        disks = sum(1 for one in others if one in rd.diskful)
        return disks >= 2 and disks % 2 == 0 and not any(self._votes(rd, one) for one in others)

    def _votes(self, rd: ResourceDefinition, one: Resource) -> bool:
        """A diskless resource that makes a tie-breaker superfluous: one where that could be, too."""
        return one.helping and not one.tie_breaker and self.could_be_on(rd, one)

    def could_be_on(self, rd: ResourceDefinition, resource: Resource) -> bool:
        return self.cluster.placement.takes_diskless(rd, self.cluster.nodes[key(resource.node)])

    def update(self, rd: ResourceDefinition, reply: Reply) -> None:
        """Make or remove the tie-breaker after a change, and set the quorum that fits."""
        if "DELETE" in rd.flags:
            return
        current = [one for one in rd.resources.values() if one.tie_breaker and not one.deleting]
        if self.wanted(rd):
            if not current:
                self._make(rd, reply)
        else:
            for one in current:
                self._remove(rd, one, reply)
        self._set_quorum(rd)

    def take_over(self, rd: ResourceDefinition, resource: Resource, reply: Reply) -> None:
        """A diskless resource that should go stays as the tie-breaker."""
        resource.flags = (resource.flags - {"DELETE", "DRBD_DELETE"}) | TB_FLAGS
        resource.client = False
        reply.info(
            codes.I_TIE_BREAKER_TAKEOVER,
            f"The given resource '{rd.name}' on node '{resource.node}' is kept as tie-breaker.",
            refs={"Node": resource.node},
        )
        self._set_quorum(rd)

    def _make(self, rd: ResourceDefinition, reply: Reply) -> None:
        node = self._best_node(rd)
        if node is None:
            reply.warning(
                codes.W_NO_TIE_BREAKER_NODE,
                f"No node is free for a tie-breaker of '{rd.name}'.",
            )
            return
        self.cluster.resources.record(rd, node, set(TB_FLAGS), None)
        reply.info(
            codes.I_TIE_BREAKER_CREATED,
            f"Tie-breaker of '{rd.name}' created on node '{node.name}'.",
            refs={"Node": node.name},
        )

    def _best_node(self, rd: ResourceDefinition) -> Node | None:
        free = [
            node
            for name, node in self.cluster.nodes.items()
            if node.placeable
            and name not in rd.resources
            and self.cluster.placement.takes_diskless(rd, node, at_most=1)
        ]
        return min(free, key=lambda node: (node.resource_count, key(node.name)), default=None)

    def _remove(self, rd: ResourceDefinition, resource: Resource, reply: Reply) -> None:
        if not self.cluster.nodes[key(resource.node)].online or self.cluster.attachment.in_use(rd, resource):
            return
        reply.info(
            codes.I_TIE_BREAKER_DELETING,
            f"Tie-breaker of '{rd.name}' on node '{resource.node}' is not needed and goes.",
            refs={"Node": resource.node},
        )
        self.cluster.deletion.mark(rd, resource)
        self.cluster.deletion.finish(rd, reply)

    def _set_quorum(self, rd: ResourceDefinition) -> None:
        if not rd.drbd or rd.quorum_by_user:
            return
        disks = len(rd.diskful)
        # LINSTOR counts clients here, although they do not vote
        others = [one for one in rd.resources.values() if one.diskless and not (one.deleting or one.inactive)]
        majority = disks >= 3 or (disks == 2 and bool(others))
        rd.props[QUORUM] = "majority" if majority else "off"
