# SPDX-License-Identifier: Apache-2.0
"""Invariants 30, 32: pools and what groups can take."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import GIB, Clock, Rest

BLOCK = b"x" * 4096


def _pools(rest: Rest, query: str = "") -> dict[str, Any]:
    return {one["node_name"]: one for one in rest.get(f"view/storage-pools?storage_pools=thin{query}")}


def _size_info(rest: Rest, group: str = "one", **body: Any) -> Any:
    answer = rest.post(f"resource-groups/{group}/query-size-info", body)
    assert answer.status == 200
    return answer.json


def test_thin_space_is_used_by_writes(rest: Rest, devices: NoDevices) -> None:
    """Invariant 30: free capacity is physical."""
    rest.spawn("vm-1", 500 * GIB)
    assert _pools(rest)["alice"]["free_capacity"] == 100 * GIB
    devices.write("VM-1/0", 0, BLOCK * 512)
    assert _pools(rest)["alice"]["free_capacity"] == _pools(rest)["bob"]["free_capacity"] == 100 * GIB - 2048
    assert _pools(rest)["charlie"]["free_capacity"] == 100 * GIB
    assert rest.volume("vm-1", "alice")["allocated_size_kib"] == 2048
    rest.delete("resource-definitions/vm-1")
    assert _pools(rest)["alice"]["free_capacity"] == 100 * GIB


def test_thick_space_is_used_by_size(rest_of: Callable[..., Any]) -> None:
    """Invariant 30."""
    _, rest = rest_of(provider="LVM")
    rest.spawn("vm-1", 10 * GIB)
    used = 100 * GIB - _pools(rest)["alice"]["free_capacity"]
    assert 10 * GIB < used < 10 * GIB + 8192
    assert rest.volume("vm-1", "alice")["allocated_size_kib"] == used
    assert _pools(rest)["alice"]["static_traits"] == {"SupportsSnapshots": "false", "Provisioning": "Fat"}


def test_pool_of_an_offline_node(cluster: Cluster, rest: Rest) -> None:
    """Invariant 30: capacities are absent, the report is 1002."""
    cluster.set_online("bob", False)
    pool = _pools(rest)["bob"]
    assert not {"free_capacity", "total_capacity"} & set(pool)
    assert pool["reports"][0]["ret_code"] == -9223372036854774806
    cluster.set_pool_broken("alice", "thin", "volume group is gone")
    assert _pools(rest)["alice"]["reports"][0]["message"] == "volume group is gone"
    assert rest.spawn("vm-1").problem == (500, "E996")


def test_cached_capacity_is_old(rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """Guide 2.3: refreshed by live views, changes and every 180 s."""
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, BLOCK * 512)
    assert _pools(rest, "&cached=true")["alice"]["free_capacity"] == 100 * GIB
    clock.advance(181)
    assert _pools(rest, "&cached=true")["alice"]["free_capacity"] == 100 * GIB - 2048
    devices.write("VM-1/0", 2048 * 1024, BLOCK * 512)
    assert _pools(rest)["alice"]["free_capacity"] == 100 * GIB - 4096
    assert _pools(rest, "&cached=true")["alice"]["free_capacity"] == 100 * GIB - 4096


def test_diskless_pools_are_listed(rest: Rest) -> None:
    """Guide 2.3: with a capacity that a client must not add up."""
    pools = rest.get("view/storage-pools?nodes=dave")
    assert [(one["provider_kind"], one["free_capacity"] > 1 << 60) for one in pools] == [("DISKLESS", True)]
    assert [one["storage_pool_name"] for one in rest.get("nodes/alice/storage-pools")] == [
        "DfltDisklessStorPool",
        "thin",
    ]
    assert rest.call("GET", "nodes/nobody/storage-pools").problem == (404, "E300")


def test_size_info(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Guide 2.4: the largest volume with oversubscription, what fits in all without it.

    The guide says that the sum is divided; LINSTOR's CtrlQuerySizeInfoHelper places volumes one by one.
    """
    info = _size_info(rest)["space_info"]
    assert info["max_vlm_size_in_kib"] == 20 * 100 * GIB
    assert info["available_size_in_kib"] == info["capacity_in_kib"] == 100 * GIB
    assert [one["node_name"] for one in info["next_spawn_result"]] == ["alice", "bob"]
    assert info["default_max_oversubscription_ratio"] == 20.0
    cluster.set_pool_free("alice", "thin", 10 * GIB)
    cluster.set_pool_free("bob", "thin", 30 * GIB)
    info = _size_info(rest)["space_info"]
    assert info["max_vlm_size_in_kib"] == 20 * 30 * GIB
    assert info["available_size_in_kib"] == 40 * GIB
    assert [one["node_name"] for one in info["next_spawn_result"]] == ["charlie", "bob"]
    three = _size_info(rest, "one-three")["space_info"]
    assert three["max_vlm_size_in_kib"] == 20 * 10 * GIB
    assert rest.spawn("vm-1", three["max_vlm_size_in_kib"] + 1, group="one-three").problem == (500, "E996")
    assert rest.spawn("vm-1", three["max_vlm_size_in_kib"], group="one-three").status == 201


