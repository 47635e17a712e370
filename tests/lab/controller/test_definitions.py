# SPDX-License-Identifier: Apache-2.0
"""Invariants 12 to 15: resource definitions, volume definitions, spawn."""

from __future__ import annotations

from typing import Any, Callable

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import GIB, TIE_BREAKER, Clock, Rest


def test_definition_life(rest: Rest, devices: NoDevices) -> None:
    """Invariant 12: exists 501, missing 301, deleting a missing one warns."""
    assert rest.spawn("vm-1").status == 201
    assert rest.spawn("vm-1").problem == (500, "E501")
    assert rest.delete("resource-definitions/vm-1").told == ["S2"]
    assert not devices.exists("VM-1/0")
    assert rest.call("GET", "resource-definitions/vm-1").problem == (404, "E301")
    assert rest.call("GET", "resource-definitions/vm-1/resources").problem == (404, "E301")
    again = rest.delete("resource-definitions/vm-1")
    assert (again.status, again.told) == (200, ["W3000"])
    assert rest.get("resource-definitions?resource_definitions=vm-1") == []


def test_delete_with_snapshots(rest: Rest, devices: NoDevices) -> None:
    """Invariant 12."""
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    assert rest.delete("resource-definitions/vm-1").problem == (500, "E514")
    assert set(rest.flags("vm-1")) == {"alice", "bob", "charlie"}
    rest.delete("resource-definitions/vm-1/snapshots/s1")
    assert rest.delete("resource-definitions/vm-1").status == 200


def test_delete_in_use(rest: Rest, devices: NoDevices) -> None:
    """Invariant 12: in use on any node, nothing changes."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    before = rest.flags("vm-1")
    answer = rest.delete("resource-definitions/vm-1")
    assert answer.problem == (500, "E997")
    assert "dave" in answer.json[0]["message"]
    assert rest.flags("vm-1") == before
    assert "flags" not in rest.get("resource-definitions/vm-1")
    devices.close("VM-1/0", "dave")
    assert rest.delete("resource-definitions/vm-1").status == 200


def test_a_read_only_opener_is_not_in_use_but_holds_the_device(rest: Rest, devices: NoDevices) -> None:
    """Invariant 12 and guide 3.4: the satellite fails, the deletion stays pending and can be repeated."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "bob", write=False)
    assert rest.resource("vm-1", "bob")["state"] == {"in_use": False}
    answer = rest.delete("resource-definitions/vm-1")
    assert answer.problem == (500, "E998")
    assert answer.json[-1]["message"].startswith("(bob) ")
    assert rest.get("resource-definitions/vm-1")["flags"] == ["DELETE"]
    assert rest.flags("vm-1") == {"alice": ["DELETE"], "bob": ["DELETE"]}
    assert not devices.paths("VM-1/0", "alice")
    assert rest.spawn("vm-1").problem == (500, "E501")
    devices.close("VM-1/0", "bob")
    assert rest.delete("resource-definitions/vm-1").status == 200
    assert not devices.exists("VM-1/0")


