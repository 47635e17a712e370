# SPDX-License-Identifier: Apache-2.0
"""Storage pools: registration, capacities live and cached, and what may still be created in them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lab.controller import props
from lab.controller.locking import locked
from lab.controller.model import Node, StoragePool
from lab.controller.names import key
from lab.controller.providers import PROVIDERS

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

_DEFAULT_RATIO = 20.0
_DEFAULT_INTERVAL = 180.0


class Pools:
    """Capacities in KiB.

    ``refresh`` asks satellites with thin pools, as LINSTOR does before each placement; the cached view shows
    what was known at the last refresh or change, at most ``UpdateCacheInterval`` seconds old.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def add(self, node: Node, name: str, kind: str, total_kib: int) -> StoragePool:
        if kind not in PROVIDERS:
            raise ValueError(f"unknown provider kind {kind}")
        backing = "vg0/thin" if kind == "LVM_THIN" else "/var/lib/linstor" if kind[:4] == "FILE" else "vg0"
        pool = StoragePool(node.name, name, kind, total_kib, {"StorDriver/StorPoolName": backing})
        node.pools[key(name)] = pool
        self.note(pool)
        return pool

    def set_free(self, node: str, name: str, free_kib: int) -> None:
        pool = self.cluster.pool_of(node, name)
        if pool is None:
            raise KeyError(f"{node}/{name}")
        self.measure(pool)
        pool.foreign_kib = max(0, pool.total_kib - pool.space.used - free_kib)
        self.note(pool)

    def note(self, pool: StoragePool) -> None:
        """The satellite told the free space along with its reaction to a change."""
        pool.cached_free_kib = pool.free_kib
        pool.cached_at = self.cluster.clock()

    def measure(self, pool: StoragePool) -> None:
        """Look at the blocks that the thin volumes and snapshots of the pool really use."""
        for content in pool.space.measurable():
            pool.space.measure(content, self.cluster.devices.allocated_kib(content))

    def refresh(self, nodes: Iterable[Node] | None = None) -> None:
        """Ask the online satellites that have thin pools."""
        for node in self.cluster.nodes.values() if nodes is None else nodes:
            thin = [pool for pool in node.storage_pools if pool.provider.thin]
            if thin and node.online:
                self.cluster.satellites.ask([node.name])
            if node.online:
                for pool in node.storage_pools:
                    self.measure(pool)
                    self.note(pool)

    def ratio(self, pool: StoragePool, name: str) -> float:
        """Oversubscription ratio: the special property, then the general one, on pool then controller."""
        if not pool.provider.thin:
            return 1.0
        for level in (pool.props, self.cluster.settings.props):
            for one in (name, "MaxOversubscriptionRatio"):
                if one in level:
                    return float(level[one])
        return _DEFAULT_RATIO

    def creatable(self, pool: StoragePool) -> int:
        """Largest volume that the pool takes now, oversubscription included."""
        if not pool.provider.thin:
            return pool.free_kib
        by_free = pool.free_kib * self.ratio(pool, "MaxFreeCapacityOversubscriptionRatio")
        by_total = pool.total_kib * self.ratio(pool, "MaxTotalCapacityOversubscriptionRatio")
        return max(0, int(min(by_free, by_total - pool.space.reserved)))

    @locked
    def list_all(
        self, nodes: list[str], pools: list[str], filters: list[str], cached: bool
    ) -> list[dict[str, Any]]:
        wanted_nodes, wanted_pools = {key(one) for one in nodes}, {key(one) for one in pools}
        chosen = [
            node
            for name, node in sorted(self.cluster.nodes.items())
            if not wanted_nodes or name in wanted_nodes
        ]
        if cached:
            interval = float(self.cluster.settings.props.get("UpdateCacheInterval", _DEFAULT_INTERVAL))
            now = self.cluster.clock()
            for node in chosen:
                if any(now - pool.cached_at > interval for pool in node.storage_pools) and node.online:
                    for pool in node.storage_pools:
                        self.measure(pool)
                        self.note(pool)
        else:
            self.refresh(chosen)
        return [
            self.cluster.views.pool(node, pool)
            for node in chosen
            for name, pool in sorted(node.pools.items())
            if (not wanted_pools or name in wanted_pools) and props.matches(pool.props, filters)
        ]
