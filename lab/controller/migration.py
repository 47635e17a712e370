# SPDX-License-Identifier: Apache-2.0
"""REST 1.29: the controller itself lets source and destination of a live migration be Primary together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.controller import codes
from lab.controller.codes import Reply
from lab.controller.model import Node, Props, Resource, ResourceDefinition
from lab.controller.names import key
from lab.controller.windows import PROTOCOL, TWO_PRIMARIES, Pair, pair_of

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Migration:
    """The managed window of a definition: one at a time, found again by its two nodes."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def source(self, rd: ResourceDefinition, target: Node, reply: Reply) -> Resource | None:
        """Where the resource is in use; None when there is nothing to migrate. Fails with 225 and 901."""
        if not rd.drbd:
            raise reply.fail(codes.INVLD_LAYER_STACK, "auto_manage_dual_primary needs DRBD.")
        users = self.cluster.attachment.users(rd)
        here = key(target.name)
        if len(users) == 1:
            found = key(users[0].node)
            if rd.migration is not None and rd.migration != (found, here):
                raise reply.fail(
                    codes.MIGRATION_RUNNING,
                    f"A live migration of '{rd.name}' from '{rd.migration[0]}' is prepared already.",
                    correction="End it with unmake-available on its source.",
                )
            return None if found == here else users[0]
        if len(users) > 1:
            nodes = {key(one.node) for one in users}
            if rd.migration is None or rd.migration[1] != here or nodes != set(rd.migration):
                raise reply.fail(
                    codes.MIGRATION_RUNNING,
                    f"'{rd.name}' is in use on several nodes.",
                    cause="It cannot be told which of them is the source of the migration.",
                )
            return rd.resources[rd.migration[0]]
        return None

    def open(self, rd: ResourceDefinition, source: Resource, target: Resource, reply: Reply) -> None:
        """Set the properties, on the connection or, where two diskless resources have none, on the definition."""
        pair = pair_of(source.node, target.node)
        connection = None if source.diskless and target.diskless else pair
        settings = rd.props if connection is None else rd.connections.setdefault(pair, {})
        protocol = self.cluster.windows.effective(rd, pair, PROTOCOL) or "C"
        if protocol != "C":
            rd.protocol_before = (connection, settings.get(PROTOCOL))
            settings[PROTOCOL] = "C"
            reply.info(0, f"DRBD protocol of '{rd.name}' is C instead of {protocol} for the migration.")
        settings[TWO_PRIMARIES] = "yes"
        rd.migration = (key(source.node), key(target.node))
        reply.info(
            0, f"'{rd.name}' can be Primary on '{source.node}' and '{target.node}' until unmake-available."
        )

    def close(self, rd: ResourceDefinition, node: str) -> None:
        """Forbid two Primaries on the definition, on every connection of the node, and on the prepared one."""
        ended: set[Pair] = {pair for pair in rd.connections if key(node) in pair}
        if rd.migration is not None:
            ended.add(pair_of(*rd.migration))
        for settings in (rd.props, *(rd.connections.get(pair, {}) for pair in ended)):
            settings.pop(TWO_PRIMARIES, None)
        self._restore_protocol(rd)
        rd.connections = {pair: one for pair, one in rd.connections.items() if one}
        rd.migration = None

    def _restore_protocol(self, rd: ResourceDefinition) -> None:
        if rd.protocol_before is None:
            return
        connection, before = rd.protocol_before
        settings: Props | None = rd.props if connection is None else rd.connections.get(connection)
        if settings is not None:
            settings.pop(PROTOCOL, None)
            if before is not None:
                settings[PROTOCOL] = before
        rd.protocol_before = None
