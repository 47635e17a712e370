# SPDX-License-Identifier: Apache-2.0
"""Invariants 21, 22: who uses a device, two primaries, offline nodes."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import DeviceBusy, NoDevices

from .support import Clock, Rest

TWO = {"override_props": {"DrbdOptions/Net/allow-two-primaries": "yes"}}


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
    """Invariant 21: definition, connection or group; over when the property goes."""
    rest.spawn("vm-1")
    devices.open("VM-1/0", "alice")
    assert rest.put(path, TWO).status == 200
    devices.open("VM-1/0", "bob")
    assert (
        rest.resource("vm-1", "alice")["state"] == rest.resource("vm-1", "bob")["state"] == {"in_use": True}
    )
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
    assert rest.delete_resource("dave", keep=True).problem == (500, "E997")
    clock.advance(0.6)
    assert rest.delete_resource("dave", keep=True).told == ["S2"]


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
    assert rest.delete_resource("bob").status == 200
