# SPDX-License-Identifier: Apache-2.0
"""Records of the controller's database. Sizes are KiB, timestamps epoch milliseconds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from lab.controller.names import key
from lab.controller.progress import Progress
from lab.controller.providers import DISKLESS, PROVIDERS, Provider
from lab.controller.space import Space

Props = dict[str, str]


def new_uuid() -> str:
    return str(uuid.uuid4())


@dataclass
class StoragePool:
    """A pool of one node. ``foreign_kib``: blocks used by others than LINSTOR."""

    node: str
    name: str
    kind: str
    total_kib: int
    props: Props = field(default_factory=dict)
    foreign_kib: int = 0
    broken: str = ""
    shared: str = ""
    uuid: str = field(default_factory=new_uuid)
    space: Space = field(default_factory=Space)
    cached_free_kib: int = 0
    cached_at: float = 0.0

    @property
    def provider(self) -> Provider:
        return PROVIDERS[self.kind]

    @property
    def backing(self) -> str:
        return str(self.props.get("StorDriver/StorPoolName", self.name))

    @property
    def free_kib(self) -> int:
        return max(0, self.total_kib - self.foreign_kib - self.space.used)


@dataclass
class Node:
    """``running``: the host works, whether its satellite talks to the controller or not."""

    name: str
    address: str
    status: str = "ONLINE"
    flags: set[str] = field(default_factory=set)
    props: Props = field(default_factory=dict)
    pools: dict[str, StoragePool] = field(default_factory=dict)
    eviction_timestamp: int | None = None
    running: bool = True
    uuid: str = field(default_factory=new_uuid)
    interface_uuid: str = field(default_factory=new_uuid)
    resource_count: int = 0

    @property
    def online(self) -> bool:
        return self.status == "ONLINE"

    @property
    def placeable(self) -> bool:
        return (
            self.online
            and not self.flags & {"EVICTED", "EVACUATE", "DELETE"}
            and self.props.get("AutoplaceTarget", "true").lower() != "false"
        )

    @property
    def storage_pools(self) -> list[StoragePool]:
        return [pool for pool in self.pools.values() if pool.kind != DISKLESS]


@dataclass
class VolumeGroup:
    number: int
    props: Props = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    uuid: str = field(default_factory=new_uuid)


@dataclass
class ResourceGroup:
    name: str
    description: str = ""
    props: Props = field(default_factory=dict)
    select_filter: dict[str, Any] = field(default_factory=dict)
    volume_groups: dict[int, VolumeGroup] = field(default_factory=dict)
    peer_slots: int | None = None
    uuid: str = field(default_factory=new_uuid)


@dataclass
class VolumeDefinition:
    """``usable_kib`` is the size of the device: never below ``size_kib``; 0 before the first deployment."""

    number: int
    size_kib: int
    minor: int
    props: Props = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    usable_kib: int = 0
    uuid: str = field(default_factory=new_uuid)


@dataclass
class Volume:
    """One replica's volume. ``made``: the satellite made it; ``sync`` is None when no peer had to fill it.

    ``outdated``: others wrote while it was not connected. ``usable_kib``: size of its storage as LINSTOR shows
    it while a resize has not reached all replicas; None when it is that of the volume definition.
    ``never_filled``: its metadata is new and no peer is UpToDate, so it stays Inconsistent.
    """

    pool: StoragePool
    made: bool = False
    sync: Progress | None = None
    outdated: bool = False
    usable_kib: int | None = None
    never_filled: bool = False
    props: Props = field(default_factory=dict)
    uuid: str = field(default_factory=new_uuid)

    @property
    def up_to_date(self) -> bool:
        return not (self.outdated or self.never_filled) and (self.sync is None or self.sync.done)


@dataclass
class Resource:
    """``deployed``: the satellite made the devices; ``client``: DRBD client without a vote.

    ``access``: what the devices were told last, by volume number; not told is "rw".
    """

    definition: str
    node: str
    node_id: int
    flags: set[str] = field(default_factory=set)
    props: Props = field(default_factory=dict)
    volumes: dict[int, Volume] = field(default_factory=dict)
    client: bool = False
    deployed: bool = False
    failure: str = ""
    created_ms: int = 0
    pool: str = ""
    exposed: set[int] = field(default_factory=set)
    access: dict[int, str] = field(default_factory=dict)
    uuid: str = field(default_factory=new_uuid)

    @property
    def diskless(self) -> bool:
        return "DISKLESS" in self.flags

    @property
    def tie_breaker(self) -> bool:
        return "TIE_BREAKER" in self.flags

    @property
    def deleting(self) -> bool:
        return bool(self.flags & {"DELETE", "DRBD_DELETE"})

    @property
    def inactive(self) -> bool:
        return "INACTIVE" in self.flags

    @property
    def helping(self) -> bool:
        """Diskless, but not a mere client: can break a tie."""
        return self.diskless and not self.client and not self.deleting and not self.inactive

    @property
    def configured(self) -> bool:
        """Part of DRBD's configuration on the other nodes: they forget it with DELETE, not with DRBD_DELETE."""
        return not self.flags & {"DELETE", "INACTIVE"}


