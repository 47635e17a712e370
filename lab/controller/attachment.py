# SPDX-License-Identifier: Apache-2.0
"""Device nodes on hosts: paths, who may write, who does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from lab.controller import props
from lab.controller.model import Resource, ResourceDefinition
from lab.controller.names import key
from lab.devices_protocol import DeviceBusy

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

TWO_PRIMARIES = "DrbdOptions/Net/allow-two-primaries"
PROTOCOL = "DrbdOptions/Net/protocol"


class Attachment:
    """Keeps the hosts' view of devices in step with the resources."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._news: dict[str, tuple[set[str], dict[str, float]]] = {}
        self._seen: dict[str, set[str]] | None = None

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """Within it openers are looked up once: a view shows one instant, and looking is dear."""
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
        if not resource.deployed or "INACTIVE" in resource.flags:
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

    def writers(self, rd: ResourceDefinition) -> set[str]:
        """Node keys on which a volume is open for writing, as known after the lag of the news."""
        if self._seen is None:
            return self._writers(rd)
        if key(rd.name) not in self._seen:
            self._seen[key(rd.name)] = self._writers(rd)
        return self._seen[key(rd.name)]

    def _writers(self, rd: ResourceDefinition) -> set[str]:
        actual: set[str] = set()
        for number in rd.contents:
            actual |= {key(node) for node in self.cluster.devices.openers(rd.content_key(number))}
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

    def refresh_writers(self, rd: ResourceDefinition) -> None:
        """Tell the devices which nodes may be Primary together."""
        allowed = self._together(rd) if rd.drbd else {one.node for one in rd.resources.values()}
        if allowed != rd.writers:
            for number in rd.contents:
                self.cluster.devices.allow_writers(rd.content_key(number), allowed)
            rd.writers = allowed

    def repeat_writers(self, rd: ResourceDefinition, number: int) -> None:
        """A content was made anew: it does not know the rule yet."""
        if rd.writers is not None:
            self.cluster.devices.allow_writers(rd.content_key(number), rd.writers)

    def _together(self, rd: ResourceDefinition) -> set[str] | None:
        resources = {name: one for name, one in rd.resources.items() if not one.deleting}
        protocol = self.cluster.inherited(rd, PROTOCOL) or "C"
        everywhere = props.is_true(self.cluster.inherited(rd, TWO_PRIMARIES))
        allowed: set[str] = set()
        if everywhere and protocol == "C":
            allowed |= {one.node for one in resources.values()}
        for (left, right), settings in rd.connections.items():
            ends = [resources.get(left), resources.get(right)]
            if None in ends or all(one is not None and one.diskless for one in ends):
                # two diskless nodes have no connection that the property could apply to
                continue
            two = props.is_true(settings.get(TWO_PRIMARIES), everywhere)
            if two and settings.get(PROTOCOL, protocol) == "C":
                allowed |= {one.node for one in ends if one is not None}
        return allowed if len(allowed) > 1 else None


__all__ = ["PROTOCOL", "TWO_PRIMARIES", "Attachment", "DeviceBusy"]
