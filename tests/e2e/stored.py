# SPDX-License-Identifier: Apache-2.0
"""What the volumes of a cloud hold, and held when their snapshots were taken, as a witness remembers it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote

from lab.cloud import Cloud
from lab.controller.model import ResourceDefinition
from tests.actions.support import MIB, by_res, links, locks_left, properties, resources
from tests.actions.tm.support import on_nodes
from tests.e2e.lives import check_windows
from tests.e2e.outages import two_primaries

REPLICAS = {"one": 2, "one-three": 3}
"""That the lab's resource groups want. A copy has those of its original if they are more, and keeps them."""

Write = tuple[int, bytes]


class Version(NamedTuple):
    """A volume at one time: every byte that can be read from its device, and what LINSTOR was asked for, in MiB."""

    data: bytes
    size_mb: int


@dataclass
class Volume:
    """``disk``: its id in the VM that has it; ``cached``: what a guest wrote and holds in memory.

    ``owner``: the properties that say whose it is, without the mark of completeness. ``groups``: where it may be;
    once looked at, it stays there with as many replicas.
    """

    name: str
    owner: dict[str, str]
    groups: set[str]
    present: Version
    snapshots: dict[int, Version] = field(default_factory=dict)
    disk: int | None = None
    cached: list[Write] = field(default_factory=list)
    flattened: bool = False
    replicas: int = 0

    def write(self, offset: int, data: bytes) -> None:
        held = bytearray(self.present.data)
        held[offset : offset + len(data)] = data
        self.present = self.present._replace(data=bytes(held))

    def sync(self) -> None:
        """The guest's memory is written back."""
        for write in self.cached:
            self.write(*write)
        self.cached = []


