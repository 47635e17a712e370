# SPDX-License-Identifier: Apache-2.0
"""Invariants 28, 29: clones; dependencies of ZFS; with the bytes."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import GIB, Clock, Rest, told

A, B = (letter * 4096 for letter in (b"a", b"b"))


def _free(rest: Rest, node: str = "alice") -> int:
    pools = rest.get(f"nodes/{node}/storage-pools?storage_pools=thin")
    return int(pools[0]["free_capacity"])


def test_clone(rest: Rest, devices: NoDevices) -> None:
    """Invariant 28: bytes of the instant of the call, same nodes and size, devices when complete."""
    rest.spawn("vm-1", resource_definition_props={"Aux/one/image": "5"})
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "alice")
    devices.write("VM-1/0", 0, A)
    answer = rest.clone("vm-1", "Clone-1")
    devices.write("VM-1/0", 0, B)
    assert answer.status == 201
    assert answer.json["location"] == "/v1/resource-definitions/vm-1/clone/Clone-1"
    assert (answer.json["source_name"], answer.json["clone_name"]) == ("vm-1", "Clone-1")
    assert devices.paths("CLONE-1/0", "alice") == []
    assert rest.clone_status("vm-1", "clone-1") == "CLONING"
    assert rest.clone_status("whatever", "clone-1") == "COMPLETE"
    assert devices.paths("CLONE-1/0", "alice") == ["/dev/drbd1001", "/dev/drbd/by-res/Clone-1/0"]
    assert devices.read("CLONE-1/0", 0, 4096) == A
    assert rest.flags("clone-1") == rest.flags("vm-1")
    definition = rest.get("resource-definitions?resource_definitions=clone-1&with_volume_definitions=true")[0]
    assert definition["volume_definitions"][0]["size_kib"] == GIB
    assert definition["props"]["Aux/one/image"] == "5"
    assert definition["props"]["cloned-from"] == "vm-1"
    assert definition["resource_group_name"] == "one"
    rest.delete("resource-definitions/clone-1")
    assert devices.read("VM-1/0", 0, 4096) == B


def test_a_clone_under_way(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 28: flagged CLONING, without devices, not to be resized, snapshotted or cloned; deletable."""
    cluster.clone_looks = 1000
    rest.spawn("vm-1")
    rest.clone("vm-1", "vm-2")
    assert rest.get("resource-definitions/vm-2")["flags"] == ["CLONING"]
    assert "device_path" not in rest.volume("vm-2", "alice")
    size = {"size_kib": 2 * GIB}
    assert rest.put("resource-definitions/vm-2/volume-definitions/0", size).problem == (500, "E974")
    assert rest.clone("vm-2", "vm-3").problem == (500, "E974")
    assert rest.snapshot("vm-2", "s1").problem == (500, "E979")
    assert rest.make_available("vm-2", "alice").told == ["S0"]
    assert devices.paths("VM-2/0", "alice") == []
    assert rest.delete("resource-definitions/vm-2").status == 200
    assert not devices.exists("VM-2/0")


def test_a_clone_takes_time(rest_of: Callable[..., Any], clock: Clock) -> None:
    """Invariant 28."""
    _, rest = rest_of(clone_seconds=5.0, clone_looks=0)
    rest.spawn("vm-1")
    rest.clone("vm-1", "vm-2")
    for _ in range(3):
        assert rest.clone_status("vm-1", "vm-2") == "CLONING"
    clock.advance(5)
    assert rest.clone_status("vm-1", "vm-2") == "COMPLETE"


def test_clone_errors(rest: Rest, clock: Clock) -> None:
    """Invariant 28: earlier errors come as a normal list."""
    rest.spawn("vm-1")
    rest.spawn("empty", definitions_only=True)
    assert rest.clone("nope", "vm-2").problem == (404, "E301")
    assert rest.clone("vm-1", "VM-1").problem == (500, "E501")
    assert rest.clone("vm-1", "1x").problem == (500, "E202")
    assert rest.clone("vm-1", "vm-2", resource_group="nope").problem == (404, "E317")
    assert rest.clone("vm-1", "vm-2", volume_passphrases=["a", "b"]).problem == (500, "E234")
    assert rest.clone("empty", "vm-2").problem == (404, "E302")
    rest.make_available("vm-1", "charlie", diskful=True)
    assert rest.clone("vm-1", "vm-2").problem == (500, "E974")
    assert rest.call("GET", "resource-definitions/vm-2").status == 404
    clock.advance(1)
    assert rest.clone("vm-1", "vm-2").status == 201
    assert rest.call("GET", "resource-definitions/x/clone/vm-1").problem == (404, "E301")
    assert rest.call("GET", "resource-definitions/x/clone/nope").problem == (404, "E301")