def test_size_info_leaves_offline_nodes_out(cluster: Cluster, rest: Rest) -> None:
    """Guide 3.2."""
    cluster.set_online("alice", False)
    assert _size_info(rest)["space_info"]["capacity_in_kib"] == 100 * GIB
    assert _size_info(rest, "one-three")["space_info"]["max_vlm_size_in_kib"] == 0


def test_size_info_filter_and_ratio(rest: Rest) -> None:
    """Guide 2.3, 2.4."""
    rest.post("controller/properties", {"override_props": {"MaxOversubscriptionRatio": "2.5"}})
    info = _size_info(rest, select_filter={"node_name_list": ["alice", "bob"]})["space_info"]
    assert info["max_vlm_size_in_kib"] == 250 * GIB
    assert info["capacity_in_kib"] == 100 * GIB
    assert info["max_oversubscription_ratio"] == 2.5


def test_size_info_from_the_cache(rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """Guide 2.4: an answer that is young enough is repeated."""
    rest.spawn("vm-1", group="one-three")
    before = _size_info(rest, "one-three")
    devices.write("VM-1/0", 0, BLOCK * 512)
    clock.advance(50)
    assert _size_info(rest, "one-three", ignore_cache_older_than_sec=60) == before
    assert _size_info(rest, "one-three", ignore_cache_older_than_sec=40) != before
    devices.write("VM-1/0", 2048 * 1024, BLOCK * 512)
    assert (
        _size_info(rest, "one-three", ignore_cache_older_than_sec=-1)["space_info"]["available_size_in_kib"]
        == 100 * GIB - 2 * 2048
    )


def test_size_info_of_a_missing_group(rest: Rest) -> None:
    """Invariant 32: 200 with a report and without space_info."""
    info = _size_info(rest, "nope")
    assert "space_info" not in info
    assert info["reports"][0]["ret_code"] & 0x7FFF == 317


def test_size_info_of_all_groups(rest: Rest) -> None:
    """Guide 2.4, REST 1.19."""
    answer = rest.post("queries/resource-groups/query-all-size-info", {})
    assert sorted(answer.json["result"]) == ["DfltRscGrp", "one", "one-three"]
    assert answer.json["result"]["one-three"]["space_info"]["capacity_in_kib"] == 100 * GIB


@pytest.mark.parametrize(
    "property_name", ["MaxFreeCapacityOversubscriptionRatio", "MaxOversubscriptionRatio"]
)
def test_oversubscription_limits_placement(rest: Rest, property_name: str) -> None:
    """Guide 2.3: on free and on total capacity."""
    rest.post("controller/properties", {"override_props": {property_name: "1"}})
    assert rest.spawn("vm-1", 101 * GIB).problem == (500, "E996")
    assert rest.spawn("vm-1", 99 * GIB).status == 201
    second = rest.spawn("vm-2", 99 * GIB, select_filter={"node_name_list": ["alice", "bob"]})
    assert (second.status == 500) == (property_name == "MaxOversubscriptionRatio")
