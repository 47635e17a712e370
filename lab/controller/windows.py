# SPDX-License-Identifier: Apache-2.0
"""Two Primaries: what the properties say, and what DRBD really allows after the satellites tried to adjust it.

DRBD refuses to forbid two Primaries on a connection while both ends are Primary, and to allow them with
another protocol than C. The property is changed then, the connection is not, and each later adjust tries again:
one that a change brings about, or the controller's own after a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab.controller import codes, props
from lab.controller.codes import Reply
from lab.controller.model import ResourceDefinition
from lab.controller.names import key
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

TWO_PRIMARIES = "DrbdOptions/Net/allow-two-primaries"
PROTOCOL = "DrbdOptions/Net/protocol"
RETRY_SECONDS = 60.0

Pair = tuple[str, str]


def pair_of(left: str, right: str) -> Pair:
    """Key of a connection, whichever node is named first."""
    first, second = sorted((key(left), key(right)))
    return first, second


class Windows:
    """Windows are pairs of nodes that may be Primary together."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def effective(self, rd: ResourceDefinition, pair: Pair, name: str) -> str | None:
        """Value of a property that counts for a connection: its own, then the inherited one."""
        own = rd.connections.get(pair, {}).get(name)
        return own if own is not None else self.cluster.inherited(rd, name)

    def open_between(self, rd: ResourceDefinition, left: str, right: str) -> bool:
        return pair_of(left, right) in rd.windows

    def adjust(self, rd: ResourceDefinition, reply: Reply | None = None) -> None:
        """Let the satellites adjust DRBD; refusals become error entries of the reply."""
        refused: set[str] = set()
        pairs = dict(self._pairs(rd)) if rd.drbd else {}
        rd.windows &= pairs.keys()
        for pair, connected in pairs.items():
            refused |= self._adjust_pair(rd, pair, connected)
        self._tell_devices(rd)
        for name in sorted(refused):
            self._complain(rd, name, reply)

    def _pairs(self, rd: ResourceDefinition) -> Iterator[tuple[Pair, bool]]:
        """Pairs of nodes, and whether DRBD has a connection between them: two diskless ones have none."""
        members = sorted(name for name, one in rd.resources.items() if not one.deleting and not one.inactive)
        for left in members:
            for right in members:
                if left < right:
                    yield (left, right), not (rd.resources[left].diskless and rd.resources[right].diskless)

    def _adjust_pair(self, rd: ResourceDefinition, pair: Pair, connected: bool) -> set[str]:
        """Node keys whose satellites failed."""
        if connected:
            two = props.is_true(self.effective(rd, pair, TWO_PRIMARIES))
            protocol = self.effective(rd, pair, PROTOCOL) or "C"
        else:
            two = props.is_true(self.cluster.inherited(rd, TWO_PRIMARIES))
            protocol = self.cluster.inherited(rd, PROTOCOL) or "C"
        if two and protocol == "C":
            rd.windows.add(pair)
        elif connected and (two or (pair in rd.windows and self._both_primary(rd, pair))):
            return {name for name in pair if self._adjusts(rd, name)}
        else:
            rd.windows.discard(pair)
        return set()

    def _both_primary(self, rd: ResourceDefinition, pair: Pair) -> bool:
        return set(pair) <= self.cluster.attachment.primaries(rd) and self.cluster.connectivity.linked(*pair)

    def _adjusts(self, rd: ResourceDefinition, name: str) -> bool:
        return rd.resources[name].deployed and self.cluster.nodes[name].online

    def _complain(self, rd: ResourceDefinition, name: str, reply: Reply | None) -> None:
        rd.retry_at = self.cluster.clock() + RETRY_SECONDS
        if reply is None:
            return
        node = self.cluster.nodes[name].name
        message = f"Failed to adjust DRBD resource {rd.name}"
        told = f"({node}) {message}"
        if any(entry.message == told for entry in reply.entries):
            return
        reply.error(
            codes.UNKNOWN_ERROR,
            told,
            error_report_ids=[self.cluster.satellites.report(node, message)],
            refs={"Node": node},
        )

    def _tell_devices(self, rd: ResourceDefinition) -> None:
        if rd.drbd:
            together = {rd.resources[name].node for pair in rd.windows for name in pair}
        else:
            together = {one.node for one in rd.resources.values()}
        allowed = together or None
        if allowed == rd.writers:
            return
        for number in rd.contents:
            try:
                self.cluster.devices.allow_writers(rd.content_key(number), allowed)
            except DeviceBusy:
                # both ends are Primary without a connection that could refuse: they go on until one closes
                return
        rd.writers = allowed

    def repeat(self, rd: ResourceDefinition, number: int) -> None:
        """A content was made anew: it does not know the rule yet."""
        if rd.writers is not None:
            self.cluster.devices.allow_writers(rd.content_key(number), rd.writers)
