# SPDX-License-Identifier: Apache-2.0
"""Server-sent events: changes of nodes, and of DRBD's readiness to be promoted. There are no others."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from lab.controller.locking import locked
from lab.controller.model import Node

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

Event = tuple[str, dict[str, Any]]


class Events:
    """Streams: subscribers of node events, and snapshots of ``may_promote`` to compare."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._subscribers: list[queue.Queue[Event]] = []

    def node(self, name: str, node: Node, old: dict[str, Any] | None = None) -> None:
        """Publish; a modification that shows no difference is none."""
        shown = self.cluster.views.node(node)
        if old is not None and old == shown:
            return
        payload = {"node": shown} if old is None else {"old_node": old, "new_node": shown}
        for subscriber in list(self._subscribers):
            subscriber.put((name, payload))

    @locked
    def subscribe(self) -> queue.Queue[Event]:
        subscriber: queue.Queue[Event] = queue.Queue()
        self._subscribers.append(subscriber)
        return subscriber

    @locked
    def unsubscribe(self, subscriber: queue.Queue[Event]) -> None:
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    @locked
    def promotions(self) -> dict[tuple[str, str], bool]:
        """may_promote of each deployed DRBD resource on an online node."""
        with self.cluster.attachment.one_look():
            return {
                (rd.name, one.node): self.cluster.quorum.may_promote(rd, one)
                for rd in self.cluster.rds.values()
                if rd.drbd
                for name, one in rd.resources.items()
                if one.deployed and self.cluster.nodes[name].online
            }
