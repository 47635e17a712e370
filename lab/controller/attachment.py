# SPDX-License-Identifier: Apache-2.0
"""Device nodes on hosts: paths, who opened them, what may be done with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab.controller.codes import Reply
from lab.controller.model import Resource, ResourceDefinition
from lab.controller.names import key
from lab.controller.quorum import NONE, READ_WRITE

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster


class Attachment:
    """Keeps the hosts' view of devices in step with the resources."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._news: dict[str, tuple[set[str], dict[str, float]]] = {}
        self._seen: dict[str, set[str]] | None = None

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """Within it openers are looked up once: a view shows one instant, and looking is dear."""
        if self._seen is not None:
            yield
            return
        self._seen = {}
        try:
            yield
        finally:
            self._seen = None

    def paths(self, rd: ResourceDefinition, resource: Resource, number: int) -> list[str]:
        """First the device, then the stable link (DRBD only)."""
        volume = rd.volumes[number]
        if rd.drbd:
            return [f"/dev/drbd{volume.minor}", f"/dev/drbd/by-res/{rd.name}/{number}"]
        if "LUKS" in rd.layers:
            return [f"/dev/mapper/Linstor-Crypt-{rd.name}_{number:05d}"]
        pool = resource.volumes[number].pool
        return [pool.provider.device_path(pool.backing, rd.name, number, volume.minor)]

    def expose(self, rd: ResourceDefinition, resource: Resource) -> None:
        """Let the devices of a deployed resource appear on its host."""
        if not resource.deployed or resource.inactive:
            return
        for number in rd.volumes:
            if number in rd.contents and number not in resource.exposed and number in resource.volumes:
                self.cluster.devices.expose(
                    rd.content_key(number), resource.node, self.paths(rd, resource, number)
                )
                resource.exposed.add(number)

    def hide(self, rd: ResourceDefinition, resource: Resource) -> None:
        """Take the devices from the host. Raises DeviceBusy while one is open there."""
        for number in sorted(resource.exposed):
            self.cluster.devices.hide(rd.content_key(number), resource.node)
            resource.exposed.discard(number)
            if resource.access.pop(number, READ_WRITE) != READ_WRITE:
                # the next resource there starts anew
                self.cluster.devices.set_access(rd.content_key(number), resource.node, READ_WRITE)

    def refresh(self, rd: ResourceDefinition, reply: Reply | None = None) -> None:
        """After a change: let the satellites adjust DRBD, and the hosts see what came of it."""
        with self.one_look():
            self.cluster.freshness.update(rd)
            self.cluster.windows.adjust(rd, reply)
            self._tell_access(rd)

    def _tell_access(self, rd: ResourceDefinition) -> None:
        if not rd.drbd:
            return
        for name, resource in rd.resources.items():
            running = self.cluster.nodes[name].running
            for number in resource.exposed:
                access = self.cluster.quorum.access(rd, resource, number) if running else NONE
                if access != resource.access.get(number, READ_WRITE):
                    self.cluster.devices.set_access(rd.content_key(number), resource.node, access)
                    resource.access[number] = access

    def _settle(self, rd: ResourceDefinition) -> None:
        """What time or an open has changed since the last call."""
        if not self.cluster.freshness.settled(rd):
            with self.one_look():
                self.cluster.freshness.update(rd)
                self._tell_access(rd)

    def primaries(self, rd: ResourceDefinition) -> set[str]:
        """Node keys on which DRBD is Primary right now, whatever the controller knows of it."""
        return {
            name
            for name in self._openers(rd)
            if name in rd.resources and self.cluster.nodes[name].running and rd.resources[name].deployed
        }

    def _openers(self, rd: ResourceDefinition) -> set[str]:
        if self._seen is not None and key(rd.name) in self._seen:
            return self._seen[key(rd.name)]
        found: set[str] = set()
        for number in rd.contents:
            found |= {key(node) for node in self.cluster.devices.openers(rd.content_key(number))}
        if self._seen is not None:
            self._seen[key(rd.name)] = found
        return found

    def writers(self, rd: ResourceDefinition) -> set[str]:
        """Node keys on which a volume is open for writing, as known after the lag of the news."""
        self._settle(rd)
        known = self._known(rd, self._openers(rd))
        for name in known & rd.resources.keys():
            if self.cluster.nodes[name].online:
                # somebody uses it: it is no longer the controller's own
                rd.resources[name].flags.discard("TIE_BREAKER")
        return known

    def _known(self, rd: ResourceDefinition, actual: set[str]) -> set[str]:
        if not self.cluster.in_use_lag:
            return actual
        known, changed = self._news.setdefault(key(rd.name), (set(), {}))
        now = self.cluster.clock()
        for node in actual ^ known:
            if now - changed.setdefault(node, now) >= self.cluster.in_use_lag:
                known ^= {node}
        for node in [one for one in changed if (one in actual) == (one in known)]:
            del changed[node]
        return set(known)

    def in_use(self, rd: ResourceDefinition, resource: Resource) -> bool | None:
        """Primary on that node; None when the controller can not know. Only DRBD tells."""
        if not rd.drbd or not resource.deployed or not self.cluster.nodes[key(resource.node)].online:
            return None
        return key(resource.node) in self.writers(rd)

    def users(self, rd: ResourceDefinition) -> list[Resource]:
        """Resources known to be in use."""
        if not rd.drbd:
            return []
        writers = self.writers(rd)
        return [
            one
            for one in rd.resources.values()
            if one.deployed and self.cluster.nodes[key(one.node)].online and key(one.node) in writers
        ]

    def forget(self, rd: ResourceDefinition) -> None:
        self._news.pop(key(rd.name), None)
