# SPDX-License-Identifier: Apache-2.0
"""The autoplacer: which pools take the replicas of a resource."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lab.controller.model import Node, ResourceDefinition, StoragePool
from lab.controller.names import key

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

DEFAULT_COUNT = 2


@dataclass
class Filter:
    """An AutoSelectFilter with defaults."""

    place_count: int = DEFAULT_COUNT
    additional: int = 0
    nodes: set[str] = field(default_factory=set)
    pools: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    layers: list[str] = field(default_factory=list)
    apart_from: set[str] = field(default_factory=set)
    apart_from_regex: str = ""
    same: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    at_most: dict[str, int] = field(default_factory=dict)
    diskless_on_remaining: bool = False

    @classmethod
    def of(cls, *levels: dict[str, Any]) -> Filter:
        """Merge select filters; later ones override single fields."""
        merged: dict[str, Any] = {}
        for level in levels:
            merged.update({name: value for name, value in level.items() if value is not None})
        pools = list(merged.get("storage_pool_list") or ())
        if merged.get("storage_pool"):
            pools.append(merged["storage_pool"])
        return cls(
            place_count=int(merged.get("place_count", DEFAULT_COUNT)),
            additional=int(merged.get("additional_place_count", 0)),
            nodes={key(one) for one in merged.get("node_name_list") or ()},
            pools={key(one) for one in pools},
            providers={one.upper() for one in merged.get("provider_list") or ()},
            layers=[one.upper() for one in merged.get("layer_stack") or ()],
            apart_from={key(one) for one in merged.get("not_place_with_rsc") or ()},
            apart_from_regex=merged.get("not_place_with_rsc_regex") or "",
            same=list(merged.get("replicas_on_same") or ()),
            different=list(merged.get("replicas_on_different") or ()),
            at_most=dict(merged.get("x_replicas_on_different_map") or {}),
            diskless_on_remaining=bool(merged.get("diskless_on_remaining", False)),
        )


def _label(node: Node, constraint: str) -> str | None:
    return node.props.get(constraint.partition("=")[0])


class Placement:
    """Chooses pools by most free space; equal ones by node name, so that tests are repeatable."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def candidates(self, wanted: Filter, rd: ResourceDefinition | None = None) -> list[StoragePool]:
        """Pools that the filter and the nodes' states leave, best first, whatever their free space."""
        occupied = self._occupied(wanted)
        held = {key(one.node) for one in rd.diskful} if rd else set()
        deleting = {name for name, one in rd.resources.items() if one.deleting} if rd else set()
        found = []
        for name, node in self.cluster.nodes.items():
            if not node.placeable or name in occupied or name in held or name in deleting:
                continue
            if not _admits(wanted, node):
                continue
            found += [
                pool
                for pool_name, pool in node.pools.items()
                if pool in node.storage_pools
                and not pool.broken
                and (not wanted.pools or pool_name in wanted.pools)
                and (not wanted.providers or pool.kind in wanted.providers)
            ]
        return sorted(found, key=lambda pool: (-pool.free_kib, key(pool.node), key(pool.name)))

    def takes_diskless(self, rd: ResourceDefinition, node: Node, at_most: int | None = None) -> bool:
        """Whether the group's constraints let a diskless resource on the node help the definition's disks.

        ``at_most``: instead of the group's own limits of replicas per label.
        """
        wanted = Filter.of(self.cluster.group_of(rd).select_filter)
        if at_most is not None:
            wanted.at_most = dict.fromkeys(wanted.at_most, at_most)
        disks = [self.cluster.nodes[name] for name, one in rd.resources.items() if not one.diskless]
        return _admits(wanted, node) and (node in disks or _fits(wanted, disks, node))

    def choose(
        self, wanted: Filter, count: int, size_kib: int, rd: ResourceDefinition | None = None
    ) -> list[StoragePool] | None:
        """``count`` pools on different nodes that can take ``size_kib`` each; None when impossible."""
        fitting = [
            one for one in self.candidates(wanted, rd) if self.cluster.pools.creatable(one) >= size_kib
        ]
        return self._combine(wanted, count, fitting, rd)

    def largest(self, wanted: Filter, count: int) -> tuple[int, list[StoragePool]]:
        """Size of the largest volume that can be placed, and where."""
        candidates = self.candidates(wanted)
        sizes = sorted({self.cluster.pools.creatable(one) for one in candidates}, reverse=True)
        for size in sizes:
            fitting = [one for one in candidates if self.cluster.pools.creatable(one) >= size]
            chosen = self._combine(wanted, count, fitting, None)
            if chosen is not None:
                return size, chosen
        return 0, []

    def _combine(
        self, wanted: Filter, count: int, fitting: list[StoragePool], rd: ResourceDefinition | None
    ) -> list[StoragePool] | None:
        present = [self.cluster.nodes[key(one.node)] for one in rd.diskful] if rd else []
        existing = [volume.pool for one in rd.diskful for volume in one.volumes.values()] if rd else []
        kinds = {pool.provider.thin for pool in existing} or {True, False}
        best: list[StoragePool] | None = None
        for thin in sorted(kinds, reverse=True):
            usable = [pool for pool in fitting if pool.provider.thin == thin]
            chosen = self._search(wanted, count, usable, present, [])
            if chosen is not None and (best is None or _free(chosen) > _free(best)):
                best = chosen
        return best

    def _search(
        self,
        wanted: Filter,
        count: int,
        usable: list[StoragePool],
        present: list[Node],
        chosen: list[StoragePool],
    ) -> list[StoragePool] | None:
        if len(chosen) == count:
            return chosen
        for index, pool in enumerate(usable):
            nodes = present + [self.cluster.nodes[key(one.node)] for one in chosen]
            node = self.cluster.nodes[key(pool.node)]
            if node in nodes or not _fits(wanted, nodes, node):
                continue
            found = self._search(wanted, count, usable[index + 1 :], present, [*chosen, pool])
            if found is not None:
                return found
        return None

    def _occupied(self, wanted: Filter) -> set[str]:
        """Nodes that hold a resource which this one must stay away from."""
        if not wanted.apart_from and not wanted.apart_from_regex:
            return set()
        others: Iterable[ResourceDefinition] = [
            rd
            for name, rd in self.cluster.rds.items()
            if name in wanted.apart_from
            or (wanted.apart_from_regex and re.fullmatch(wanted.apart_from_regex, rd.name, re.IGNORECASE))
        ]
        return {key(one.node) for rd in others for one in rd.diskful}


def _admits(wanted: Filter, node: Node) -> bool:
    """What the filter says of a node by itself."""
    return (not wanted.nodes or key(node.name) in wanted.nodes) and all(
        _label(node, one) == one.partition("=")[2] for one in wanted.same if "=" in one
    )


def _free(pools: list[StoragePool]) -> int:
    return sum(pool.free_kib for pool in pools)


def _fits(wanted: Filter, nodes: list[Node], node: Node) -> bool:
    for constraint in wanted.same:
        if "=" not in constraint and any(
            _label(one, constraint) != _label(node, constraint) for one in nodes
        ):
            return False
    for constraint in wanted.different:
        label = _label(node, constraint)
        if label is not None and any(_label(one, constraint) == label for one in nodes):
            return False
    for constraint, most in wanted.at_most.items():
        label = _label(node, constraint)
        if label is not None and sum(_label(one, constraint) == label for one in nodes) >= most:
            return False
    return True
