# SPDX-License-Identifier: Apache-2.0
"""Invariants 25 to 27: snapshots, restore, rollback; with the bytes."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import DISKLESS, GIB, TIE_BREAKER, Clock, Rest

A, B, C = (letter * 4096 for letter in (b"a", b"b", b"c"))


def _rollback(rest: Rest, snapshot: str, name: str = "vm-1", **body: Any) -> Any:
    return rest.post(f"resource-definitions/{name}/snapshot-rollback/{snapshot}", body)


def _restore(rest: Rest, snapshot: str, target: str, source: str = "vm-1", **body: Any) -> Any:
    path = f"resource-definitions/{source}/snapshot-restore-resource/{snapshot}"
    return rest.post(path, {"to_resource": target, **body})


def _restore_volumes(rest: Rest, snapshot: str, target: str, source: str = "vm-1") -> Any:
    path = f"resource-definitions/{source}/snapshot-restore-volume-definition/{snapshot}"
    return rest.post(path, {"to_resource": target})


def _define(rest: Rest, name: str, *sizes: int, **more: Any) -> None:
    rest.post("resource-definitions", {"resource_definition": {"name": name, **more}})
    for size in sizes:
        rest.post(
            f"resource-definitions/{name}/volume-definitions", {"volume_definition": {"size_kib": size}}
        )


def test_a_snapshot_keeps_the_bytes_of_its_instant(rest: Rest, devices: NoDevices) -> None:
    """Invariant 25: SUCCESSFUL, on all replicas with a disk; the source may be in use."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    devices.write("VM-1/0", 0, A)
    answer = rest.snapshot("vm-1", "s1")
    assert (answer.status, answer.told) == (201, ["S1"])
    devices.write("VM-1/0", 0, B)
    shown = rest.get("resource-definitions/vm-1/snapshots/s1")
    assert shown["flags"] == ["SUCCESSFUL"]
    assert sorted(shown["nodes"]) == ["alice", "bob"]
    assert shown["volume_definitions"] == [{"volume_number": 0, "size_kib": GIB}]
    assert shown["snapshots"][0]["create_timestamp"] == 1_800_000_000_000
    assert devices.read("VM-1/0@S1", 0, 4096) == A


def test_snapshot_errors(rest: Rest) -> None:
    """Invariant 25: 514, 301, 994 for diskless; 404 with 315 when missing; lists answer empty."""
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    assert rest.snapshot("vm-1", "s1").problem == (500, "E514")
    assert rest.snapshot("nope", "s1").problem == (404, "E301")
    assert rest.snapshot("vm-1", "s2", nodes=["charlie"]).problem == (500, "E994")
    assert rest.call("GET", "resource-definitions/vm-1/snapshots/s2").problem == (404, "E315")
    assert rest.call("GET", "resource-definitions/nope/snapshots").problem == (404, "E301")
    assert rest.get("view/snapshots?resources=nope") == []
    missing = rest.delete("resource-definitions/vm-1/snapshots/s2")
    assert (missing.status, missing.told) == (200, ["W3000"])


def test_snapshot_needs_replicas_in_sync(rest: Rest, clock: Clock) -> None:
    """Invariant 25: 979 and no record."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "charlie", diskful=True)
    assert rest.snapshot("vm-1", "s1").problem == (500, "E979")
    assert rest.get("resource-definitions/vm-1/snapshots") == []
    clock.advance(1)
    assert rest.snapshot("vm-1", "s1").status == 201
    assert len(rest.get("view/snapshots?resources=VM-1")[0]["nodes"]) == 3


def test_offline_nodes_are_left_out(cluster: Cluster, rest: Rest) -> None:
    """Invariant 25: with a warning; 995 when no replica is left."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    answer = rest.snapshot("vm-1", "s1")
    assert (answer.status, answer.told) == (201, ["W0", "S1"])
    assert "obj_refs" not in answer.json[0]
    assert rest.get("resource-definitions/vm-1/snapshots/s1")["nodes"] == ["alice"]
    assert rest.get("view/snapshots?nodes=bob") == []
    cluster.set_online("alice", False)
    assert rest.snapshot("vm-1", "s2").problem == (500, "E995")