def test_status_is_failed_while_a_node_is_away(cluster: Cluster, rest: Rest) -> None:
    """Invariant 28: transient; an offline source is 974."""
    rest.spawn("vm-1")
    rest.clone("vm-1", "vm-2")
    cluster.set_online("bob", False)
    assert rest.clone_status("vm-1", "vm-2") == "FAILED"
    assert rest.clone("vm-1", "vm-3").problem == (500, "E974")
    cluster.set_online("bob", True)
    assert rest.clone_status("vm-1", "vm-2") == "CLONING"
    assert rest.clone_status("vm-1", "vm-2") == "COMPLETE"
    cluster.set_online("charlie", False, status="CONNECTED")
    assert rest.clone_status("vm-1", "vm-2") == "FAILED"


def test_a_clone_that_fails_stays(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 28: flag FAILED for good; to be deleted by the client."""
    rest.spawn("vm-1")
    cluster.satellites.fail("bob", "clone", "dd: write error")
    assert rest.clone("vm-1", "vm-2").status == 201
    for _ in range(3):
        assert rest.clone_status("vm-1", "vm-2") == "FAILED"
    assert rest.get("resource-definitions/vm-2")["flags"] == ["FAILED"]
    assert rest.get("error-reports")[0]["node_name"] == "bob"
    assert rest.clone("vm-1", "vm-2").problem == (500, "E501")
    rest.delete("resource-definitions/vm-2")
    rest.finished_clone("vm-1", "vm-2")


def test_clone_with_other_props_group_and_size(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Guide 2.11: override_props (1.26), resource_group (1.24), volume_sizes (1.29.1)."""
    _, rest = rest_of(rest_version="1.29.1")
    rest.spawn("vm-1", resource_definition_props={"Aux/one/image": "5", "Aux/one/x": "1", "Aux/y/z": "1"})
    devices.write("VM-1/0", 0, A)
    wrong = {"volume_sizes": [GIB // 2]}
    assert rest.clone("vm-1", "vm-2", **wrong).problem == (500, "E206")
    assert rest.clone("vm-1", "vm-2", volume_sizes=[0, 0]).problem == (500, "E228")
    rest.finished_clone(
        "vm-1",
        "vm-2",
        override_props={"Aux/one/vm": "7"},
        delete_props=["Aux/one/x"],
        delete_namespaces=["Aux/y"],
        resource_group="one-three",
        volume_sizes=[2 * GIB],
    )
    shown = rest.get("resource-definitions/vm-2")
    aux = {name: value for name, value in shown["props"].items() if name.startswith("Aux/")}
    assert aux == {"Aux/one/image": "5", "Aux/one/vm": "7"}
    assert shown["resource_group_name"] == "one-three"
    assert devices.size_kib("VM-2/0") >= 2 * GIB
    assert devices.read("VM-2/0", 0, 4096) == A


def test_clone_into_a_group_of_other_pools(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Guide 2.11: the group's pools on the same nodes; 996 when one has none."""
    for node in ("alice", "bob"):
        cluster.pools.add(cluster.node(node), "fast", "LVM_THIN", 50 * GIB)
    rest.post("resource-groups", {"name": "fast", "select_filter": {"storage_pool_list": ["fast"]}})
    rest.spawn("vm-1")
    rest.finished_clone("vm-1", "vm-2", resource_group="fast")
    assert rest.volume("vm-2", "bob")["storage_pool_name"] == "fast"
    rest.spawn("vm-3", select_filter={"node_name_list": ["bob", "charlie"]})
    assert rest.clone("vm-3", "vm-4", resource_group="fast").problem == (500, "E996")


@pytest.mark.parametrize("provider", ["FILE", "FILE_THIN"])
def test_file_pools_do_not_clone(rest_of: Callable[..., Any], clock: Clock, provider: str) -> None:
    """Guide 2.11: 227."""
    _, rest = rest_of(provider=provider)
    rest.spawn("vm-1")
    clock.advance(1)
    assert rest.clone("vm-1", "vm-2").problem == (500, "E227")


@pytest.mark.parametrize(
    ("source", "target", "problem", "left"),
    [("LVM_THIN", "FILE_THIN", "E227", False), ("FILE_THIN", "LVM_THIN", "E998", True)],
)
def test_clones_between_file_and_other_pools(
    rest_of: Callable[..., Any], source: str, target: str, problem: str, left: bool
) -> None:
    """The pools of the clone decide before anything is made; from file pools the satellites fail."""
    cluster, rest = rest_of(provider=source)
    for node in ("alice", "bob"):
        cluster.pools.add(cluster.node(node), "other", target, 50 * GIB)
    rest.post("resource-groups", {"name": "other", "select_filter": {"storage_pool_list": ["other"]}})
    rest.spawn("vm-1")
    answer = rest.clone("vm-1", "vm-2", resource_group="other")
    assert answer.status == 500
    messages = answer.json["messages"] if left else answer.json
    assert problem in told(messages)
    assert (rest.call("GET", "resource-definitions/vm-2").status == 200) == left
    if left:
        assert [rest.clone_status("vm-1", "vm-2") for _ in range(3)] == ["CLONING"] * 3


def test_thick_clones_need_the_room_twice(rest_of: Callable[..., Any], clock: Clock) -> None:
    """Guide 2.11: 206."""
    _, rest = rest_of(provider="LVM", pool_gib=10)
    rest.spawn("vm-1", 6 * GIB)
    clock.advance(1)
    assert rest.clone("vm-1", "vm-2").problem == (500, "E206")
    rest.spawn("vm-3", GIB)
    clock.advance(1)
    rest.finished_clone("vm-3", "vm-4")


def test_lvm_thin_copies_are_independent(rest: Rest, devices: NoDevices) -> None:
    """Invariant 29: blocks are shared until written, and come back when the last user is gone."""
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * 1024)
    assert _free(rest) == 100 * GIB - 4096
    rest.finished_clone("vm-1", "vm-2")
    assert _free(rest) == 100 * GIB - 4096
    devices.write("VM-2/0", 4096 * 1024, B * 256)
    devices.write("VM-1/0", 8192 * 1024, B * 512)
    assert _free(rest) == 100 * GIB - 4096 - 1024 - 2048
    rest.delete("resource-definitions/vm-1")
    assert _free(rest) == 100 * GIB - 4096 - 1024
    assert devices.read("VM-2/0", 0, 4096) == A
    rest.delete("resource-definitions/vm-2")
    assert _free(rest) == 100 * GIB


def test_zfs_space_comes_back_late(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Invariant 29: the source of a ZFS clone can be deleted, its space stays used until the clone goes."""
    _, rest = rest_of(provider="ZFS_THIN")
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * 1024)
    rest.finished_clone("vm-1", "vm-2", use_zfs_clone=True)
    devices.write("VM-2/0", 4096 * 1024, B * 256)
    devices.write("VM-1/0", 8192 * 1024, B * 512)
    used = 100 * GIB - _free(rest)
    assert used == 4096 + 1024 + 2048
    assert rest.delete("resource-definitions/vm-1").status == 200
    assert 100 * GIB - _free(rest) == used
    assert rest.spawn("vm-1").status == 201
    rest.delete("resource-definitions/vm-1")
    rest.delete("resource-definitions/vm-2")
    assert _free(rest) == 100 * GIB


def test_zfs_send_and_receive_copies_everything(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Invariant 29 and guide 2.11: without use_zfs_clone the copy is full and independent."""
    _, rest = rest_of(provider="ZFS_THIN")
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * 1024)
    rest.finished_clone("vm-1", "vm-2")
    assert _free(rest) == 100 * GIB - 2 * 4096
    rest.delete("resource-definitions/vm-1")
    assert _free(rest) == 100 * GIB - 4096
    rest.delete("resource-definitions/vm-2")
    # the group's property makes the instant clone the default
    rest.put("resource-groups/one", {"override_props": {"UseZFSClone": "true"}})
    rest.spawn("vm-3")
    devices.write("VM-3/0", 0, A * 1024)
    rest.finished_clone("vm-3", "vm-4")
    assert _free(rest) == 100 * GIB - 4096


def test_zfs_delete_strategy(rest_of: Callable[..., Any]) -> None:
    """Guide 3.7: strategy Delete refuses with 516 while snapshots are there."""
    _, rest = rest_of(provider="ZFS_THIN")
    rest.spawn("vm-1", resource_definition_props={"StorDriver/Zfs/DeleteStrategy": "Delete"})
    rest.snapshot("vm-1", "s1")
    assert rest.delete("resource-definitions/vm-1/resources/alice").problem == (500, "E516")
    rest.put("resource-definitions/vm-1", {"delete_props": ["StorDriver/Zfs/DeleteStrategy"]})
    assert rest.delete("resource-definitions/vm-1/resources/alice").status == 200
