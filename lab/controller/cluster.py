# SPDX-License-Identifier: Apache-2.0
"""The database of a controller, and the collaborators that change it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Callable

from lab.controller import codes, versions
from lab.controller.attachment import Attachment
from lab.controller.availability import Availability
from lab.controller.capacity import Capacity
from lab.controller.clones import Clones
from lab.controller.codes import failure
from lab.controller.connections import Connections
from lab.controller.connectivity import Connectivity
from lab.controller.definitions import Definitions
from lab.controller.deletion import Deletion
from lab.controller.deployment import Deployment
from lab.controller.dying import Dying
from lab.controller.events import Events
from lab.controller.freshness import Freshness
from lab.controller.groups import Groups
from lab.controller.kvs import KeyValueStore
from lab.controller.leaving import Leaving
from lab.controller.migration import Migration
from lab.controller.model import Node, Resource, ResourceDefinition, ResourceGroup, Snapshot, StoragePool
from lab.controller.names import key
from lab.controller.nodes import Nodes
from lab.controller.numbers import Numbers
from lab.controller.placement import Placement
from lab.controller.pools import Pools
from lab.controller.quorum import Quorum
from lab.controller.resize import Resize
from lab.controller.resources import Resources
from lab.controller.restore import Restore
from lab.controller.rollback import Rollback
from lab.controller.safety import Safety
from lab.controller.satellites import Satellites
from lab.controller.settings import Settings
from lab.controller.snapshots import Snapshots
from lab.controller.suspension import Suspension
from lab.controller.tiebreaker import TieBreaker
from lab.controller.toggle import Toggle
from lab.controller.views import Views
from lab.controller.volume_definitions import VolumeDefinitions
from lab.controller.windows import Windows
from lab.devices_protocol import Devices


class Cluster:
    """A LINSTOR cluster in memory.

    Public methods of the collaborators take ``lock`` themselves, so tests may call them while a server runs.
    Times are seconds: ``sync_seconds`` for filling a new replica, ``clone_seconds`` and ``clone_looks`` for a
    clone (looks: how often its status is asked before it is complete), ``in_use_lag`` for the news of an open
    or close, ``peer_loss_lag`` until DRBD on the other hosts notices that a host went down. What time alone
    brings about (that, a sync that ends) reaches the devices with the next call that looks at the resource.

    ``linstor_version`` is the release, by default the first one with that REST version; it decides about defects
    that later releases with the same REST version do not have.
    """

    def __init__(
        self,
        devices: Devices,
        rest_version: str = "1.28.0",
        *,
        clock: Callable[[], float] = time.time,
        sync_seconds: float = 0.2,
        clone_seconds: float = 0.0,
        clone_looks: int = 1,
        in_use_lag: float = 0.0,
        peer_loss_lag: float = 0.0,
        linstor_version: str = "",
    ) -> None:
        self.lock = threading.RLock()
        self.devices = devices
        self.rest_version = versions.parse(rest_version)
        self.rest_version_text = rest_version
        self.linstor_version_text = linstor_version or versions.release(self.rest_version)
        self.linstor_version = versions.parse(self.linstor_version_text.partition("-")[0])
        self.clock = clock
        self.sync_seconds = sync_seconds
        self.clone_seconds = clone_seconds
        self.clone_looks = clone_looks
        self.in_use_lag = in_use_lag
        self.peer_loss_lag = peer_loss_lag
        self.nodes: dict[str, Node] = {}
        self.rgs: dict[str, ResourceGroup] = {key("DfltRscGrp"): ResourceGroup("DfltRscGrp")}
        self.rds: dict[str, ResourceDefinition] = {}
        self.external_names: dict[str, str] = {}
        self.members: dict[str, set[str]] = {}
        self.numbers = Numbers()

        self.satellites = Satellites(self)
        self.suspension = Suspension(self)
        self.connectivity = Connectivity(self)
        self.quorum = Quorum(self)
        self.freshness = Freshness(self)
        self.windows = Windows(self)
        self.attachment = Attachment(self)
        self.events = Events(self)
        self.node_calls = Nodes(self)
        self.pools = Pools(self)
        self.capacity = Capacity(self)
        self.placement = Placement(self)
        self.tie_breaker = TieBreaker(self)
        self.deployment = Deployment(self)
        self.deletion = Deletion(self)
        self.groups = Groups(self)
        self.definitions = Definitions(self)
        self.volume_definitions = VolumeDefinitions(self)
        self.resources = Resources(self)
        self.toggle = Toggle(self)
        self.leaving = Leaving(self)
        self.migration = Migration(self)
        self.availability = Availability(self)
        self.connections = Connections(self)
        self.snapshots = Snapshots(self)
        self.restore = Restore(self)
        self.resize = Resize(self)
        self.rollback = Rollback(self)
        self.safety = Safety(self)
        self.dying = Dying(self)
        self.clones = Clones(self)
        self.kvs = KeyValueStore(self)
        self.settings = Settings(self)
        self.views = Views(self)

    # --- look-ups

    def at_least(self, version: str) -> bool:
        return self.rest_version >= versions.parse(version)

    def node(self, name: str) -> Node:
        """Raises 300."""
        try:
            return self.nodes[key(name)]
        except KeyError:
            raise failure(codes.NOT_FOUND_NODE, f"Node '{name}' not found.") from None

    def rg(self, name: str) -> ResourceGroup:
        """Raises 317."""
        try:
            return self.rgs[key(name)]
        except KeyError:
            raise failure(codes.NOT_FOUND_RSC_GRP, f"Resource group '{name}' not found.") from None

    def rd(self, name: str) -> ResourceDefinition:
        """Raises 301."""
        try:
            return self.rds[key(name)]
        except KeyError:
            raise failure(
                codes.NOT_FOUND_RSC_DFN,
                f"Resource definition '{name}' not found.",
                cause="The database has no resource definition of this name.",
                correction="Check the spelling, or create the resource definition.",
            ) from None

    def resource(self, rd_name: str, node_name: str) -> Resource:
        """Raises 301, 300 or 302."""
        rd = self.rd(rd_name)
        node = self.node(node_name)
        try:
            return rd.resources[key(node.name)]
        except KeyError:
            raise failure(
                codes.NOT_FOUND_RSC, f"Resource '{rd_name}' on node '{node_name}' not found."
            ) from None

    def snapshot(self, rd_name: str, name: str, code: int = codes.NOT_FOUND_SNAPSHOT_DFN) -> Snapshot:
        """Raises 301, or the given code when the snapshot is missing."""
        rd = self.rd(rd_name)
        try:
            return rd.snapshots[key(name)]
        except KeyError:
            raise failure(code, f"Snapshot '{name}' of resource '{rd_name}' not found.") from None

    def group_of(self, rd: ResourceDefinition) -> ResourceGroup:
        return self.rgs[key(rd.group)]

    def inherited(self, rd: ResourceDefinition, name: str) -> str | None:
        """Value that counts for the definition: own, then group, then controller."""
        for level in (rd.props, self.group_of(rd).props, self.settings.props):
            if name in level:
                return str(level[name])
        return None

    def pool_of(self, node_name: str, pool_name: str) -> StoragePool | None:
        node = self.nodes.get(key(node_name))
        return node.pools.get(key(pool_name)) if node else None

    def settle(self, rd: ResourceDefinition) -> None:
        """Carry out what the controller does by itself when its time has come."""
        self.toggle.settle(rd)
        self.deletion.retry(rd)

    def now_ms(self) -> int:
        return int(self.clock() * 1000)

    # --- levers for tests and the demo

    def add_node(
        self,
        name: str,
        *,
        pools: Iterable[tuple[str, str, int]] = (),
        address: str = "",
        props: dict[str, str] | None = None,
    ) -> Node:
        """Register an online satellite; ``pools``: (name, provider kind, total KiB)."""
        with self.lock:
            return self.node_calls.add(name, list(pools), address, props or {})

    def set_online(
        self, name: str, online: bool, *, status: str = "OFFLINE", satellite_only: bool = False
    ) -> None:
        """Lose or regain a node; regaining carries out what was put off.

        OFFLINE means that the whole host is down and DRBD on the others loses it, unless ``satellite_only``: then
        DRBD and the host's programs go on, only the controller does not hear of them. Any other status than
        OFFLINE leaves the host running, too.
        """
        with self.lock:
            self.node_calls.set_status(name, "ONLINE" if online else status, satellite_only)

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut DRBD's links between groups of nodes; the controller still sees all. Nodes that are not named form
        one more group."""
        with self.lock:
            self.connectivity.partition(groups)
            self._refresh_all()

    def heal(self) -> None:
        """End a partition: replicas that missed writes are filled again."""
        with self.lock:
            for rd in self.rds.values():
                self.freshness.update(rd)
            self.connectivity.heal()
            self._refresh_all()

    def _refresh_all(self) -> None:
        for rd in self.rds.values():
            self.attachment.refresh(rd)

    def outdate(self, rd_name: str, node: str) -> None:
        """Let the replica of a node have missed writes; it is filled again when an UpToDate one is connected."""
        with self.lock:
            rd = self.rd(rd_name)
            self.freshness.outdate(rd, node)
            self.attachment.refresh(rd)

    def set_pool_free(self, node: str, pool: str, free_kib: int) -> None:
        """Let other users of the pool take so much that this is left."""
        with self.lock:
            self.pools.set_free(node, pool, free_kib)

    def set_pool_broken(self, node: str, pool: str, message: str) -> None:
        """A message makes the satellite report an error for the pool; an empty one ends that."""
        with self.lock:
            found = self.pool_of(node, pool)
            if found is None:
                raise KeyError(f"{node}/{pool}")
            found.broken = message

    def evict(self, name: str) -> None:
        """Auto-evict a node that is offline for too long: its replicas are made elsewhere if possible."""
        with self.lock:
            self.leaving.evict(name)

    def evacuate(self, name: str) -> None:
        """Take a node out of placement (flag EVACUATE), and move its replicas to others."""
        with self.lock:
            self.leaving.evacuate(name)