@pytest.mark.parametrize(
    ("provider", "version", "problem"),
    [
        ("LVM", "1.28.0", (500, "E994")),
        ("LVM", "1.29.0", (201, "")),
        ("ZFS", "1.28.0", (201, "")),
        ("FILE_THIN", "1.28.0", (201, "")),
    ],
)
def test_snapshot_support(
    rest_of: Callable[..., Any], clock: Clock, provider: str, version: str, problem: tuple[int, str]
) -> None:
    """Invariant 25: plain LVM only since REST 1.29."""
    _, rest = rest_of(provider=provider, rest_version=version)
    pool = next(
        one
        for one in rest.get("view/storage-pools")
        if one["node_name"] == "alice" and one["storage_pool_name"] == "thin"
    )
    assert pool["supports_snapshots"] == (problem[0] == 201)
    rest.spawn("vm-1")
    clock.advance(1)
    assert rest.snapshot("vm-1", "s1").problem == problem


@pytest.mark.parametrize(
    ("operation", "status", "entries"),
    [("snapshot", 500, ["S1", "E998"]), ("snapshot-disconnect", 201, ["S1", "W1002"])],
)
def test_a_failed_snapshot_is_a_record(
    cluster: Cluster, rest: Rest, operation: str, status: int, entries: list[str]
) -> None:
    """Invariant 25: never SUCCESSFUL, restore and rollback refuse it with 998, it can be deleted.

    When a satellite is lost on the way, the reply is a success all the same.
    """
    rest.spawn("vm-1")
    cluster.satellites.fail("bob", operation, "lvcreate failed")
    answer = rest.snapshot("vm-1", "s1")
    assert (answer.status, answer.told) == (status, entries)
    assert rest.get("resource-definitions/vm-1/snapshots/s1")["flags"] == ["FAILED_DEPLOYMENT"]
    assert not cluster.suspension.now
    _define(rest, "vm-2", GIB)
    assert _restore(rest, "s1", "vm-2").problem == (500, "E998")
    assert _rollback(rest, "s1").problem == (500, "E998")
    assert rest.delete("resource-definitions/vm-1/snapshots/s1").told == ["S2"]
    assert rest.snapshot("vm-1", "s1").status == 201


