# SPDX-License-Identifier: Apache-2.0
"""Rollbacks that do not go all the way: what is left of the volume, its resources, properties and snapshots."""

from __future__ import annotations

import http.client
from typing import Any, Callable

import pytest

from lab.controller import Cluster, dying
from lab.devices_protocol import NoDevices

from .rollbacks import RD, ZEROS, A, B, prepared, rollback, snapshots, states
from .support import DISKLESS, GIB, Clock, Rest


def test_properties_of_the_snapshot_come_over_those_of_now(rest: Rest, devices: NoDevices) -> None:
    prepared(rest, devices)
    rest.put(RD, {"override_props": {"Aux/one/vm": "8", "Aux/one/new": "1"}})
    assert rollback(rest).status == 200
    props = rest.get(RD)["props"]
    assert (props["Aux/one/vm"], props["Aux/one/new"]) == ("7", "1")


def test_snapshots_before_and_after_survive(rest: Rest, devices: NoDevices) -> None:
    prepared(rest, devices)
    rest.snapshot("vm-1", "s2")
    devices.write("VM-1/0", 0, ZEROS)
    rest.snapshot("vm-1", "s3")
    assert rollback(rest, "s2").status == 200
    assert devices.read("VM-1/0", 0, 4096) == B
    assert snapshots(rest) == ["s1", "s2", "s3"]
    assert rollback(rest, "s1").status == 200
    assert devices.read("VM-1/0", 0, 4096) == A


