# SPDX-License-Identifier: Apache-2.0
"""Deletions that do not end at once: devices held open, nodes that are away, replicas that stay as tie-breakers."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import DISKLESS, TIE_BREAKER, Clock, Rest

RESOURCES = "resource-definitions/vm-1/resources"


def _unmake(rest: Rest, node: str) -> Any:
    return rest.call("POST", f"{RESOURCES}/{node}/unmake-available")


@pytest.fixture
def held(rest_of: Callable[..., Any], devices: NoDevices) -> Rest:
    """vm-1 is read on dave, as a CD-ROM is."""
    _, rest = rest_of(rest_version="1.29.1")
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave", write=False)
    return rest  # type: ignore[no-any-return]


@pytest.mark.parametrize("call", ["delete", "unmake"])
def test_a_reader_keeps_the_device(held: Rest, devices: NoDevices, call: str) -> None:
    """Not in use for LINSTOR, but DRBD can not be stopped: the resource stays half deleted."""

    def remove() -> Any:
        return held.delete_resource("dave", keep=True) if call == "delete" else _unmake(held, "dave")

    answer = remove()
    assert answer.problem == (500, "E998")
    failed = next(one for one in answer.json if one.get("error_report_ids"))
    assert failed["message"].startswith("(dave) ")
    assert held.get(f"error-reports/{failed['error_report_ids'][0]}")[0]["node_name"] == "dave"
    assert held.flags("vm-1")["dave"] == [*DISKLESS[:1], "DRBD_DELETE", *DISKLESS[1:]]
    assert devices.paths("VM-1/0", "dave")
    # the others have not forgotten it yet: it can go on reading
    assert devices.access("VM-1/0", "dave") == "rw"
    assert remove().problem == (500, "E998")
    devices.close("VM-1/0", "dave")
    assert remove().status == 200
    assert "dave" not in held.flags("vm-1")
    assert devices.paths("VM-1/0", "dave") == []


def test_the_controller_tries_again(held: Rest, devices: NoDevices, clock: Clock) -> None:
    held.delete_resource("dave", keep=True)
    clock.advance(61)
    assert "DRBD_DELETE" in held.flags("vm-1")["dave"]
    devices.close("VM-1/0", "dave")
    assert "dave" in held.flags("vm-1")
    clock.advance(61)
    assert "dave" not in held.flags("vm-1")
    assert devices.paths("VM-1/0", "dave") == []


def test_a_half_deleted_resource_can_be_had_again(held: Rest, devices: NoDevices, clock: Clock) -> None:
    held.delete_resource("dave", keep=True)
    assert held.make_available("vm-1", "dave").status == 200
    assert held.flags("vm-1")["dave"] == DISKLESS
    devices.close("VM-1/0", "dave")
    clock.advance(61)
    assert held.flags("vm-1")["dave"] == DISKLESS


def test_a_reader_keeps_the_definition(held: Rest, devices: NoDevices) -> None:
    """The diskless resources go first: the disks are untouched."""
    answer = held.delete("resource-definitions/vm-1")
    assert answer.problem == (500, "E998")
    assert held.get("resource-definitions/vm-1")["flags"] == ["DELETE"]
    flags = held.flags("vm-1")
    assert flags["alice"] == flags["bob"] == []
    assert "DELETE" in flags["dave"]
    assert devices.paths("VM-1/0", "alice")
    devices.close("VM-1/0", "dave")
    assert held.delete("resource-definitions/vm-1").status == 200
    assert not devices.exists("VM-1/0")


@pytest.mark.parametrize("call", ["delete", "unmake"])
def test_an_offline_node(rest_of: Callable[..., Any], devices: NoDevices, call: str) -> None:
    """Accepted; marked until the node returns, then gone, also on the host."""
    cluster, rest = rest_of(rest_version="1.29.1")
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")
    cluster.set_online("dave", False)
    answer = rest.delete_resource("dave", keep=True) if call == "delete" else _unmake(rest, "dave")
    assert (answer.status, answer.told) == (200, ["S2", "W1002"])
    assert {"DELETE", "DRBD_DELETE"} < set(rest.flags("vm-1")["dave"])
    assert devices.paths("VM-1/0", "dave")
    devices.close("VM-1/0", "dave")
    cluster.set_online("dave", True)
    assert "dave" not in rest.flags("vm-1")
    assert devices.paths("VM-1/0", "dave") == []
    # a new resource there starts without the memory of the outage
    rest.make_available("vm-1", "dave")
    devices.open("VM-1/0", "dave")


def test_available_again_on_an_offline_node(cluster: Cluster, rest: Rest) -> None:
    rest.spawn("vm-1")
    rest.make_available("vm-1", "dave")
    cluster.set_online("dave", False)
    rest.delete_resource("dave", keep=True)
    answer = rest.make_available("vm-1", "dave")
    assert (answer.status, "W1002" in answer.told) == (200, True)
    cluster.set_online("dave", True)
    assert rest.flags("vm-1")["dave"] == DISKLESS


def test_the_third_disk_stays_as_tie_breaker(rest: Rest, devices: NoDevices) -> None:
    """Two disks are left, they want one: the replica that should go loses only its disk."""
    rest.spawn("vm-1", group="one-three")
    answer = rest.delete_resource("charlie")
    assert (answer.status, "I10006" in answer.told) == (200, True)
    assert rest.flags("vm-1") == {"alice": [], "bob": [], "charlie": TIE_BREAKER}
    assert rest.volume("vm-1", "charlie")["state"]["disk_state"] == "Diskless"
    assert rest.delete_resource("bob").status == 200
    assert rest.flags("vm-1") == {"alice": []}


def test_where_no_tie_breaker_is_wanted_the_disk_goes(rest: Rest, devices: NoDevices) -> None:
    rest.put(
        "resource-groups/one-three", {"override_props": {"DrbdOptions/auto-add-quorum-tiebreaker": "False"}}
    )
    rest.spawn("vm-1", group="one-three")
    assert rest.delete_resource("charlie").told == ["S2"]
    assert rest.flags("vm-1") == {"alice": [], "bob": []}
    assert devices.paths("VM-1/0", "charlie") == []


@pytest.mark.parametrize("version", ["1.27.0", "1.29.1"])
def test_a_used_tie_breaker_is_one_no_longer(
    rest_of: Callable[..., Any], devices: NoDevices, version: str
) -> None:
    """The controller hears that it is Primary; after use it is a plain diskless that a removal makes one again."""
    _, rest = rest_of(rest_version=version)
    rest.spawn("vm-1")
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER
    devices.open("VM-1/0", "charlie")
    assert rest.resource("vm-1", "charlie")["state"] == {"in_use": True}
    assert rest.flags("vm-1")["charlie"] == DISKLESS
    assert "CLIENT" not in rest.resource("vm-1", "charlie")["layer_object"]["drbd"]["flags"]
    devices.close("VM-1/0", "charlie")
    assert rest.flags("vm-1")["charlie"] == DISKLESS
    gone = _unmake(rest, "charlie") if version == "1.29.1" else rest.delete_resource("charlie", keep=True)
    assert "I10006" in gone.told
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER


def test_a_reader_is_no_user_of_the_tie_breaker(rest: Rest, devices: NoDevices) -> None:
    rest.spawn("vm-1")
    devices.open("VM-1/0", "charlie", write=False)
    assert rest.resource("vm-1", "charlie")["state"] == {"in_use": False}
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER
