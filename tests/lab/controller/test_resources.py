# SPDX-License-Identifier: Apache-2.0
"""Invariants 17 to 24: resources, attach and detach, tie-breakers, use, device paths, sync."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import DeviceBusy, NoDevices

from .support import DISKLESS, GIB, TIE_BREAKER, Clock, Rest

TWO = {"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}}


def _create(rest: Rest, node: str, *flags: str, name: str = "vm-1", pool: str = "thin") -> Any:
    resource: dict[str, Any] = {"node_name": node, "flags": list(flags)}
    if not flags:
        resource = {"node_name": node, "props": {"StorPoolName": pool}}
    return rest.post(f"resource-definitions/{name}/resources", [{"resource": resource}])


def _delete(rest: Rest, node: str, *, keep: bool = False, name: str = "vm-1") -> Any:
    query = "?keep_tiebreaker=True" if keep else ""
    return rest.delete(f"resource-definitions/{name}/resources/{node}{query}")


def test_creation_is_idempotent(rest: Rest, devices: NoDevices) -> None:
    """Invariant 17."""
    rest.spawn("vm-1", definitions_only=True)
    assert _create(rest, "alice").status == 201
    again = _create(rest, "alice")
    assert (again.status, again.told) == (201, ["I10008"])
    assert devices.paths("VM-1/0", "alice")[0] == "/dev/drbd1000"


def test_creation_errors(rest: Rest) -> None:
    """Invariant 17: missing node 300, pool 310, definition 301. A list is done whole or not."""
    rest.spawn("vm-1", definitions_only=True)
    assert _create(rest, "nobody").problem == (404, "E300")
    assert _create(rest, "alice", pool="nope").problem == (404, "E310")
    assert _create(rest, "alice", name="nope").problem == (404, "E301")
    no_pool = rest.post("resource-definitions/vm-1/resources/alice", {"resource": {}})
    assert no_pool.problem == (404, "E310")
    both = rest.post(
        "resource-definitions/vm-1/resources",
        [
            {"resource": {"node_name": "alice", "props": {"StorPoolName": "thin"}}},
            {"resource": {"node_name": "nobody"}},
        ],
    )
    assert both.problem == (404, "E300")
    assert rest.flags("vm-1") == {}


def test_creation_on_an_evacuating_node(cluster: Cluster, rest: Rest) -> None:
    """Invariant 17."""
    rest.spawn("vm-1", definitions_only=True)
    cluster.evacuate("alice")
    assert _create(rest, "alice").problem == (500, "E975")


def test_creation_gives_a_diskless_its_disk(rest: Rest) -> None:
    """Invariant 17."""
    rest.spawn("vm-1")
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER
    assert _create(rest, "charlie", "DISKLESS").status == 201
    assert rest.flags("vm-1")["charlie"] == DISKLESS
    assert _create(rest, "charlie").status == 201
    assert rest.flags("vm-1")["charlie"] == []
    assert _create(rest, "charlie", "DISKLESS").problem == (500, "E502")


def test_creation_undoes_a_deletion(cluster: Cluster, rest: Rest) -> None:
    """Invariant 17."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    assert _delete(rest, "bob").told[-1] == "W1002"
    assert rest.flags("vm-1")["bob"] == ["DELETE", "DRBD_DELETE"]
    assert _create(rest, "bob").status == 201
    assert rest.flags("vm-1")["bob"] == []
    cluster.set_online("bob", True)
    assert rest.flags("vm-1")["bob"] == []