class Expected:
    """All volumes that there may be. ``copies``: the storage has no snapshots, and full copies stand for them."""

    def __init__(self, cloud: Cloud, *, copies: bool) -> None:
        self.cloud = cloud
        self.copies = copies
        self.volumes: list[Volume] = []

    def device(self, name: str) -> bytes:
        """Everything that can be read from a volume's device."""
        return self._stored(self.cloud.cluster.rd(name).content_key(0))

    def check(self, vm_id: int, host: str, datastore: int) -> None:
        """Raises AssertionError for whatever is different in the cloud, or too much. The VM is on ``host``."""
        assert resources(self.cloud) == set(self._names())
        for volume in self.volumes:
            self._check(volume, host)
            for number, past in volume.snapshots.items():
                self._check_snapshot(volume, number, past, host)
        wanted = {
            f"{datastore}/{vm_id}/disk.{one.disk}": by_res(one.name)
            for one in self.volumes
            if one.disk is not None
        }
        assert links(self.cloud) == ({host: wanted} if wanted else {})
        for target in wanted.values():
            assert self.cloud.hosts.path(host, target).exists(), f"{target} is not on {host}"
        assert two_primaries(self.cloud) == []
        assert locks_left(self.cloud) == []
        assert self.cloud.hosts.domains.frozen() == set()

    def check_nothing(self) -> None:
        """All volumes have been deleted, and their blocks are free."""
        assert resources(self.cloud) == set()
        assert links(self.cloud) == {}
        assert locks_left(self.cloud) == []
        nodes = self.cloud.cluster.nodes.values()
        used = {node.name: pool.space.used for node in nodes for pool in node.storage_pools}
        assert set(used.values()) == {0}, used

    # -- parts ---------------------------------------------------------------------------------------

    def _names(self) -> Iterator[str]:
        for volume in self.volumes:
            yield volume.name
            if self.copies:
                yield from (copy_of(volume.name, number) for number in volume.snapshots)

    def _check(self, volume: Volume, host: str) -> None:
        rd = self.cloud.cluster.rd(volume.name)
        found = dict(properties(self.cloud, volume.name))
        companions = set(found.pop("companions", "").split())
        assert companions == ({f"snap{one}" for one in volume.snapshots} if self.copies else set()), rd.name
        if volume.flattened:
            found.pop("flattened", None)
        assert found == {**volume.owner, "complete": volume.name}, f"{rd.name}: {found}"
        snapshots = {one.name for one in rd.snapshots.values() if one.successful and not one.deleting}
        assert len(snapshots) == len(rd.snapshots), rd.snapshots
        wanted = set() if self.copies else set(map(label, volume.snapshots))
        assert snapshots == wanted, f"{rd.name}: {snapshots}"
        assert rd.group in volume.groups, f"{rd.name}: {rd.group}"
        volume.groups = {rd.group}
        volume.replicas = volume.replicas or max(REPLICAS[rd.group], len(rd.diskful))
        self._check_places(rd, volume, {host} if volume.disk is not None else set())
        self._check_content(rd, rd.content_key(0), volume.present)

    def _check_snapshot(self, volume: Volume, number: int, past: Version, host: str) -> None:
        rd = self.cloud.cluster.rd(volume.name)
        if not self.copies:
            snapshot = next(one for one in rd.snapshots.values() if one.name == label(number))
            assert snapshot.volumes[0].size_kib == past.size_mb * 1024, f"{rd.name}: {snapshot}"
            same(f"{rd.name} {snapshot.name}", self._stored(rd.snapshot_key(0, snapshot.name)), past.data)
            return
        copy = copy_of(volume.name, number)
        rd = self.cloud.cluster.rd(copy)
        found = dict(properties(self.cloud, copy))
        assert found.pop("snapshot").split()[0] == str(number), f"{copy}: {rd.props}"
        assert found == {**volume.owner, "complete": copy}, f"{copy}: {found}"
        self._check_places(rd, volume, set())
        self._check_content(rd, rd.content_key(0), past)

    def _check_places(self, rd: ResourceDefinition, volume: Volume, users: set[str]) -> None:
        assert ({rd.group}, rd.flags) == (volume.groups, set()), f"{rd.name}: {rd.group} {rd.flags}"
        roles = on_nodes(self.cloud, rd.name)
        replicas = {node for node, role in roles.items() if role == "disk"}
        assert len(replicas) == volume.replicas, f"{rd.name}: {roles}"
        # Without a controller a tie-breaker serves as well.
        tie_breakers = {node for node, role in roles.items() if role == "tie-breaker"}
        assert len(tie_breakers) == self.cloud.cluster.tie_breaker.wanted(rd), f"{rd.name}: {roles}"
        clients = {node for node, role in roles.items() if role == "diskless"}
        assert clients == users - replicas - tie_breakers, f"{rd.name}: {roles}"
        openers = self.cloud.hosts.devices.openers(rd.content_key(0))
        assert openers <= users, f"{rd.name} is open on {openers}"
        check_windows(self.cloud, rd.name, "nobody migrates")

    def _check_content(self, rd: ResourceDefinition, key: str, wanted: Version) -> None:
        volume = rd.volumes[0]
        assert (volume.size_kib, volume.flags) == (wanted.size_mb * 1024, set()), f"{rd.name}: {volume}"
        assert volume.usable_kib * 1024 == len(wanted.data) >= wanted.size_mb * MIB, f"{rd.name}: {volume}"
        same(rd.name, self._stored(key), wanted.data)

    def _stored(self, key: str) -> bytes:
        # To measure it, the devices are brought to their files.
        self.cloud.hosts.devices.allocated_kib(key)
        return (self.cloud.hosts.layout.contents / quote(key, safe="@")).read_bytes()


def label(number: int) -> str:
    """The LINSTOR snapshot for a snapshot of OpenNebula's."""
    return f"OpenNebula-Snap-{number}"


def copy_of(name: str, number: int) -> str:
    """The volume that stands for a snapshot."""
    return f"{name}-snap{number}"


def same(name: str, found: bytes, wanted: bytes) -> None:
    """Bytes are equal; says where they are not."""
    if found == wanted:
        return
    assert len(found) == len(wanted), f"{name} has {len(found)} bytes instead of {len(wanted)}"
    places = _differences(found, wanted)
    raise AssertionError(f"{name} differs in blocks of 4 KiB from {places[0]} to {places[-1]}: {len(places)}")


def _differences(found: bytes, wanted: bytes, block: int = 4096) -> list[int]:
    starts: Iterable[int] = range(0, len(found), block)
    return [at // block for at in starts if found[at : at + block] != wanted[at : at + block]]