@dataclass
class SnapshotVolume:
    number: int
    size_kib: int
    usable_kib: int
    definition_props: Props = field(default_factory=dict)


@dataclass
class Snapshot:
    """``nodes``: node key -> (node name, pool name, timestamp). ``has_content`` is False for failed ones.

    ``renamed``: on ZFS it belongs to a volume that was deleted since, and kept under another name.
    """

    name: str
    definition: str
    nodes: dict[str, tuple[str, str, int]]
    volumes: dict[int, SnapshotVolume]
    definition_props: Props
    props: Props = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    has_content: bool = False
    renamed: bool = False
    sequence: int = 0
    uuid: str = field(default_factory=new_uuid)
    node_uuids: dict[str, str] = field(default_factory=dict)

    @property
    def successful(self) -> bool:
        return "SUCCESSFUL" in self.flags

    @property
    def deleting(self) -> bool:
        return "DELETE" in self.flags


@dataclass
class ResourceDefinition:
    """``contents``: volume numbers whose bytes exist. ``windows``: pairs of node keys between which DRBD allows
    two Primaries now; ``writers``: nodes that the devices were told to let write together; ``died_primary``:
    keys of nodes that went down as Primary; ``retry_at``: when satellites that failed are asked again.

    ``migration``: (source, target) of the managed window; ``protocol_before``: the connection on which that
    window changed the protocol (None: on the definition), and the value that was set there.
    """

    name: str
    group: str
    layers: list[str]
    external_name: str = ""
    props: Props = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    volumes: dict[int, VolumeDefinition] = field(default_factory=dict)
    resources: dict[str, Resource] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    connections: dict[tuple[str, str], Props] = field(default_factory=dict)
    contents: set[int] = field(default_factory=set)
    windows: set[tuple[str, str]] = field(default_factory=set)
    writers: set[str] | None = None
    died_primary: set[str] = field(default_factory=set)
    retry_at: float | None = None
    quorum_by_user: bool = False
    peer_slots: int = 7
    port: int = 7000
    secret: str = ""
    clone: Progress | None = None
    cloned: bool = False
    migration: tuple[str, str] | None = None
    protocol_before: tuple[tuple[str, str] | None, str | None] | None = None
    uuid: str = field(default_factory=new_uuid)

    @property
    def drbd(self) -> bool:
        return "DRBD" in self.layers

    @property
    def diskful(self) -> list[Resource]:
        """Resources with a disk that stay."""
        return [one for one in self.resources.values() if not (one.diskless or one.deleting or one.inactive)]

    @property
    def diskful_or_deleting(self) -> list[Resource]:
        """Resources that have a disk, or had one until their deletion began."""
        return [one for one in self.resources.values() if not one.diskless]

    def content_key(self, number: int) -> str:
        return f"{key(self.name)}/{number}"

    def snapshot_key(self, number: int, snapshot: str) -> str:
        return f"{key(self.name)}/{number}@{key(snapshot)}"
