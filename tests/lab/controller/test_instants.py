# SPDX-License-Identifier: Apache-2.0
"""What a snapshot or a clone holds: one instant of all its volumes, with I/O suspended, whatever comes of it."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import GIB, Clock, Rest, told

A, B = b"a" * 4096, b"b" * 4096


def test_all_are_suspended_before_the_first_is_taken(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    """Until then all guests can write, and afterwards none: what a watcher writes is in both or in neither."""
    for name in ("vm-1", "vm-2", "vm-3"):
        rest.spawn(name)
    seen = []

    def watch(names: frozenset[str]) -> None:
        seen.append((names, devices.exists("VM-1/0@S1"), devices.exists("VM-2/0@S1")))

    cluster.suspension.watchers.append(watch)
    both = [{"name": "s1", "resource_name": name} for name in ("vm-1", "vm-2")]
    assert rest.post("actions/snapshot/multi", {"snapshots": both}).status == 201
    assert seen == [({"vm-1", "vm-2"}, False, False)]
    assert not cluster.suspension.now
    assert [cluster.suspension.times(name) for name in ("vm-1", "vm-3")] == [1, 0]


@pytest.mark.parametrize("operation", ["snapshot", "snapshot-disconnect"])
def test_one_of_several_fails(cluster: Cluster, rest: Rest, operation: str) -> None:
    """None of the snapshots is usable, all leave a record, and nobody's I/O stays suspended."""
    rest.spawn("vm-1")
    rest.spawn("vm-2", select_filter={"node_name_list": ["bob", "charlie"]})
    cluster.satellites.fail("charlie", operation, "lvcreate failed")
    both = [{"name": "s1", "resource_name": name} for name in ("vm-1", "vm-2")]
    rest.post("actions/snapshot/multi", {"snapshots": both})
    assert [one["flags"] for one in rest.get("view/snapshots")] == [["FAILED_DEPLOYMENT"]] * 2
    assert not cluster.suspension.now


def test_a_late_979_leaves_no_record_of_any(cluster: Cluster, rest: Rest) -> None:
    cluster.sync_seconds = 60
    rest.spawn("vm-1")
    rest.spawn("vm-2")
    cluster.outdate("vm-2", "bob")
    both = [{"name": "s1", "resource_name": name} for name in ("vm-1", "vm-2")]
    assert rest.post("actions/snapshot/multi", {"snapshots": both}).problem == (500, "E979")
    assert rest.get("view/snapshots") == []
    assert not cluster.suspension.now


def test_names_differ_by_more_than_case(rest: Rest) -> None:
    rest.spawn("vm-1")
    assert rest.snapshot("vm-1", "Snap-1").status == 201
    assert rest.snapshot("VM-1", "snap-1").problem == (500, "E514")
    assert rest.get("resource-definitions/vm-1/snapshots/SNAP-1")["name"] == "Snap-1"
    assert rest.delete("resource-definitions/vm-1/snapshots/sNAP-1").told == ["S2"]


def test_evacuating_nodes_get_none(cluster: Cluster, rest: Rest) -> None:
    """A warning without a code; 302 when that leaves none."""
    rest.spawn("vm-1")
    cluster.node("bob").flags.add("EVACUATE")
    answer = rest.snapshot("vm-1", "s1")
    assert (answer.status, answer.told) == (201, ["W0", "S1"])
    assert rest.get("resource-definitions/vm-1/snapshots/s1")["nodes"] == ["alice"]
    cluster.node("alice").flags.add("EVACUATE")
    assert rest.snapshot("vm-1", "s2").problem == (404, "E302")


def test_support_is_asked_of_replicas_that_get_none(
    cluster: Cluster, rest_of: Callable[..., Any], clock: Clock
) -> None:
    """One replica on plain LVM, offline besides, and LINSTOR before 1.35 refuses."""
    cluster, rest = rest_of()
    cluster.pools.add(cluster.node("bob"), "thick", "LVM", 10 * GIB)
    rest.post("controller/properties", {"override_props": {"AllowMixingStoragePoolDriver": "true"}})
    rest.spawn("vm-1", select_filter={"place_count": 1, "node_name_list": ["alice"]})
    assert rest.create_resource("bob", pool="thick").status == 201
    clock.advance(1)
    cluster.set_online("bob", False)
    assert rest.snapshot("vm-1", "s1").problem == (500, "E994")
    assert rest.snapshot("vm-1", "s1", nodes=["alice"]).problem == (500, "E994")


