# SPDX-License-Identifier: Apache-2.0
"""Hosts that die and networks that break: connections, quorum, fresh and outdated data."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import DeviceBusy, NoDevices

from .support import Clock, Rest


def _drbd(rest: Rest, node: str, name: str = "vm-1") -> Any:
    return rest.resource(name, node)["layer_object"]["drbd"]


def _connected(rest: Rest, node: str) -> dict[str, bool]:
    return {peer: one["connected"] for peer, one in _drbd(rest, node)["connections"].items()}


def _promotable(rest: Rest, name: str = "vm-1") -> list[str]:
    found = rest.get(f"resource-definitions/{name}/resources")
    return [one["node_name"] for one in found if one["layer_object"]["drbd"].get("may_promote")]


def _disk(rest: Rest, node: str) -> str:
    return str(rest.volume("vm-1", node)["state"]["disk_state"])


def _access(devices: NoDevices, *nodes: str) -> list[str]:
    return [devices.access("VM-1/0", node) for node in nodes]


def test_a_dead_host(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Its peers lose the connection; with the tie-breaker they have quorum and can take over."""
    rest.spawn("vm-1")
    assert _connected(rest, "bob") == {"alice": True, "charlie": True}
    devices.open("VM-1/0", "alice")
    assert _promotable(rest) == []
    cluster.set_online("alice", False)
    assert _connected(rest, "bob") == {"alice": False, "charlie": True}
    assert _drbd(rest, "bob")["connections"]["alice"]["message"] == "Connecting"
    assert _promotable(rest) == ["bob", "charlie"]
    assert _access(devices, "alice", "bob", "charlie") == ["none", "rw", "rw"]
    devices.open("VM-1/0", "bob")
    assert rest.resource("vm-1", "bob")["state"] == {"in_use": True}


def test_what_the_controller_forgets_of_an_offline_node(cluster: Cluster, rest: Rest) -> None:
    """State, connections and readiness come from the satellite and vanish with it."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    shown = rest.resource("vm-1", "bob")
    assert "state" not in shown
    assert not {"connections", "may_promote", "promotion_score"} & set(shown["layer_object"]["drbd"])


def test_without_a_majority_nobody_writes(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    rest.spawn("vm-1")
    for node in ("alice", "charlie"):
        cluster.set_online(node, False)
    assert _promotable(rest) == []
    assert _access(devices, "bob") == ["ro"]
    with pytest.raises(OSError, match="can not be opened"):
        devices.open("VM-1/0", "bob")
    cluster.set_online("charlie", True)
    assert _promotable(rest) == ["bob", "charlie"]
    assert _access(devices, "bob") == ["rw"]


def test_without_a_disk_there_is_no_data(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """The tie-breaker and a client see that the disks are gone."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    for node in ("alice", "bob"):
        cluster.set_online(node, False)
    assert _access(devices, "charlie", "dave") == ["none", "none"]
    assert _drbd(rest, "dave")["promotion_score"] == 0
    assert _promotable(rest) == []