def test_creation_on_an_offline_node_is_deferred(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 17 and guide 3.2: 1002 with 201, in the database only."""
    rest.spawn("vm-1")
    cluster.set_online("dave", False)
    answer = _create(rest, "dave", "DRBD_DISKLESS")
    assert (answer.status, "W1002" in answer.told) == (201, True)
    shown = rest.resource("vm-1", "dave")
    assert "state" not in shown
    assert "device_path" not in shown["layer_object"]["drbd"]["drbd_volumes"][0]
    assert devices.paths("VM-1/0", "dave") == []
    cluster.set_online("dave", True)
    assert devices.paths("VM-1/0", "dave") == ["/dev/drbd1000", "/dev/drbd/by-res/vm-1/0"]


# --- make-available: the table of guide 2.7


@pytest.mark.parametrize(("version", "client"), [("1.27.0", False), ("1.28.0", True)])
def test_make_available_adds_a_diskless(
    rest_of: Callable[..., Any], devices: NoDevices, version: str, client: bool
) -> None:
    """Invariants 18, 20: a client since 1.34; before, a voting diskless that ends the tie-breaker."""
    _, rest = rest_of(rest_version=version)
    rest.spawn("vm-1")
    first = rest.make_available("vm-1", "dave", diskful=False)
    assert first.status == 200
    assert rest.flags("vm-1")["dave"] == DISKLESS
    assert ("CLIENT" in rest.resource("vm-1", "dave")["layer_object"]["drbd"]["flags"]) == client
    assert ("charlie" in rest.flags("vm-1")) == client
    assert ("I10004" in first.told) == (not client)
    assert devices.paths("VM-1/0", "dave") == ["/dev/drbd1000", "/dev/drbd/by-res/vm-1/0"]
    again = rest.make_available("vm-1", "dave", diskful=False)
    assert (again.status, again.told, again.json[0]["ret_code"] & 0x7FFF) == (200, ["S0"], 0)


def test_make_available_where_a_disk_is(rest: Rest) -> None:
    """Invariant 18: nothing to do, code 0."""
    rest.spawn("vm-1")
    before = rest.flags("vm-1")
    assert rest.make_available("vm-1", "alice", diskful=False).told == ["S0"]
    assert rest.make_available("vm-1", "alice", diskful=True).told == ["S0"]
    assert rest.flags("vm-1") == before


def test_make_available_on_the_tie_breaker(rest: Rest) -> None:
    """Invariant 18: it becomes a plain diskless, or gets a disk."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "charlie", diskful=False)
    assert rest.flags("vm-1")["charlie"] == DISKLESS
    rest.spawn("vm-2")
    other = next(node for node, flags in rest.flags("vm-2").items() if flags == TIE_BREAKER)
    assert other == "dave"
    rest.spawn("vm-3")
    assert rest.flags("vm-3")["charlie"] == TIE_BREAKER
    rest.make_available("vm-3", "charlie", diskful=True)
    assert rest.flags("vm-3") == {"alice": [], "bob": [], "charlie": []}


def test_make_available_gives_a_diskless_its_disk(rest: Rest, clock: Clock) -> None:
    """Invariants 18, 24: the reply comes before the sync ends."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "charlie", diskful=False)
    rest.make_available("vm-1", "charlie", diskful=True)
    assert rest.volume("vm-1", "charlie")["state"]["disk_state"] == "Inconsistent"
    clock.advance(1)
    assert rest.volume("vm-1", "charlie")["state"]["disk_state"] == "UpToDate"


def test_make_available_undoes_a_deletion(cluster: Cluster, rest: Rest) -> None:
    """Invariant 18."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    cluster.set_online("dave", False)
    _delete(rest, "dave", keep=True)
    assert rest.flags("vm-1")["dave"] == ["DELETE", *sorted([*DISKLESS, "DRBD_DELETE"])]
    assert rest.make_available("vm-1", "dave").status == 200
    assert rest.flags("vm-1")["dave"] == DISKLESS


def test_make_available_makes_the_first_replica(rest: Rest, devices: NoDevices) -> None:
    """Invariant 18: with nothing deployed it is diskful even if not asked."""
    rest.spawn("vm-1", definitions_only=True)
    rest.make_available("vm-1", "bob", diskful=False)
    assert rest.flags("vm-1") == {"bob": []}
    assert devices.paths("VM-1/0", "bob")


def test_make_available_without_an_eligible_pool(cluster: Cluster, rest: Rest) -> None:
    """Invariant 18: 310 with 404 although the resource exists; nothing changes."""
    rest.spawn("vm-1")
    before = rest.flags("vm-1")
    assert rest.make_available("vm-1", "dave", diskful=True).problem == (404, "E310")
    rest.put("nodes/dave", {"override_props": {"AutoplaceTarget": "false"}})
    assert rest.make_available("vm-1", "dave", diskful=False).problem == (404, "E310")
    rest.put("nodes/dave", {"delete_props": ["AutoplaceTarget"]})
    cluster.set_online("dave", False)
    assert rest.make_available("vm-1", "dave", diskful=False).problem == (404, "E310")
    assert rest.flags("vm-1") == before
    assert rest.make_available("nope", "dave").problem == (404, "E301")
    assert rest.make_available("vm-1", "nobody").problem == (404, "E300")


def test_make_available_outside_of_the_group(rest: Rest) -> None:
    """Invariant 18: diskless is retried without the group's constraints, diskful is not."""
    rest.put("resource-groups/one", {"select_filter": {"node_name_list": ["alice", "bob"]}})
    rest.spawn("vm-1")
    _delete(rest, "charlie", keep=False)
    assert rest.make_available("vm-1", "charlie", diskful=True).problem == (404, "E310")
    assert rest.make_available("vm-1", "charlie", diskful=False).status == 200


def test_make_available_on_an_offline_node_with_the_resource(cluster: Cluster, rest: Rest) -> None:
    """Guide 3.2: success without any contact; the client has to look at the node."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    answer = rest.make_available("vm-1", "bob")
    assert (answer.status, answer.told) == (200, ["S0"])
    assert "state" not in rest.resource("vm-1", "bob")


def test_make_available_without_remote_access(rest: Rest) -> None:
    """A stack without DRBD has nothing to offer on a second node."""
    rest.spawn("vm-1", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    assert rest.make_available("vm-1", "bob").problem == (500, "E225")


# --- deletion and tie-breakers: guide 3.5


def test_delete_resource(rest: Rest, devices: NoDevices) -> None:
    """Invariant 19: 997 in use; a missing one warns."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    assert _delete(rest, "dave", keep=True).problem == (500, "E997")
    assert rest.flags("vm-1")["dave"] == DISKLESS
    devices.close("VM-1/0", "dave")
    assert _delete(rest, "dave", keep=True).told == ["S2"]
    assert devices.paths("VM-1/0", "dave") == []
    for node in ("dave", "nobody"):
        again = _delete(rest, node)
        assert (again.status, again.told) == (200, ["W3000"])


def test_the_last_disk_stays_while_others_need_it(rest: Rest, devices: NoDevices) -> None:
    """Invariant 19."""
    rest.spawn("vm-1", select_filter={"place_count": 1})
    rest.make_available("vm-1", "dave")
    assert _delete(rest, "alice").problem == (500, "E997")
    _delete(rest, "dave")
    assert _delete(rest, "alice").status == 200
    assert rest.flags("vm-1") == {}
    assert not devices.exists("VM-1/0")


def test_a_voting_diskless_becomes_the_tie_breaker(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Invariants 19, 20: information 10006, 200, and the resource stays."""
    _, rest = rest_of(rest_version="1.27.0")
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "dave": DISKLESS}
    answer = _delete(rest, "dave")
    assert (answer.status, answer.told) == (200, ["I10006"])
    assert rest.flags("vm-1")["dave"] == TIE_BREAKER
    assert devices.paths("VM-1/0", "dave")


def test_a_client_goes_and_the_tie_breaker_stays(rest: Rest) -> None:
    """Invariant 20."""
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    assert _delete(rest, "dave").told == ["S2"]
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}


def test_deleting_the_tie_breaker_turns_the_automatism_off(rest: Rest) -> None:
    """Invariant 19: for good, unless keep_tiebreaker is given."""
    rest.spawn("vm-1")
    answer = _delete(rest, "charlie")
    assert (answer.status, "I10002" in answer.told) == (200, True)
    assert rest.flags("vm-1") == {"alice": [], "bob": []}
    definition = rest.get("resource-definitions/vm-1")
    assert definition["props"]["DrbdOptions/auto-add-quorum-tiebreaker"] == "False"
    assert definition["props"]["DrbdOptions/Resource/quorum"] == "off"
    rest.make_available("vm-1", "dave")
    assert _delete(rest, "dave").told == ["S2"]
    assert rest.flags("vm-1") == {"alice": [], "bob": []}


def test_keep_tiebreaker(rest_of: Callable[..., Any]) -> None:
    """Invariant 19: kept or made, and the automatism is on again. 1.22 ignores the parameter."""
    _, rest = rest_of()
    rest.spawn("vm-1")
    assert _delete(rest, "charlie", keep=True).told == ["I10006"]
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER
    _delete(rest, "charlie")
    rest.make_available("vm-1", "dave")
    assert _delete(rest, "dave", keep=True).told == ["I10006"]
    assert rest.flags("vm-1")["dave"] == TIE_BREAKER
    props = rest.get("resource-definitions/vm-1")["props"]
    assert props["DrbdOptions/auto-add-quorum-tiebreaker"] == "True"
    _, old = rest_of(rest_version="1.22.0", devices=NoDevices())
    old.spawn("vm-1")
    assert "I10002" in _delete(old, "charlie", keep=True).told


def test_tie_breaker_follows_the_number_of_disks(cluster: Cluster, rest: Rest) -> None:
    """Invariant 20: made with the second disk, gone with the third, 1013 without a node for it."""
    rest.spawn("vm-1", select_filter={"place_count": 1})
    assert rest.flags("vm-1") == {"alice": []}
    assert "I10003" in _create(rest, "bob").told
    assert TIE_BREAKER in rest.flags("vm-1").values()
    assert rest.get("resource-definitions/vm-1")["props"]["DrbdOptions/Resource/quorum"] == "majority"
    rest.make_available("vm-1", "charlie", diskful=True)
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": []}
    for node in ("charlie", "dave"):
        cluster.set_online(node, False)
    answer = rest.spawn("vm-2")
    assert "W1013" in answer.told
    assert rest.flags("vm-2") == {"alice": [], "bob": []}


def test_automatism_can_be_switched_off_above(rest: Rest) -> None:
    """Invariant 20."""
    rest.put("resource-groups/one", {"override_props": {"DrbdOptions/auto-add-quorum-tiebreaker": "False"}})
    rest.spawn("vm-1")
    assert rest.flags("vm-1") == {"alice": [], "bob": []}
    rest.put("resource-groups/one", {"delete_props": ["DrbdOptions/auto-add-quorum-tiebreaker"]})
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER


# --- unmake-available and dual primary, REST 1.29


@pytest.fixture
def modern(rest_of: Callable[..., Any]) -> Rest:
    _, rest = rest_of(rest_version="1.29.1")
    rest.spawn("vm-1")
    return rest  # type: ignore[no-any-return]


def _unmake(rest: Rest, node: str, name: str = "vm-1") -> Any:
    return rest.call("POST", f"resource-definitions/{name}/resources/{node}/unmake-available")


def test_unmake_available(modern: Rest, devices: NoDevices) -> None:
    """Guide 3.6: disks and tie-breakers stay, a diskless goes, nothing to do is no error."""
    modern.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    assert _unmake(modern, "dave").problem == (500, "E997")
    devices.close("VM-1/0", "dave")
    assert _unmake(modern, "dave").told == ["S2"]
    assert _unmake(modern, "dave").told == ["I0"]
    assert _unmake(modern, "alice").told == ["W3001"]
    assert _unmake(modern, "charlie").told == ["I0"]
    assert _unmake(modern, "alice", "nope").told == ["W3000"]
    assert modern.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}


def test_managed_dual_primary(modern: Rest, devices: NoDevices) -> None:
    """Guide 3.6: only between source and destination, only until unmake-available."""
    devices.open("VM-1/0", "alice")
    modern.make_available("vm-1", "dave", auto_manage_dual_primary=True)
    devices.open("VM-1/0", "dave")
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")
    assert modern.make_available("vm-1", "bob", auto_manage_dual_primary=True).problem == (500, "E901")
    devices.close("VM-1/0", "alice")
    assert _unmake(modern, "alice").status == 200
    assert "props" not in modern.get("resource-definitions/vm-1/resource-connections/alice/dave")
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "alice")


def test_managed_dual_primary_between_diskless_nodes_and_protocol(
    rest_of: Callable[..., Any], devices: NoDevices
) -> None:
    """Guide 3.6: protocol C comes along, and both are undone on the failure path."""
    cluster, rest = rest_of(rest_version="1.29.1")
    cluster.add_node("erin")
    rest.put("resource-groups/one", {"override_props": {"DrbdOptions/Net/protocol": "A"}})
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    rest.make_available("vm-1", "erin", auto_manage_dual_primary=True)
    devices.open("VM-1/0", "erin")
    devices.close("VM-1/0", "erin")
    assert _unmake(rest, "erin").status == 200
    assert "erin" not in rest.flags("vm-1")
    props = rest.get("resource-definitions/vm-1")["props"]
    assert not [name for name in props if "two-primaries" in name or "protocol" in name]


def test_dual_primary_without_a_migration_is_a_plain_attach(modern: Rest, devices: NoDevices) -> None:
    """Guide 3.6: nothing in use, no window."""
    assert modern.make_available("vm-1", "dave", auto_manage_dual_primary=True).status == 200
    devices.open("VM-1/0", "dave")
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "alice")


# --- use


def test_in_use_is_the_primary(rest: Rest, devices: NoDevices) -> None:
    """Invariant 21: a second open fails; read-only opening of a Secondary is not use."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    assert rest.resource("vm-1", "alice")["state"] == {"in_use": True}
    assert rest.resource("vm-1", "bob")["state"] == {"in_use": False}
    assert rest.resource("vm-1", "bob")["layer_object"]["drbd"]["may_promote"] is False
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")


@pytest.mark.parametrize(
    "path",
    [
        "resource-definitions/vm-1",
        "resource-definitions/vm-1/resource-connections/bob/alice",
        "resource-groups/one",
    ],
)
def test_two_primaries(rest: Rest, devices: NoDevices, path: str) -> None:
    """Invariant 21: definition, connection or group; only with protocol C; over when the property goes."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    assert rest.put(path, TWO).status == 200
    devices.open("VM-1/0", "bob")
    assert (
        rest.resource("vm-1", "alice")["state"] == rest.resource("vm-1", "bob")["state"] == {"in_use": True}
    )
    devices.close("VM-1/0", "bob")
    rest.put("resource-definitions/vm-1", {"override_props": {"DrbdOptions/Net/protocol": "B"}})
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")
    rest.put("resource-definitions/vm-1", {"delete_props": ["DrbdOptions/Net/protocol"]})
    devices.open("VM-1/0", "bob")
    devices.close("VM-1/0", "bob")
    rest.put(path, {"delete_props": ["DrbdOptions/Net/allow-two-primaries"]})
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "bob")


def test_two_diskless_nodes_have_no_connection(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 21 and guide 3.6: there the definition's property is needed."""
    cluster.add_node("erin")
    rest.spawn("vm-1")
    for node in ("dave", "erin"):
        rest.make_available("vm-1", node)
    devices.open("VM-1/0", "dave")
    rest.put("resource-definitions/vm-1/resource-connections/dave/erin", TWO)
    with pytest.raises(DeviceBusy):
        devices.open("VM-1/0", "erin")
    rest.put("resource-definitions/vm-1", TWO)
    devices.open("VM-1/0", "erin")


def test_news_of_use_lag(rest_of: Callable[..., Any], clock: Clock, devices: NoDevices) -> None:
    """Invariant 21 and guide 3.4: open and close are known up to a second later."""
    _, rest = rest_of(in_use_lag=0.5)
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    assert rest.resource("vm-1", "dave")["state"] == {"in_use": False}
    clock.advance(0.6)
    assert rest.resource("vm-1", "dave")["state"] == {"in_use": True}
    devices.close("VM-1/0", "dave")
    assert _delete(rest, "dave", keep=True).problem == (500, "E997")
    clock.advance(0.6)
    assert _delete(rest, "dave", keep=True).told == ["S2"]


def test_stacks_without_drbd_do_not_tell_their_use(rest: Rest, devices: NoDevices) -> None:
    """Guide 3.4."""
    rest.spawn("vm-1", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    devices.open("VM-1/0", "alice")
    assert "state" not in rest.resource("vm-1", "alice")
    volume = rest.volume("vm-1", "alice")
    assert volume["device_path"] == "/dev/vg0/vm-1_00000"
    assert volume["state"] == {"disk_state": "Created"}


def test_state_of_an_offline_node(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 22: absent, not false; sync-status counts the node as synced."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "bob")
    cluster.set_online("bob", False)
    assert "state" not in rest.resource("vm-1", "bob")
    offline = next(one for one in rest.get("view/resources") if one["node_name"] == "bob")
    assert "state" not in offline["volumes"][0]
    assert offline["volumes"][0]["allocated_size_kib"] == 0
    rest.make_available("vm-1", "charlie", diskful=True)
    assert rest.get("resource-definitions/vm-1/sync-status") == {"synced_on_all": False}
    cluster.set_online("charlie", False)
    assert rest.get("resource-definitions/vm-1/sync-status") == {"synced_on_all": True}
    # unknown use does not stop a deletion
    assert _delete(rest, "bob").status == 200


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
    _delete(rest, "alice")
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


def test_views(rest: Rest) -> None:
    """Guide 2.8: filters; definitions without volumes are left out of the view, not of the list."""
    rest.spawn("vm-1")
    rest.post("resource-definitions", {"resource_definition": {"name": "empty"}})
    _create(rest, "alice", name="empty")
    assert set(rest.flags("empty")) == {"alice"}
    assert {one["name"] for one in rest.get("view/resources")} == {"vm-1"}
    on_thin = rest.get("view/resources?storage_pools=THIN&nodes=bob&resources=vm-1&resources=nope")
    assert [(one["name"], one["node_name"]) for one in on_thin] == [("vm-1", "bob")]
    assert rest.get("view/resources?nodes=nobody") == []
    assert rest.call("GET", "resource-definitions/vm-1/resources/dave").problem == (404, "E302")
    assert rest.call("GET", "resource-definitions/vm-1/resources/bob/volumes/7").problem == (404, "E304")
    connections = rest.get("resource-definitions/vm-1/resource-connections")
    assert [(one["node_a"], one["node_b"]) for one in connections] == [
        ("alice", "bob"),
        ("alice", "charlie"),
        ("bob", "charlie"),
    ]