def test_a_snapshot_that_can_not_be_deleted(cluster: Cluster, rest: Rest) -> None:
    """The record stays with the flag DELETE, on the nodes that still have it; the next request ends it."""
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    cluster.satellites.fail("bob", "snapshot-delete", "lvremove failed")
    path = "resource-definitions/vm-1/snapshots/s1"
    assert rest.delete(path).problem == (500, "E998")
    shown = rest.get(path)
    assert "DELETE" in shown["flags"]
    assert shown["nodes"] == ["bob"]
    assert rest.delete("resource-definitions/vm-1").problem == (500, "E514")
    assert rest.delete(path).told == ["S2"]
    assert rest.get("resource-definitions/vm-1/snapshots") == []


def test_a_zfs_snapshot_with_dependents_goes(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """It is renamed: what only it had stays used until the volume restored from it is gone."""
    _, rest = rest_of(provider="ZFS_THIN")

    def used() -> int:
        pools = rest.get("nodes/alice/storage-pools?storage_pools=thin")
        return 100 * GIB - int(pools[0]["free_capacity"])

    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * 1024)
    rest.snapshot("vm-1", "s1")
    devices.write("VM-1/0", 0, B * 1024)
    rest.post("resource-definitions", {"resource_definition": {"name": "vm-2"}})
    for what in ("volume-definition", "resource"):
        path = f"resource-definitions/vm-1/snapshot-restore-{what}/s1"
        assert rest.post(path, {"to_resource": "vm-2"}).status == 200
    before = used()
    assert rest.delete("resource-definitions/vm-1/snapshots/s1").told == ["S2"]
    assert rest.delete("resource-definitions/vm-1").status == 200
    assert devices.read("VM-2/0", 0, 4096) == A
    assert used() == before
    rest.delete("resource-definitions/vm-2")
    assert used() == 0


# --- clones


def test_a_clone_has_the_bytes_of_the_call(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Later writes, and the end of the source, do not matter, although the copy has not even begun."""
    cluster.clone_looks = 3
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A)
    seen: list[frozenset[str]] = []
    cluster.suspension.watchers.append(seen.append)
    assert rest.clone("vm-1", "vm-2").status == 201
    assert seen == [{"vm-1"}]
    devices.write("VM-1/0", 0, B)
    rest.delete("resource-definitions/vm-1")
    while rest.clone_status("vm-1", "vm-2") == "CLONING":
        pass
    assert devices.read("VM-2/0", 0, 4096) == A


@pytest.mark.parametrize(("release", "status"), [("1.32.1", 201), ("1.32.2", 500)])
def test_every_satellite_of_the_source_is_needed(
    rest_of: Callable[..., Any], release: str, status: int
) -> None:
    """The tie-breaker's, too: else a definition is left that stays CLONING for ever, and the name is taken."""
    cluster, rest = rest_of(rest_version="1.26.0", linstor_version=release)
    rest.spawn("vm-1")
    cluster.set_online("charlie", False)
    answer = rest.clone("vm-1", "vm-2")
    assert answer.status == status
    assert "E995" in told(answer.json["messages"])
    assert rest.clone_status("vm-1", "vm-2") == "FAILED"
    cluster.set_online("charlie", True)
    assert [rest.clone_status("vm-1", "vm-2") for _ in range(3)] == ["CLONING"] * 3
    assert rest.get("resource-definitions/vm-2")["flags"] == ["CLONING"]
    assert rest.clone("vm-1", "vm-2").problem == (500, "E501")
    assert not cluster.suspension.now
    assert rest.delete("resource-definitions/vm-2").status == 200
    rest.finished_clone("vm-1", "vm-2")
