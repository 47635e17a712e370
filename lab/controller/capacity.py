# SPDX-License-Identifier: Apache-2.0
"""query-size-info: what a resource group can still take. Sizes are KiB."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lab.controller.codes import ApiError
from lab.controller.locking import locked
from lab.controller.model import StoragePool
from lab.controller.names import key
from lab.controller.placement import Filter

if TYPE_CHECKING:
    from lab.controller.cluster import Cluster

_RATIO = 20.0


class Capacity:
    """Answers live, or from an earlier answer that is young enough."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}

    @locked
    def query(self, group: str, body: dict[str, Any]) -> dict[str, Any]:
        """Never fails: a missing group is told in ``reports``, without ``space_info``."""
        try:
            rg = self.cluster.rg(group)
        except ApiError as error:
            return {"reports": error.reply.to_json()}
        chosen = body.get("select_filter") or {}
        age = int(body.get("ignore_cache_older_than_sec", 0))
        name = json.dumps([key(group), rg.select_filter, chosen], sort_keys=True)
        now = self.cluster.clock()
        known = self._answers.get(name)
        if known and age > 0 and now - known[0] <= age:
            return copy.deepcopy(known[1])
        self.cluster.pools.refresh()
        answer = {"space_info": self._info(Filter.of(rg.select_filter, chosen))}
        self._answers[name] = (now, answer)
        return copy.deepcopy(answer)

    @locked
    def query_all(self, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "result": {rg.name: self.query(rg.name, body) for _, rg in sorted(self.cluster.rgs.items())},
        }

    def _info(self, wanted: Filter) -> dict[str, Any]:
        largest, pools = self.cluster.placement.largest(wanted, wanted.place_count)
        spaces: dict[str, StoragePool] = {}
        for pool in self.cluster.placement.candidates(wanted):
            spaces.setdefault(pool.shared or f"{pool.node};{pool.name}", pool)
        count = max(1, wanted.place_count)
        ratios = self.cluster.settings.props
        overall = float(ratios.get("MaxOversubscriptionRatio", _RATIO))
        return {
            "max_vlm_size_in_kib": largest,
            "available_size_in_kib": placeable((one.free_kib for one in spaces.values()), count)
            if pools
            else 0,
            "capacity_in_kib": placeable((one.total_kib for one in spaces.values()), count),
            "default_max_oversubscription_ratio": _RATIO,
            "max_oversubscription_ratio": overall,
            "max_free_capacity_oversubscription_ratio": float(
                ratios.get("MaxFreeCapacityOversubscriptionRatio", overall)
            ),
            "max_total_capacity_oversubscription_ratio": float(
                ratios.get("MaxTotalCapacityOversubscriptionRatio", overall)
            ),
            "next_spawn_result": [
                {
                    "node_name": pool.node,
                    "stor_pool_name": pool.name,
                    "stor_pool_oversubscription_ratio": overall if pool.provider.thin else 1.0,
                    "stor_pool_free_capacity_oversubscription_ratio": self.cluster.pools.ratio(
                        pool, "MaxFreeCapacityOversubscriptionRatio"
                    ),
                    "stor_pool_total_capacity_oversubscription_ratio": self.cluster.pools.ratio(
                        pool, "MaxTotalCapacityOversubscriptionRatio"
                    ),
                }
                for pool in pools
            ],
        }


def placeable(rooms: Iterable[int], replicas: int) -> int:
    """What fits in all if one volume after the other is made as large as possible.

    LINSTOR reckons so, not by dividing the sum: a volume needs ``replicas`` pools, and the emptiest ones are taken.
    """
    left = sorted(rooms, reverse=True)
    total = 0
    while len(left) >= replicas:
        largest = left[replicas - 1]
        total += largest
        left = sorted(
            (room for room in [*(one - largest for one in left[:replicas]), *left[replicas:]] if room),
            reverse=True,
        )
    return total
