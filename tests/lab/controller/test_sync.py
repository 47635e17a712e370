# SPDX-License-Identifier: Apache-2.0
"""Invariants 23, 24: device paths, syncs, toggling disks."""

from __future__ import annotations

from typing import Any, Callable

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import DISKLESS, GIB, Clock, Rest


def test_device_paths(rest: Rest, devices: NoDevices) -> None:
    """Invariant 23: one minor per volume, the same on all nodes, the lowest free; by-res keeps case."""
    rest.spawn("Vm-A", GIB, GIB, partial=True)
    rest.spawn("vm-b")
    assert {rest.volume("vm-a", node, 1)["device_path"] for node in ("alice", "bob")} == {"/dev/drbd1001"}
    assert rest.volume("vm-b", "alice")["device_path"] == "/dev/drbd1002"
    assert devices.paths("VM-A/1", "bob") == ["/dev/drbd1001", "/dev/drbd/by-res/Vm-A/1"]
    shown = rest.resource("vm-a", "bob")["layer_object"]["drbd"]["drbd_volumes"]
    assert [one["device_path"] for one in shown] == ["/dev/drbd1000", "/dev/drbd1001"]
    rest.delete("resource-definitions/vm-a")
    rest.spawn("vm-c")
    assert rest.volume("vm-c", "alice")["device_path"] == "/dev/drbd1000"


def test_a_new_replica_is_synced(rest: Rest, clock: Clock, cluster: Cluster) -> None:
    """Invariant 24: Inconsistent and SyncTarget with a rising percentage, then UpToDate."""
    cluster.sync_seconds = 10.0
    rest.spawn("vm-1")
    assert rest.volume("vm-1", "bob")["state"]["disk_state"] == "UpToDate"
    toggled = rest.put("resource-definitions/vm-1/resources/charlie/toggle-disk", {"storage_pool": "thin"})
    assert toggled.status == 200
    seen = []
    for _ in range(3):
        state = rest.volume("vm-1", "charlie")["state"]
        assert state["disk_state"] == "Inconsistent"
        peer = state["replication_states"]["alice"]
        assert peer["replication_state"] == "SyncTarget"
        seen.append(peer["done_percentage"])
        assert rest.get("resource-definitions/vm-1/sync-status") == {"synced_on_all": False}
        clock.advance(3)
    assert seen == sorted(set(seen))
    source = rest.volume("vm-1", "alice")["state"]["replication_states"]["charlie"]
    assert source["replication_state"] == "SyncSource"
    clock.advance(3)
    assert rest.volume("vm-1", "charlie")["state"]["disk_state"] == "UpToDate"
    assert rest.get("resource-definitions/vm-1/sync-status") == {"synced_on_all": True}


def test_thick_replicas_are_synced_from_the_start(rest_of: Callable[..., Any], clock: Clock) -> None:
    """Invariant 24 and guide 3.1."""
    _, rest = rest_of(provider="LVM")
    rest.spawn("vm-1")
    states = [rest.volume("vm-1", node)["state"]["disk_state"] for node in ("alice", "bob")]
    assert states == ["UpToDate", "Inconsistent"]


def test_without_a_source_a_replica_never_gets_its_data(rest: Rest, clock: Clock) -> None:
    """Invariant 24: removing the only good copy is not healed by time."""
    rest.spawn("vm-1", select_filter={"place_count": 1})
    rest.make_available("vm-1", "bob", diskful=True)
    rest.delete_resource("alice")
    clock.advance(1000)
    assert rest.volume("vm-1", "bob")["state"]["disk_state"] == "Inconsistent"


def test_toggle_disk(rest_of: Callable[..., Any], clock: Clock) -> None:
    """Guide 2.7: old and new calls, 991 for the last disk, warnings for no-ops, migration of a disk."""
    _, old = rest_of(rest_version="1.27.0")
    path = "resource-definitions/vm-1/resources"
    old.spawn("vm-1")
    assert old.call("PUT", f"{path}/alice/toggle-disk/diskful").told == ["W1007"]
    assert old.call("PUT", f"{path}/alice/toggle-disk/diskless").status == 200
    assert old.flags("vm-1")["alice"] == DISKLESS
    assert old.call("PUT", f"{path}/alice/toggle-disk/diskless").told == ["W1008"]
    assert old.call("PUT", f"{path}/bob/toggle-disk/diskless").problem == (500, "E991")
    assert old.call("PUT", f"{path}/alice/toggle-disk/diskful/nope").problem == (404, "E310")
    assert old.call("PUT", f"{path}/charlie/toggle-disk/diskful").problem == (404, "E302")
    assert old.call("PUT", f"{path}/alice/migrate-disk/bob/thin").status == 200
    assert old.flags("vm-1") == {"alice": [], "bob": []}
    clock.advance(1)
    assert old.flags("vm-1") == {"alice": []}


def test_toggle_into_a_client(rest: Rest) -> None:
    """Guide 2.7, REST 1.28."""
    rest.spawn("vm-1")
    body = {"operation": "INTO_DRBD_CLIENT"}
    assert rest.put("resource-definitions/vm-1/resources/bob/toggle-disk", body).status == 200
    assert "CLIENT" in rest.resource("vm-1", "bob")["layer_object"]["drbd"]["flags"]
    assert rest.flags("vm-1") == {"alice": [], "bob": DISKLESS}