def test_several_resources_at_once(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 25: all or nothing."""
    rest.spawn("vm-1")
    rest.spawn("vm-2")
    both = [{"name": "s1", "resource_name": name} for name in ("vm-1", "vm-2")]
    rest.snapshot("vm-2", "s1")
    assert rest.post("actions/snapshot/multi", {"snapshots": both}).problem == (500, "E514")
    assert rest.get("resource-definitions/vm-1/snapshots") == []
    rest.delete("resource-definitions/vm-2/snapshots/s1")
    assert rest.post("actions/snapshot/multi", {"snapshots": both}).status == 201
    assert [one["flags"] for one in rest.get("view/snapshots")] == [["SUCCESSFUL"], ["SUCCESSFUL"]]


def test_snapshot_props(rest: Rest) -> None:
    """Guide 2.9: given at creation and changed later (REST 1.26)."""
    rest.spawn("vm-1", resource_definition_props={"Aux/one/vm": "7"})
    rest.snapshot("vm-1", "s1", snapshot_definition_props={"Aux/one/snap": "3"})
    path = "resource-definitions/vm-1/snapshots/s1"
    assert rest.put(path, {"override_props": {"Aux/one/done": "1"}}).status == 200
    shown = rest.get(path)
    assert shown["snapshot_definition_props"] == {"Aux/one/snap": "3", "Aux/one/done": "1"}
    assert shown["resource_definition_props"]["Aux/one/vm"] == "7"
    assert rest.put("resource-definitions/vm-1/snapshots/nope", {}).problem == (404, "E313")


def test_delete_with_an_offline_node_leaves_an_orphan(
    cluster: Cluster, rest: Rest, devices: NoDevices
) -> None:
    """Guide 2.9: the record goes, the blocks on that node stay used."""
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * 256)
    rest.snapshot("vm-1", "s1")
    devices.write("VM-1/0", 0, B * 256)
    cluster.set_online("bob", False)
    assert rest.delete("resource-definitions/vm-1/snapshots/s1").told == ["W1002", "S2"]
    cluster.set_online("bob", True)
    rest.delete("resource-definitions/vm-1")
    free = {
        one["node_name"]: one["free_capacity"] for one in rest.get("view/storage-pools?storage_pools=thin")
    }
    assert free["alice"] == free["charlie"] == 100 * GIB
    assert free["bob"] == 100 * GIB - 1024


def test_delete_some_copies(rest: Rest) -> None:
    """Guide 2.9."""
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    rest.delete("resource-definitions/vm-1/snapshots/s1?nodes=bob")
    assert rest.get("resource-definitions/vm-1/snapshots/s1")["nodes"] == ["alice"]
    rest.delete("resource-definitions/vm-1/snapshots/s1?nodes=alice")
    assert rest.get("resource-definitions/vm-1/snapshots") == []


# --- restore


def test_restore(rest: Rest, devices: NoDevices) -> None:
    """Invariant 26: bytes and nodes of the snapshot, properties overwritten, source untouched."""
    rest.spawn("vm-1", resource_definition_props={"Aux/one/vm": "7"})
    devices.write("VM-1/0", 4096, A)
    rest.snapshot("vm-1", "s1")
    devices.write("VM-1/0", 4096, B)
    _define(rest, "vm-2", props={"Aux/one/vm": "8", "Aux/mine": "1"}, resource_group_name="one")
    assert _restore_volumes(rest, "s1", "vm-2").status == 200
    assert _restore_volumes(rest, "s1", "vm-2").problem == (500, "E503")
    restored = _restore(rest, "s1", "vm-2")
    assert restored.status == 200
    assert devices.read("VM-2/0", 4096, 4096) == A
    assert devices.read("VM-1/0", 4096, 4096) == B
    flags = rest.flags("vm-2")
    assert (flags["alice"], flags["bob"]) == ([], [])
    assert TIE_BREAKER in flags.values()
    props = rest.get("resource-definitions/vm-2")["props"]
    assert (props["Aux/one/vm"], props["Aux/mine"]) == ("7", "1")
    assert rest.volume("vm-2", "bob")["state"]["disk_state"] == "UpToDate"
    # an LVM_THIN copy is independent
    rest.delete("resource-definitions/vm-1/snapshots/s1")
    rest.delete("resource-definitions/vm-1")
    assert devices.read("VM-2/0", 4096, 4096) == A


def test_restore_errors(rest: Rest) -> None:
    """Invariant 26: 502 target not empty, 206 size, 314 volume, 313, 301; no volumes is a warning."""
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    rest.spawn("full")
    _define(rest, "small", GIB // 2)
    _define(rest, "more", GIB, GIB)
    _define(rest, "none")
    assert _restore(rest, "s1", "full").problem == (500, "E502")
    assert _restore(rest, "s1", "small").problem == (500, "E206")
    assert _restore(rest, "s1", "more").problem == (404, "E314")
    assert _restore(rest, "nope", "none").problem == (404, "E313")
    assert _restore(rest, "s1", "missing").problem == (404, "E301")
    assert _restore(rest, "s1", "small", nodes=["charlie"]).problem == (500, "E206")
    _define(rest, "good", GIB)
    assert _restore(rest, "s1", "good", nodes=["charlie"]).problem == (404, "E315")
    assert _restore(rest, "s1", "good", stor_pool_rename={"thin": "nope"}).problem == (404, "E310")
    assert rest.flags("good") == {}
    empty = _restore(rest, "s1", "none")
    assert (empty.status, "W3000" in empty.told) == (200, True)
    assert rest.get("view/resources?resources=none") == []


def test_restore_on_one_node(rest: Rest) -> None:
    """Invariant 26: ``nodes`` chooses among the snapshot's."""
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    _define(rest, "vm-2", GIB)
    _restore(rest, "s1", "vm-2", nodes=["bob"])
    assert rest.flags("vm-2") == {"bob": []}


# --- rollback


def test_rollback(rest: Rest, devices: NoDevices) -> None:
    """Invariant 27: bytes and size return, also to an older snapshot; later ones survive; diskless stay."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.write("VM-1/0", 0, A)
    rest.snapshot("vm-1", "s1")
    devices.write("VM-1/0", 0, B)
    rest.put("resource-definitions/vm-1/volume-definitions/0", {"size_kib": 2 * GIB})
    rest.snapshot("vm-1", "s2")
    devices.write("VM-1/0", 0, C)
    assert _rollback(rest, "s1").status == 200
    assert devices.read("VM-1/0", 0, 4096) == A
    assert rest.get("resource-definitions/vm-1/volume-definitions/0")["size_kib"] == GIB
    assert devices.size_kib("VM-1/0") < 2 * GIB
    # what was the tie-breaker is now wanted there, as make-available makes it
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": DISKLESS, "dave": DISKLESS}
    for node in ("alice", "bob", "dave"):
        assert devices.paths("VM-1/0", node) == ["/dev/drbd1000", "/dev/drbd/by-res/vm-1/0"]
    assert [one["name"] for one in rest.get("resource-definitions/vm-1/snapshots")] == ["s1", "s2"]
    assert _rollback(rest, "s2").status == 200
    assert devices.read("VM-1/0", 0, 4096) == B
    assert devices.size_kib("VM-1/0") > 2 * GIB


def test_rollback_preconditions(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 27: 997, 995, 313; nothing changes."""
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A)
    rest.snapshot("vm-1", "s1")
    devices.write("VM-1/0", 0, B)
    devices.open("VM-1/0", "bob")
    assert _rollback(rest, "s1").problem == (500, "E997")
    devices.close("VM-1/0", "bob")
    cluster.set_online("charlie", False)
    assert _rollback(rest, "s1").problem == (500, "E995")
    cluster.set_online("charlie", True)
    assert _rollback(rest, "nope").problem == (404, "E313")
    assert devices.read("VM-1/0", 0, 4096) == B
    assert _rollback(rest, "s1").status == 200


