# SPDX-License-Identifier: Apache-2.0
"""Invariant 17: creating resources; views of them."""

from __future__ import annotations

from typing import Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import BLOCK, STALE, NoDevices

from .support import DISKLESS, TIE_BREAKER, Rest


def test_creation_is_idempotent(rest: Rest, devices: NoDevices) -> None:
    """Invariant 17."""
    rest.spawn("vm-1", definitions_only=True)
    assert rest.create_resource("alice").status == 201
    again = rest.create_resource("alice")
    assert (again.status, again.told) == (201, ["I10008"])
    assert devices.paths("VM-1/0", "alice")[0] == "/dev/drbd1000"


@pytest.mark.parametrize(
    ("provider", "shown"), [("LVM", STALE), ("LVM_THIN", b"\0"), ("ZFS", b"\0"), ("FILE", b"\0")]
)
def test_only_thick_lvm_shows_what_its_blocks_held_before(
    build: Callable[..., Cluster], devices: NoDevices, provider: str, shown: bytes
) -> None:
    cluster = build(provider=provider)
    cluster.groups.spawn("one", {"resource_definition_name": "vm-1", "volume_sizes": [8192]})
    end = devices.size_kib("VM-1/0") * 1024 - BLOCK
    for offset in (0, 1 << 20, end - end % BLOCK):
        assert devices.read("VM-1/0", offset, BLOCK) == shown * BLOCK


def test_creation_errors(rest: Rest) -> None:
    """Invariant 17: missing node 300, pool 310, definition 301. A list is done whole or not."""
    rest.spawn("vm-1", definitions_only=True)
    assert rest.create_resource("nobody").problem == (404, "E300")
    assert rest.create_resource("alice", pool="nope").problem == (404, "E310")
    assert rest.create_resource("alice", name="nope").problem == (404, "E301")
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
    assert rest.create_resource("alice").problem == (500, "E975")


def test_creation_gives_a_diskless_its_disk(rest: Rest) -> None:
    """Invariant 17."""
    rest.spawn("vm-1")
    assert rest.flags("vm-1")["charlie"] == TIE_BREAKER
    assert rest.create_resource("charlie", "DISKLESS").status == 201
    assert rest.flags("vm-1")["charlie"] == DISKLESS
    assert rest.create_resource("charlie").status == 201
    assert rest.flags("vm-1")["charlie"] == []
    assert rest.create_resource("charlie", "DISKLESS").problem == (500, "E502")


def test_creation_undoes_a_deletion(cluster: Cluster, rest: Rest) -> None:
    """Invariant 17."""
    rest.spawn("vm-1")
    cluster.set_online("bob", False)
    assert rest.delete_resource("bob").told[-1] == "W1002"
    assert rest.flags("vm-1")["bob"] == ["DELETE", "DRBD_DELETE"]
    assert rest.create_resource("bob").status == 201
    assert rest.flags("vm-1")["bob"] == []
    cluster.set_online("bob", True)
    assert rest.flags("vm-1")["bob"] == []


def test_creation_on_an_offline_node_is_deferred(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """Invariant 17 and guide 3.2: 1002 with 201, in the database only."""
    rest.spawn("vm-1")
    cluster.set_online("dave", False)
    answer = rest.create_resource("dave", "DRBD_DISKLESS")
    assert (answer.status, "W1002" in answer.told) == (201, True)
    shown = rest.resource("vm-1", "dave")
    assert "state" not in shown
    assert "device_path" not in shown["layer_object"]["drbd"]["drbd_volumes"][0]
    assert devices.paths("VM-1/0", "dave") == []
    cluster.set_online("dave", True)
    assert devices.paths("VM-1/0", "dave") == ["/dev/drbd1000", "/dev/drbd/by-res/vm-1/0"]


def test_views(rest: Rest) -> None:
    """Guide 2.8: filters; definitions without volumes are left out of the view, not of the list."""
    rest.spawn("vm-1")
    rest.post("resource-definitions", {"resource_definition": {"name": "empty"}})
    rest.create_resource("alice", name="empty")
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