def test_clients_do_not_vote_and_follow_the_majority(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    cluster.partition(["alice", "dave"], ["bob", "charlie"])
    assert _connected(rest, "dave") == {"alice": True, "bob": False}
    assert _access(devices, "alice", "dave", "bob", "charlie") == ["ro", "ro", "rw", "rw"]
    cluster.partition(["alice"])
    assert _access(devices, "alice", "dave", "bob", "charlie") == ["ro", "rw", "rw", "rw"]
    assert _promotable(rest) == ["bob", "charlie", "dave"]


def test_a_voting_diskless_is_the_tie_breaker(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Before 1.34 make-available adds one that votes."""
    cluster, rest = rest_of(rest_version="1.27.0")
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    cluster.partition(["alice", "dave"], ["bob"])
    assert _access(devices, "alice", "dave", "bob") == ["rw", "rw", "ro"]


def test_three_disks(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Two of three are a majority; a diskless resource is no help to the third."""
    rest.spawn("vm-1", group="one-three")
    rest.post("resource-definitions/vm-1/resources/dave", {"resource": {"flags": ["DISKLESS"]}})
    cluster.partition(["alice", "dave"], ["bob", "charlie"])
    assert _access(devices, "alice", "dave", "bob", "charlie") == ["ro", "ro", "rw", "rw"]


def test_without_quorum_everybody_goes_on(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """The administrator switched it off: both sides can be opened."""
    cluster, rest = rest_of()
    rest.spawn("vm-1")
    rest.put("resource-definitions/vm-1", {"override_props": {"DrbdOptions/Resource/quorum": "off"}})
    cluster.partition(["alice"], ["bob"])
    assert _access(devices, "alice", "bob") == ["rw", "rw"]
    assert rest.get("nodes/alice")["connection_status"] == "ONLINE"


def test_quorum_of_all(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    rest.spawn("vm-1", group="one-three")
    rest.put("resource-definitions/vm-1", {"override_props": {"DrbdOptions/Resource/quorum": "all"}})
    cluster.partition(["alice"])
    assert _access(devices, "bob", "charlie") == ["ro", "ro"]
    rest.put("resource-definitions/vm-1", {"override_props": {"DrbdOptions/Resource/quorum": "2"}})
    assert _access(devices, "alice", "bob", "charlie") == ["ro", "rw", "rw"]


def test_a_replica_that_misses_writes(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """Outdated while it is cut off, a SyncTarget when it is back, then UpToDate."""
    cluster.sync_seconds = 10.0
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    cluster.partition(["alice", "charlie"], ["bob"])
    assert (_disk(rest, "alice"), _disk(rest, "bob")) == ("UpToDate", "Outdated")
    assert _access(devices, "alice", "bob") == ["rw", "none"]
    assert rest.get("nodes/bob")["connection_status"] == "ONLINE"
    cluster.heal()
    assert _disk(rest, "bob") == "Inconsistent"
    state = rest.volume("vm-1", "bob")["state"]["replication_states"]["alice"]
    assert state["replication_state"] == "SyncTarget"
    assert _access(devices, "bob") == ["rw"]
    clock.advance(11)
    assert _disk(rest, "bob") == "UpToDate"


def test_nothing_written_nothing_missed(cluster: Cluster, rest: Rest) -> None:
    rest.spawn("vm-1")
    cluster.partition(["alice"], ["bob", "charlie"])
    assert _disk(rest, "alice") == _disk(rest, "bob") == "UpToDate"


def test_a_primary_without_quorum_writes_nothing(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """The others are not outdated by it, and go on without it; then its own replica is the old one."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    cluster.partition(["alice"], ["bob", "charlie"])
    assert _disk(rest, "bob") == "UpToDate"
    assert _promotable(rest) == ["bob", "charlie"]
    devices.open("VM-1/0", "bob")
    assert _disk(rest, "alice") == "Outdated"
    assert _access(devices, "alice", "bob") == ["none", "rw"]
    devices.close("VM-1/0", "alice")
    cluster.heal()
    assert (_disk(rest, "alice"), _disk(rest, "bob")) == ("Inconsistent", "UpToDate")


def test_writes_that_nobody_saw_while_it_was_cut_off(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    rest.spawn("vm-1")
    cluster.partition(["alice"])
    devices.open("VM-1/0", "bob")
    cluster.heal()
    assert (_disk(rest, "alice"), _disk(rest, "bob")) == ("Inconsistent", "UpToDate")


def test_writes_that_nobody_saw_while_it_was_down(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    rest.spawn("vm-1")
    cluster.set_online("alice", False)
    devices.open("VM-1/0", "bob")
    cluster.set_online("alice", True)
    assert (_disk(rest, "alice"), _disk(rest, "bob")) == ("Inconsistent", "UpToDate")


def test_the_old_replica_alone(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """A host comes back after the only one with the current data has died: nothing can be opened."""
    rest.spawn("vm-1")
    cluster.set_online("alice", False)
    devices.open("VM-1/0", "bob")
    cluster.set_online("bob", False)
    cluster.set_online("alice", True)
    assert _disk(rest, "alice") == "Outdated"
    assert _promotable(rest) == []
    assert _access(devices, "alice", "charlie") == ["none", "none"]
    devices.close("VM-1/0", "bob")
    cluster.set_online("bob", True)
    assert (_disk(rest, "alice"), _disk(rest, "bob")) == ("Inconsistent", "UpToDate")
    assert _promotable(rest) == ["alice", "bob", "charlie"]


def test_outdate(cluster: Cluster, rest: Rest, clock: Clock) -> None:
    """The lever: lasting while no fresh replica is connected."""
    rest.spawn("vm-1")
    cluster.partition(["alice"], ["bob"])
    cluster.outdate("vm-1", "alice")
    clock.advance(100)
    assert _disk(rest, "alice") == "Outdated"
    assert rest.get("resource-definitions/vm-1/sync-status") == {"synced_on_all": False}
    assert rest.snapshot("vm-1", "snap").problem == (500, "E979")
    cluster.heal()
    assert _disk(rest, "alice") == "Inconsistent"
    clock.advance(1)
    assert _disk(rest, "alice") == "UpToDate"


def test_a_sync_whose_source_dies(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """It starts again when the source is back."""
    cluster.sync_seconds = 10.0
    rest.spawn("vm-1", select_filter={"place_count": 1})
    rest.make_available("vm-1", "bob", diskful=True)
    clock.advance(6)
    cluster.set_online("alice", False)
    clock.advance(100)
    assert _disk(rest, "bob") == "Inconsistent"
    assert _access(devices, "bob") == ["none"]
    cluster.set_online("alice", True)
    clock.advance(6)
    assert _disk(rest, "bob") == "Inconsistent"
    clock.advance(6)
    assert _disk(rest, "bob") == "UpToDate"


def test_peers_notice_a_death_late(rest_of: Callable[..., Any], devices: NoDevices, clock: Clock) -> None:
    """Until then they see a connected Primary."""
    cluster, rest = rest_of(peer_loss_lag=5.0)
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    cluster.set_online("alice", False)
    assert _connected(rest, "bob") == {"alice": True, "charlie": True}
    assert _promotable(rest) == []
    with pytest.raises(OSError, match="can not be opened"):
        devices.open("VM-1/0", "bob")
    clock.advance(6)
    assert _promotable(rest) == ["bob", "charlie"]
    devices.open("VM-1/0", "bob")


def test_a_silent_satellite_is_no_dead_host(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """DRBD goes on: the peers are connected, and the Primary keeps them from being one."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    cluster.set_online("alice", False, satellite_only=True)
    assert "state" not in rest.resource("vm-1", "alice")
    assert _connected(rest, "bob") == {"alice": True, "charlie": True}
    assert _promotable(rest) == []
    assert _access(devices, "alice", "bob") == ["rw", "rw"]
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")


def test_two_primaries_may_be_promoted(rest: Rest, devices: NoDevices) -> None:
    """With a window the second node may, others may not."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    rest.put(
        "resource-definitions/vm-1/resource-connections/alice/bob",
        {"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}},
    )
    assert _promotable(rest) == ["bob"]
    devices.open("VM-1/0", "bob")
    assert _promotable(rest) == []


def test_groups_of_a_partition(cluster: Cluster) -> None:
    with pytest.raises(ValueError, match="two groups"):
        cluster.partition(["alice"], ["bob", "ALICE"])


def test_new_resources_in_a_partition(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """A resource that is made on the wrong side has no access from the start."""
    rest.spawn("vm-1")
    cluster.partition(["dave"])
    assert rest.make_available("vm-1", "dave").status == 200
    assert _access(devices, "dave") == ["none"]
    assert _connected(rest, "dave") == {"alice": False, "bob": False}


def test_stacks_without_drbd_have_no_quorum(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    rest.spawn("vm-1", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    cluster.partition(["alice"])
    assert _access(devices, "alice") == ["rw"]
