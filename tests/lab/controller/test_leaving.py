# SPDX-License-Identifier: Apache-2.0
"""Evicted, evacuating and inactive: what is shown, what can still be had there; definitions that change group."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import GIB, TIE_BREAKER, Clock, Rest

RD = "resource-definitions/vm-1"


def _evict(cluster: Cluster, node: str) -> None:
    cluster.set_online(node, False)
    cluster.evict(node)


def test_an_evicted_node(cluster: Cluster, rest: Rest) -> None:
    """EVICTED comes with DELETE on the node, with INACTIVE on its resources; another node takes over."""
    rest.spawn("vm-1")
    _evict(cluster, "bob")
    assert rest.get("nodes/bob")["flags"] == ["DELETE", "EVICTED"]
    assert rest.flags("vm-1") == {
        "alice": [],
        "bob": ["EVICTED", "INACTIVE"],
        "charlie": [],
        "dave": TIE_BREAKER,
    }
    shown = rest.resource("vm-1", "alice")["layer_object"]["drbd"]["connections"]
    assert "bob" not in shown
    rest.spawn("vm-2")
    assert rest.make_available("vm-2", "bob").problem == (404, "E310")
    assert rest.create_resource("bob", name="vm-2").problem == (500, "E975")


def test_an_evicted_node_is_not_connected_again(cluster: Cluster, rest: Rest) -> None:
    _evict(cluster, "bob")
    cluster.set_online("bob", True)
    assert rest.get("nodes/bob")["connection_status"] == "OFFLINE"


def test_only_nodes_that_are_away_are_evicted(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="online"):
        cluster.evict("bob")


def test_nowhere_to_go(cluster: Cluster, rest: Rest) -> None:
    """Without another pool the last replicas stay, and have no quorum to lose."""
    rest.spawn("vm-1", group="one-three")
    _evict(cluster, "bob")
    assert rest.flags("vm-1")["bob"] == ["EVICTED", "INACTIVE"]
    assert rest.flags("vm-1")["dave"] == TIE_BREAKER


def test_making_an_evicted_resource_available(cluster: Cluster, rest: Rest) -> None:
    """It is activated in the database; the satellite does not hear of it."""
    rest.spawn("vm-1")
    _evict(cluster, "bob")
    answer = rest.make_available("vm-1", "bob")
    assert (answer.status, "W1002" in answer.told) == (200, True)
    assert rest.flags("vm-1")["bob"] == []


def test_resources_without_drbd_are_not_evicted(cluster: Cluster, rest: Rest) -> None:
    rest.spawn("vm-1", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    _evict(cluster, "alice")
    assert rest.flags("vm-1") == {"alice": []}


def test_an_evacuating_node(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """What is there can be used, nothing new comes; a replica goes when another one is filled."""
    rest.spawn("vm-1")
    cluster.evacuate("alice")
    assert rest.get("nodes/alice")["flags"] == ["EVACUATE"]
    assert rest.flags("vm-1")["alice"] == ["EVACUATE"]
    assert rest.make_available("vm-1", "alice").status == 200
    rest.spawn("vm-2")
    assert rest.make_available("vm-2", "alice").problem == (404, "E310")
    clock.advance(1)
    assert rest.flags("vm-1") == {"bob": [], "charlie": [], "dave": TIE_BREAKER}
    assert devices.paths("VM-1/0", "alice") == []


def test_evacuation_waits_for_the_user(
    cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock
) -> None:
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    for node in ("alice", "dave"):
        cluster.set_online(node, True)
    devices.open("VM-1/0", "alice")
    cluster.evacuate("alice")
    cluster.evacuate("dave")
    clock.advance(1)
    assert rest.flags("vm-1")["alice"] == ["EVACUATE"]
    assert "dave" not in rest.flags("vm-1")
    devices.close("VM-1/0", "alice")
    assert "alice" not in rest.flags("vm-1")


def test_an_evacuating_node_keeps_no_tie_breaker(cluster: Cluster, rest: Rest) -> None:
    """It moves on, and the automatism stays on."""
    rest.spawn("vm-1")
    cluster.evacuate("charlie")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "dave": TIE_BREAKER}
    assert "DrbdOptions/auto-add-quorum-tiebreaker" not in rest.get(RD)["props"]


def test_a_diskless_on_an_evacuating_node_becomes_none(rest_of: Callable[..., Any]) -> None:
    cluster, rest = rest_of(rest_version="1.27.0")
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    cluster.evacuate("dave")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}


def test_another_group(cluster: Cluster, rest: Rest) -> None:
    """Missing replicas are placed by the new group; properties are those of the new group at once."""
    cluster.add_node("erin", pools=[("fast", "LVM_THIN", 100 * GIB)])
    rest.post("resource-groups", {"name": "fast", "select_filter": {"storage_pool_list": ["fast"]}})
    rest.put("resource-groups/fast", {"override_props": {"DrbdOptions/Net/protocol": "A"}})
    rest.spawn("vm-1")
    assert rest.put(RD, {"resource_group": "nope"}).problem == (404, "E317")
    assert rest.get(RD)["resource_group_name"] == "one"
    assert rest.put(RD, {"resource_group": "fast"}).status == 200
    assert rest.get(RD)["resource_group_name"] == "fast"
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}
    two = {"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}}
    assert rest.put(RD, two).problem == (500, "E998")
    rest.put(RD, {"delete_props": ["DrbdOptions/Net/allow-two-primaries"]})
    more = {"select_filter": {"additional_place_count": 1}}
    assert rest.post(f"{RD}/autoplace", more).status == 201
    assert rest.flags("vm-1")["erin"] == []
    assert rest.resource("vm-1", "erin")["props"]["StorPoolName"] == "fast"
    assert rest.delete_resource("alice").status == 200
    assert rest.flags("vm-1")["bob"] == rest.flags("vm-1")["erin"] == []


def test_leaving_a_group_ends_what_it_gave(rest: Rest, devices: NoDevices) -> None:
    """Two Primaries that the old group allowed."""
    rest.put("resource-groups/one", {"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}})
    rest.spawn("vm-1")
    for node in ("alice", "bob"):
        devices.open("VM-1/0", node)
    assert rest.put(RD, {"resource_group": "DfltRscGrp"}).problem == (500, "E998")
    assert rest.get(RD)["resource_group_name"] == "DfltRscGrp"


def test_a_larger_group_adds_replicas(rest: Rest) -> None:
    rest.spawn("vm-1")
    assert rest.put(RD, {"resource_group": "one-three"}).status == 200
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": []}
    assert rest.put(RD, {"resource_group": "one"}).status == 200
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": []}
    assert rest.post(f"{RD}/autoplace", {"select_filter": {}}).told == ["W1006"]