def test_windows_of_the_old_resources_are_gone(rest: Rest, devices: NoDevices) -> None:
    prepared(rest, devices)
    path = f"{RD}/resource-connections/alice/bob"
    rest.put(path, {"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}})
    assert rollback(rest).status == 200
    assert "props" not in rest.get(path)


def test_a_failed_safety_snapshot_does_not_stop_it(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """The reply is an error, and the volume was rolled back all the same."""
    prepared(rest, devices)
    cluster.satellites.fail("bob", "snapshot", "lvcreate failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == A
    assert snapshots(rest) == ["s1"]
    assert states(rest, "alice", "bob") == ["UpToDate", "UpToDate"]


def test_without_all_replicas_in_sync_nothing_happens(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    prepared(rest, devices)
    cluster.sync_seconds = 60
    cluster.outdate("vm-1", "bob")
    assert rollback(rest).problem == (500, "E979")
    assert devices.read("VM-1/0", 0, 4096) == B
    assert rest.flags("vm-1")["dave"] == DISKLESS
    assert snapshots(rest) == ["s1"]


@pytest.mark.parametrize("how", ["failure", "reader"])
def test_a_disk_that_can_not_be_deleted(
    cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock, how: str
) -> None:
    """The data of now stays, the other disk is made again and filled; the diskless resources are gone."""
    prepared(rest, devices)
    if how == "reader":
        devices.open("VM-1/0", "bob", write=False)
    else:
        cluster.satellites.fail("bob", "delete", "lvremove failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == B
    assert rest.flags("vm-1") == {"alice": [], "bob": []}
    assert states(rest, "alice", "bob") == ["Inconsistent", "UpToDate"]
    assert devices.paths("VM-1/0", "alice")
    assert snapshots(rest) == ["s1"]
    clock.advance(61)
    assert states(rest, "alice", "bob") == ["UpToDate", "UpToDate"]
    assert rest.flags("vm-1") == {"alice": [], "bob": []}


def test_a_diskless_that_can_not_be_deleted(
    cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock
) -> None:
    """The disks are not touched; the diskless resources stay marked, and go with the next try."""
    prepared(rest, devices)
    cluster.satellites.fail("dave", "delete", "drbdadm down failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == B
    assert states(rest, "alice", "bob") == ["UpToDate", "UpToDate"]
    assert all("DELETE" in rest.flags("vm-1")[node] for node in ("charlie", "dave"))
    clock.advance(61)
    rest.get("view/resources")
    assert rest.flags("vm-1") == {"alice": [], "bob": []}


def test_one_node_fails_to_restore(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """It goes on with the others; the node is filled by them later."""
    prepared(rest, devices)
    cluster.satellites.fail("bob", "restore", "lvcreate failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == A
    assert snapshots(rest) == ["s1"]
    assert states(rest, "alice") == ["UpToDate"]
    assert rest.flags("vm-1")["dave"] == DISKLESS
    clock.advance(61)
    rest.get("view/resources")
    clock.advance(1)
    assert states(rest, "alice", "bob") == ["UpToDate", "UpToDate"]


def test_all_nodes_fail_to_restore(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Nothing has the data but the snapshot: with the next try, on which nothing fails, new volumes are made."""
    prepared(rest, devices)
    for node in ("alice", "bob"):
        cluster.satellites.fail(node, "restore", "lvcreate failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == ZEROS
    assert snapshots(rest) == ["s1"]
    assert rollback(rest).status == 200
    assert devices.read("VM-1/0", 0, 4096) == A


def test_a_refused_restore_goes_back_to_the_safety_snapshot(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    """The data of now is back, the resources without a disk are not."""
    prepared(rest, devices)
    rest.put(RD, {"override_props": {"Aux/one/vm": "8"}})
    cluster.satellites.fail("bob", "restore-refused", "no space left in the pool")
    assert rollback(rest).problem == (500, "E206")
    assert devices.read("VM-1/0", 0, 4096) == B
    assert rest.get(RD)["props"]["Aux/one/vm"] == "8"
    flags = rest.flags("vm-1")
    assert (flags["alice"], flags["bob"]) == ([], [])
    assert DISKLESS not in flags.values()
    assert snapshots(rest) == ["s1"]


@pytest.mark.parametrize("why", ["refused", "no-safety"])
def test_without_a_way_back_the_volume_is_gone(
    cluster: Cluster, rest: Rest, devices: NoDevices, why: str
) -> None:
    """The safety snapshot is deleted, needed or not. Other snapshots are all that is left."""
    prepared(rest, devices)
    refusals = 2
    if why == "no-safety":
        cluster.satellites.fail("alice", "snapshot", "lvcreate failed")
        refusals = 1
    cluster.satellites.fail("bob", "restore-refused", "no space left in the pool", times=refusals)
    assert rollback(rest).problem[0] == 500
    assert rest.flags("vm-1") == {}
    assert not devices.exists("VM-1/0")
    assert snapshots(rest) == ["s1"]
    assert rest.get(f"{RD}/volume-definitions/0")["size_kib"] == GIB
    restored = rest.post(f"{RD}/snapshot-restore-resource/s1", {"to_resource": "vm-1"})
    assert restored.status == 200
    assert devices.read("VM-1/0", 0, 4096) == A


def test_a_node_that_can_not_be_made_available_again(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    prepared(rest, devices)
    cluster.satellites.fail("dave", "create", "drbdadm up failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == A
    assert devices.paths("VM-1/0", "dave") == []
    assert devices.paths("VM-1/0", "alice")


# --- the controller dies


def _die(rest: Rest, cluster: Cluster, stage: str) -> None:
    cluster.dying.at(stage)
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        rollback(rest)


@pytest.mark.parametrize(
    ("stage", "content", "diskless"),
    [("safety-taken", B, True), ("restored", B, False), ("safety-deleted", A, False)],
)
def test_the_controller_dies_and_recovers(
    cluster: Cluster,
    rest: Rest,
    devices: NoDevices,
    stage: str,
    content: bytes,
    diskless: bool,
) -> None:
    """As long as there is a safety snapshot, it is what is restored; then only the resources are made again
    that there were at that moment."""
    prepared(rest, devices)
    _die(rest, cluster, stage)
    assert devices.read("VM-1/0", 0, 4096) == content
    rest.close()
    flags = rest.flags("vm-1")
    assert (flags["alice"], flags["bob"]) == ([], [])
    assert ("dave" in flags) == diskless
    assert snapshots(rest) == ["s1"]


def test_nobody_recovers_a_definition_without_resources(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    """All resources are deleted when the controller dies: no satellite reports one, and the safety snapshot
    stays, which has the data."""
    prepared(rest, devices)
    _die(rest, cluster, "deleted")
    rest.close()
    cluster.set_online("alice", False)
    cluster.set_online("alice", True)
    assert rest.flags("vm-1") == {}
    _, safety = rest.get(f"{RD}/snapshots")
    assert safety["name"].startswith("safety-snap-")
    assert safety["flags"] == ["SAFETY_SNAPSHOT", "SUCCESSFUL"]
    assert rest.delete(RD).problem == (500, "E514")
    path = f"{RD}/snapshot-restore-resource/{safety['name']}"
    assert rest.post(path, {"to_resource": "vm-1"}).status == 200
    assert devices.read("VM-1/0", 0, 4096) == B


def test_it_recovers_only_when_all_satellites_are_there(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    prepared(rest, devices)
    cluster.dying.at("restored")
    with pytest.raises(dying.ControllerDied):
        cluster.rollback.roll_back("vm-1", "s1", {})
    cluster.set_online("bob", False, satellite_only=True)
    cluster.dying.start_again()
    assert devices.read("VM-1/0", 0, 4096) == A
    assert len(snapshots(rest)) == 2
    cluster.set_online("bob", True)
    assert devices.read("VM-1/0", 0, 4096) == B
    assert snapshots(rest) == ["s1"]


def test_recovery_with_a_failed_safety_snapshot_loses_the_volume(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    """The disks are made again, empty."""
    prepared(rest, devices)
    cluster.satellites.fail("bob", "snapshot", "lvcreate failed")
    _die(rest, cluster, "safety-taken")
    rest.close()
    assert devices.read("VM-1/0", 0, 4096) == ZEROS
    assert rest.flags("vm-1")["alice"] == []
    assert snapshots(rest) == ["s1"]


@pytest.mark.parametrize("provider", ["LVM_THIN", "ZFS_THIN", "ZFS", "FILE_THIN", "FILE"])
def test_space_after_rollbacks(rest_of: Callable[..., Any], devices: NoDevices, provider: str) -> None:
    """Whatever was rolled back and how often: when all is deleted, the pool is empty."""
    _, rest = rest_of(provider=provider, sync_seconds=0.0)
    prepared(rest, devices)
    rest.snapshot("vm-1", "s2")
    for snapshot in ("s2", "s1", "s2"):
        assert rollback(rest, snapshot).status == 200
    for snapshot in ("s1", "s2"):
        rest.delete(f"{RD}/snapshots/{snapshot}")
    rest.delete(RD)
    pools = rest.get("view/storage-pools?storage_pools=thin")
    assert {one["free_capacity"] for one in pools} == {100 * GIB}