def test_delete_while_a_satellite_is_offline(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 13: the disks wait until no node is away, the diskless one is out of DRBD already."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    answer = rest.delete("resource-definitions/vm-1")
    assert (answer.status, answer.told) == (200, ["S2", "W1002"])
    assert rest.get("resource-definitions/vm-1")["flags"] == ["DELETE"]
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": ["DELETE", *TIE_BREAKER]}
    assert not devices.paths("VM-1/0", "charlie")
    assert rest.spawn("vm-1").problem == (500, "E501")
    assert devices.paths("VM-1/0", "bob") == ["/dev/drbd1000", "/dev/drbd/by-res/vm-1/0"]
    cluster.set_online("bob", True)
    assert rest.call("GET", "resource-definitions/vm-1").problem == (404, "E301")
    assert not devices.exists("VM-1/0")


def test_moving_to_another_group(rest: Rest) -> None:
    """Guide 2.5: only missing replicas are added, none removed; inherited props follow at once."""
    rest.spawn("vm-1")
    assert rest.put("resource-definitions/vm-1", {"resource_group": "nope"}).problem == (404, "E317")
    rest.put("resource-definitions/vm-1", {"resource_group": "one-three"})
    flags = rest.flags("vm-1")
    assert {node for node, one in flags.items() if not one} == {"alice", "bob", "charlie"}
    assert TIE_BREAKER not in flags.values()
    rest.put("resource-definitions/vm-1", {"resource_group": "one"})
    assert len([one for one in rest.flags("vm-1").values() if not one]) == 3


def test_group_calls(rest: Rest) -> None:
    """Guide 2.4."""
    assert rest.post("resource-groups", {"name": "one"}).problem == (500, "E522")
    assert rest.delete("resource-groups/none").told == ["W3000"]
    assert rest.spawn("vm-1", group="none").problem == (404, "E317")
    rest.spawn("vm-1")
    assert rest.delete("resource-groups/one").problem == (500, "E501")
    assert rest.spawn("vm-2", GIB, GIB).problem == (500, "E228")
    assert rest.spawn("vm-2", GIB, GIB, partial=True).status == 201
    assert rest.post("resource-groups/one/volume-groups", {"volume_number": 0}).problem == (500, "E523")
    rest.post("resource-groups", {"name": "hidden", "select_filter": {"node_name_list": ["bob"]}})
    assert rest.get("resource-groups/hidden")["select_filter"] == {"place_count": 2}


def test_adjust_places_what_is_missing(cluster: Cluster, rest: Rest) -> None:
    """Guide 2.4."""
    rest.spawn("vm-1")
    rest.put("resource-groups/one", {"select_filter": {"place_count": 3}})
    assert len([one for one in rest.flags("vm-1").values() if not one]) == 2
    assert rest.call("POST", "resource-groups/one/adjust").status == 200
    assert len([one for one in rest.flags("vm-1").values() if not one]) == 3


def _resize(rest: Rest, size_kib: int, name: str = "vm-1") -> Any:
    return rest.put(f"resource-definitions/{name}/volume-definitions/0", {"size_kib": size_kib})


def test_volume_definition_limits(rest: Rest) -> None:
    """Invariant 14."""
    path = "resource-definitions/rd-1/volume-definitions"
    rest.post("resource-definitions", {"resource_definition": {"name": "rd-1"}})

    def create(size_kib: int, **more: Any) -> tuple[int, str]:
        return rest.post(path, {"volume_definition": {"size_kib": size_kib, **more}}).problem

    assert create(3) == (500, "E206")
    assert create((1 << 40) + 1) == (500, "E206")
    assert create(4) == (201, "")
    assert create(8, volume_number=0) == (500, "E503")
    assert create(8, volume_number=70000) == (500, "E205")
    assert create(1 << 40) == (201, "")
    assert rest.get(f"{path}/1")["size_kib"] == 1 << 40
    assert rest.call("GET", f"{path}/2").problem == (404, "E303")
    assert rest.delete(f"{path}/2").told == ["W3000"]
    assert rest.delete(f"{path}/1").told == ["S2"]


def test_device_is_at_least_as_large_and_rounded_to_the_extent(rest: Rest, devices: NoDevices) -> None:
    """Invariant 14: 1 GiB and 1 KiB on LVM extents of 4 MiB."""
    rest.spawn("vm-1", GIB + 1)
    drbd = rest.volume("vm-1", "alice")["layer_data_list"][0]["data"]
    storage = rest.volume("vm-1", "alice")["layer_data_list"][1]["data"]
    assert drbd["usable_size_kib"] >= GIB + 1
    assert storage["usable_size_kib"] % 4096 == 0
    assert drbd["usable_size_kib"] < storage["usable_size_kib"] < GIB + 1 + 2 * 4096
    assert devices.size_kib("VM-1/0") == drbd["usable_size_kib"]
    assert "usable_size_kib" not in rest.volume("vm-1", "alice")
    assert rest.get("resource-definitions/vm-1/volume-definitions/0")["size_kib"] == GIB + 1


def test_resize(rest: Rest, devices: NoDevices) -> None:
    """Invariant 14: same size 1023, growing keeps the bytes and works in use, DRBD does not shrink."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    devices.write("VM-1/0", 8192, b"x" * 4096)
    same = _resize(rest, GIB)
    assert (same.status, same.told) == (200, ["W1023", "S3"])
    assert _resize(rest, 2 * GIB).told == ["S3", "S3", "S3"]
    assert devices.size_kib("VM-1/0") >= 2 * GIB
    assert devices.read("VM-1/0", 8192, 4096) == b"x" * 4096
    assert _resize(rest, GIB).problem == (500, "E206")
    assert rest.get("resource-definitions/vm-1/volume-definitions/0")["size_kib"] == 2 * GIB


def test_resize_needs_all_replicas(cluster: Cluster, rest: Rest, clock: Clock) -> None:
    """Invariant 14: 974 while a replica syncs or its node is offline; a diskless node does not matter."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    cluster.set_online("dave", False)
    assert _resize(rest, GIB + 4096).status == 200
    cluster.set_online("bob", False)
    assert _resize(rest, 2 * GIB).problem == (500, "E974")
    cluster.set_online("bob", True)
    rest.make_available("vm-1", "charlie", diskful=True)
    assert _resize(rest, 2 * GIB).problem == (500, "E974")
    assert rest.get("resource-definitions/vm-1/volume-definitions/0")["size_kib"] == GIB + 4096
    clock.advance(1)
    assert _resize(rest, 2 * GIB).status == 200


def test_resize_on_thick_pools(rest_of: Callable[..., Any], clock: Clock) -> None:
    """Invariant 14: 980 when a pool cannot take the growth, each for itself."""
    _, rest = rest_of(provider="LVM", pool_gib=10)
    rest.spawn("vm-1", 2 * GIB)
    clock.advance(1)
    assert _resize(rest, 11 * GIB).problem == (500, "E980")
    assert _resize(rest, 7 * GIB).status == 200


def test_resize_with_exact_size(rest: Rest, devices: NoDevices) -> None:
    """Guide 2.6, 3.7: exact to the KiB, and not to be resized."""
    rest.spawn("vm-1", GIB + 4, resource_definition_props={"DrbdOptions/ExactSize": "True"})
    assert devices.size_kib("VM-1/0") == GIB + 4
    assert _resize(rest, 2 * GIB).problem == (500, "E213")


def test_shrink_without_drbd(rest: Rest, devices: NoDevices) -> None:
    """Invariant 14."""
    rest.spawn("vm-1", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    assert _resize(rest, GIB // 2).status == 200
    assert devices.size_kib("VM-1/0") == GIB // 2


def test_volume_added_to_a_deployed_definition(rest: Rest, devices: NoDevices) -> None:
    """Guide 2.6: the satellites make it at once."""
    rest.spawn("vm-1")
    path = "resource-definitions/vm-1/volume-definitions"
    assert rest.post(path, {"volume_definition": {"size_kib": 8192}}).status == 201
    assert devices.paths("VM-1/1", "bob") == ["/dev/drbd1001", "/dev/drbd/by-res/vm-1/1"]
    devices.open("VM-1/1", "bob")
    assert rest.delete(f"{path}/1").problem == (500, "E997")
    devices.close("VM-1/1", "bob")
    assert rest.delete(f"{path}/1").status == 200
    assert not devices.exists("VM-1/1")
    assert len(rest.get("view/resources?resources=vm-1&nodes=bob")[0]["volumes"]) == 1


def test_spawn_leaves_nothing_when_it_cannot_place(rest: Rest, devices: NoDevices) -> None:
    """Invariant 15."""
    answer = rest.spawn("vm-1", 1 << 38)
    assert answer.problem == (500, "E996")
    assert answer.json[-1]["details"]
    assert rest.call("GET", "resource-definitions/vm-1").problem == (404, "E301")
    assert rest.spawn("vm-1").status == 201
    assert rest.volume("vm-1", "alice")["device_path"] == "/dev/drbd1000"


def test_spawn_leaves_the_definition_when_a_satellite_fails(cluster: Cluster, rest: Rest) -> None:
    """Invariant 15."""
    cluster.satellites.fail("bob", "create", "Failed to create the volume")
    answer = rest.spawn("vm-1")
    assert answer.problem == (500, "E998")
    failure = next(entry for entry in answer.json if entry["message"].startswith("(bob)"))
    assert failure["error_report_ids"][0].startswith("ErrorReport-")
    assert set(rest.flags("vm-1")) == {"alice", "bob", "charlie"}
    failed = rest.volume("vm-1", "bob")
    assert "device_path" not in failed
    assert failed["state"] == {"disk_state": "Failed"}
    assert failed["reports"][0]["message"] == "Failed to create the volume"
    assert rest.spawn("vm-1").problem == (500, "E501")
    assert rest.delete("resource-definitions/vm-1").status == 200


def test_spawn_definitions_only(rest: Rest, devices: NoDevices) -> None:
    """Invariant 15 and guide 2.4: information 10000."""
    answer = rest.spawn("vm-1", definitions_only=True)
    assert (answer.status, answer.told[-1]) == (201, "I10000")
    assert rest.flags("vm-1") == {}
    assert rest.get("resource-definitions/vm-1/sync-status") == {"synced_on_all": True}
    assert not devices.exists("VM-1/0")
    rest.make_available("vm-1", "charlie", diskful=True)
    rest.post("resource-definitions/vm-1/autoplace", {"select_filter": {}})
    assert sorted(node for node, one in rest.flags("vm-1").items() if not one) == ["alice", "charlie"]


def test_encrypted_volumes_need_the_passphrase(cluster: Cluster, rest: Rest) -> None:
    """Guide 2.1: after a restart of the controller it is locked."""
    stack = {"layer_stack": ["DRBD", "LUKS", "STORAGE"]}
    assert rest.get("encryption/passphrase") == {"status": "unset"}
    assert rest.spawn("vm-1", select_filter=stack).problem == (404, "E312")
    assert rest.post("encryption/passphrase", {"new_passphrase": "secret"}).status == 201
    assert rest.spawn("vm-1", select_filter=stack).status == 201
    cluster.settings.lock_passphrase()
    assert rest.get("encryption/passphrase") == {"status": "locked"}
    assert rest.spawn("vm-2", select_filter=stack).problem == (404, "E312")
    assert rest.call("PATCH", "encryption/passphrase", '"wrong"').problem == (500, "E982")
    assert rest.call("PATCH", "encryption/passphrase", '"secret"').status == 200
    assert rest.spawn("vm-2", select_filter=stack).status == 201
    assert rest.volume("vm-2", "alice")["device_path"].startswith("/dev/drbd")


def test_truncate(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Guide 2.5, REST 1.29: the definition stays without resources."""
    _, rest = rest_of(rest_version="1.29.1")
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    assert rest.delete("resource-definitions/vm-1/resources").problem == (500, "E997")
    devices.close("VM-1/0", "alice")
    assert rest.delete("resource-definitions/vm-1/resources").status == 200
    assert rest.flags("vm-1") == {}
    assert (
        rest.delete("resource-definitions/vm-1/resources?delete_empty_resource_definition=True").status == 200
    )
    assert rest.call("GET", "resource-definitions/vm-1").status == 404


def test_paging(rest: Rest) -> None:
    """Guide 3.8: the order is by upper-cased name, the offset counts only with a limit."""
    for name in ("vm-b", "VM-A", "vm-c"):
        rest.spawn(name)

    def names(query: str) -> list[str]:
        return [one["name"] for one in rest.get(f"resource-definitions?{query}")]

    assert names("limit=2") == ["VM-A", "vm-b"]
    assert names("limit=2&offset=2") == ["vm-c"]
    assert names("offset=2") == ["VM-A", "vm-b", "vm-c"]
