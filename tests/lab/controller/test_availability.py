# SPDX-License-Identifier: Apache-2.0
"""Invariant 18: make-available; from REST 1.29 unmake-available and managed dual primary."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import DeviceBusy, NoDevices

from .support import DISKLESS, TIE_BREAKER, Clock, Rest


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
    rest.delete_resource("dave", keep=True)
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
    rest.delete_resource("charlie", keep=False)
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
    assert _unmake(modern, "alice").told == ["W0"]
    assert _unmake(modern, "charlie").told == ["I0"]
    assert _unmake(modern, "nobody").problem == (404, "E300")
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
