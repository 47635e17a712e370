# SPDX-License-Identifier: Apache-2.0
"""Invariant 16: the autoplacer."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import DISKLESS, GIB, Rest


def _disks(rest: Rest, name: str = "vm-1") -> list[str]:
    return sorted(node for node, flags in rest.flags(name).items() if not flags)


def _autoplace(rest: Rest, name: str = "vm-1", **chosen: Any) -> Any:
    return rest.post(f"resource-definitions/{name}/autoplace", {"select_filter": chosen})


def test_never_more_than_wanted(rest: Rest) -> None:
    """Invariant 16: a met count is warning 1006 with 201."""
    rest.spawn("vm-1")
    met = _autoplace(rest)
    assert (met.status, met.told) == (201, ["W1006"])
    assert _autoplace(rest, place_count=1).told == ["W1006"]
    assert len(_disks(rest)) == 2
    assert _autoplace(rest, place_count=3).status == 201
    assert len(_disks(rest)) == 3


def test_additional_count_comes_on_top(rest: Rest) -> None:
    """Invariant 16 and guide 2.7."""
    rest.spawn("vm-1")
    assert _autoplace(rest, additional_place_count=1).status == 201
    assert len(_disks(rest)) == 3


def test_not_enough_nodes_changes_nothing(rest: Rest) -> None:
    """Invariant 16."""
    rest.spawn("vm-1")
    before = rest.flags("vm-1")
    answer = _autoplace(rest, place_count=4)
    assert answer.problem == (500, "E996")
    assert rest.flags("vm-1") == before


def test_unfit_nodes_are_not_chosen(cluster: Cluster, rest: Rest) -> None:
    """Invariant 16: offline, evacuating, not a target."""
    cluster.set_online("alice", False)
    rest.spawn("vm-1")
    assert _disks(rest) == ["bob", "charlie"]
    cluster.set_online("alice", True)
    cluster.evacuate("bob")
    rest.spawn("vm-2")
    assert _disks(rest, "vm-2") == ["alice", "charlie"]
    rest.put("nodes/charlie", {"override_props": {"AutoplaceTarget": "false"}})
    assert rest.spawn("vm-3").problem == (500, "E996")


def test_a_connected_node_that_is_not_online_is_not_chosen(cluster: Cluster, rest: Rest) -> None:
    """Invariant 16 and guide 2.2: CONNECTED is not ONLINE."""
    cluster.set_online("alice", False, status="CONNECTED")
    assert rest.get("nodes/alice")["connection_status"] == "CONNECTED"
    rest.spawn("vm-1")
    assert _disks(rest) == ["bob", "charlie"]


def test_most_free_space_first(cluster: Cluster, rest: Rest) -> None:
    """Invariant 16: a pool that is too full is left out, oversubscription counts."""
    cluster.set_pool_free("alice", "thin", GIB)
    rest.spawn("vm-1", 15 * GIB)
    assert _disks(rest) == ["bob", "charlie"]
    rest.spawn("vm-2", 21 * GIB, select_filter={"place_count": 2, "node_name_list": ["alice", "bob"]})
    assert rest.call("GET", "resource-definitions/vm-2").status == 404
    rest.spawn("vm-2", 19 * GIB, select_filter={"place_count": 2, "node_name_list": ["alice", "bob"]})
    assert _disks(rest, "vm-2") == ["alice", "bob"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"node_name_list": ["bob", "CHARLIE"]}, ["bob", "charlie"]),
        ({"replicas_on_different": ["Aux/site"]}, ["alice", "charlie"]),
        ({"replicas_on_same": ["Aux/site"]}, ["alice", "bob"]),
        ({"replicas_on_same": ["Aux/site=south"], "place_count": 1}, ["charlie"]),
        ({"x_replicas_on_different_map": {"Aux/site": 1}}, ["alice", "charlie"]),
        ({"not_place_with_rsc": ["other"]}, ["alice", "charlie"]),
        ({"not_place_with_rsc_regex": "oth.*"}, ["alice", "charlie"]),
        ({"provider_list": ["ZFS"]}, None),
        ({"storage_pool_list": ["nope"]}, None),
        ({"replicas_on_different": ["Aux/site"], "place_count": 3}, None),
    ],
)
def test_constraints(rest: Rest, chosen: dict[str, Any], expected: list[str] | None) -> None:
    """Invariant 16."""
    for node, site in (("alice", "north"), ("bob", "north"), ("charlie", "south")):
        rest.put(f"nodes/{node}", {"override_props": {"Aux/site": site}})
    rest.spawn("other", select_filter={"place_count": 1, "node_name_list": ["bob"]})
    answer = rest.spawn("vm-1", select_filter=chosen)
    if expected is None:
        assert answer.problem == (500, "E996")
    else:
        assert _disks(rest) == expected


def test_a_diskless_node_may_get_the_disk(rest: Rest, devices: NoDevices) -> None:
    """Invariant 16: the tie-breaker's node is free for a replica."""
    rest.spawn("vm-1", select_filter={"node_name_list": ["alice", "bob"]})
    assert "TIE_BREAKER" in rest.flags("vm-1")["charlie"]
    _autoplace(rest, place_count=3)
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": []}


def test_diskless_on_remaining(rest: Rest) -> None:
    """Guide 2.4."""
    rest.spawn("vm-1", select_filter={"diskless_on_remaining": True})
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": DISKLESS, "dave": DISKLESS}


def test_thin_and_thick_are_not_mixed(rest_of: Callable[..., Any]) -> None:
    """Guide 3.7: 221 on explicit creation, and the autoplacer does not try."""
    cluster, rest = rest_of()
    cluster.add_node("erin", pools=[("thick", "LVM", 500 * GIB)])
    rest.post("resource-groups", {"name": "any", "select_filter": {"place_count": 4}})
    assert rest.spawn("vm-1", group="any").problem == (500, "E996")
    rest.spawn("vm-2")
    answer = rest.post(
        "resource-definitions/vm-2/resources/erin",
        {"resource": {"props": {"StorPoolName": "thick"}}},
    )
    assert answer.problem == (500, "E221")


def test_eviction_moves_replicas(cluster: Cluster, rest: Rest) -> None:
    """Guide 3.2: an evicted node's replica is made elsewhere, the node is no target any more."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    assert rest.get("nodes/bob")["eviction_timestamp"] > 0
    cluster.evict("bob")
    assert rest.get("nodes/bob")["flags"] == ["DELETE", "EVICTED"]
    flags = rest.flags("vm-1")
    assert flags["charlie"] == []
    assert "EVICTED" in flags["bob"]
    assert rest.make_available("vm-1", "bob").status == 200
    assert rest.spawn("vm-2").status == 201
    assert _disks(rest, "vm-2") == ["alice", "charlie"]