def test_rollback_re_makes_replicas_without_the_snapshot(cluster: Cluster, rest: Rest, clock: Clock) -> None:
    """Invariant 27: they are synced afterwards."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    rest.snapshot("vm-1", "s1")
    cluster.set_online("bob", True)
    assert _rollback(rest, "s1").status == 200
    assert rest.volume("vm-1", "bob")["state"]["disk_state"] == "Inconsistent"
    assert rest.volume("vm-1", "alice")["state"]["disk_state"] == "UpToDate"
    clock.advance(1)
    assert rest.volume("vm-1", "bob")["state"]["disk_state"] == "UpToDate"


def test_rollback_before_1_31(rest_of: Callable[..., Any]) -> None:
    """Guide 2.10: before REST 1.25 only the newest snapshot, else 514."""
    _, rest = rest_of(rest_version="1.24.0")
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    rest.snapshot("vm-1", "s2")
    assert _rollback(rest, "s1").problem == (500, "E514")
    assert _rollback(rest, "s2").status == 200


def test_zfs_rollback_strategy(rest_of: Callable[..., Any], clock: Clock) -> None:
    """Invariant 27: strategy ``rollback`` on a snapshot that is not the newest is 977."""
    _, rest = rest_of(provider="ZFS_THIN")
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    rest.snapshot("vm-1", "s2")
    assert _rollback(rest, "s1", zfs_rollback_strategy="rollback").problem == (500, "E977")
    assert _rollback(rest, "s2", zfs_rollback_strategy="rollback").status == 200
    assert _rollback(rest, "s1").status == 200


def test_rollback_after_a_volume_was_removed(rest: Rest, devices: NoDevices) -> None:
    """Invariant 27: the volume comes back with the snapshot's size and bytes."""
    rest.spawn("vm-1", GIB, GIB, partial=True)
    devices.write("VM-1/1", 0, A)
    rest.snapshot("vm-1", "s1")
    rest.delete("resource-definitions/vm-1/volume-definitions/1")
    assert _rollback(rest, "s1").status == 200
    assert devices.read("VM-1/1", 0, 4096) == A
    assert rest.volume("vm-1", "bob", 1)["device_path"].startswith("/dev/drbd")
