# SPDX-License-Identifier: Apache-2.0
"""Restores that go wrong on the way, and what restored volumes take of their pools."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .support import GIB, Clock, Rest

A, B, ZEROS = b"a" * 4096, b"b" * 4096, bytes(4096)
MIB = 1024


def _snapshot(rest: Rest, devices: NoDevices) -> None:
    """vm-1 with 4 MiB of A in snapshot s1."""
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * MIB)
    assert rest.snapshot("vm-1", "s1").status == 201


def _restore(rest: Rest, **more: Any) -> Any:
    """Into vm-2; the answer of the third call."""
    rest.post("resource-definitions", {"resource_definition": {"name": "vm-2", "resource_group_name": "one"}})
    path = "resource-definitions/vm-1/snapshot-restore-volume-definition/s1"
    rest.post(path, {"to_resource": "vm-2"})
    path = "resource-definitions/vm-1/snapshot-restore-resource/s1"
    return rest.post(path, {"to_resource": "vm-2", **more})


def _used(rest: Rest, node: str = "alice") -> int:
    pools = rest.get(f"nodes/{node}/storage-pools?storage_pools=thin")
    return 100 * GIB - int(pools[0]["free_capacity"])


def test_one_node_fails(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """An error, and a definition with resources: the failed one is filled by the other when it works again."""
    _snapshot(rest, devices)
    cluster.satellites.fail("bob", "restore", "lvcreate failed")
    assert _restore(rest).problem == (500, "E998")
    assert rest.get("resource-definitions/vm-2").get("flags", []) == []
    assert rest.volume("vm-2", "bob")["state"]["disk_state"] == "Failed"
    assert devices.read("VM-2/0", 0, 4096) == A
    assert _restore(rest).problem == (500, "E502")
    clock.advance(61)
    rest.get("view/resources")
    clock.advance(1)
    assert rest.volume("vm-2", "bob")["state"]["disk_state"] == "UpToDate"
    assert devices.read("VM-2/0", 0, 4096) == A


def test_all_nodes_fail(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """LINSTOR forgets the snapshot: what it makes later is empty, and looks like any other volume."""
    _snapshot(rest, devices)
    for node in ("alice", "bob"):
        cluster.satellites.fail(node, "restore", "lvcreate failed")
    assert _restore(rest).problem == (500, "E998")
    assert not devices.exists("VM-2/0")
    clock.advance(61)
    rest.get("view/resources")
    assert devices.read("VM-2/0", 0, 4096) == ZEROS
    assert rest.volume("vm-2", "bob")["state"]["disk_state"] == "UpToDate"


def test_a_node_is_away(cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock) -> None:
    """A warning; it is filled when it is back."""
    _snapshot(rest, devices)
    cluster.set_online("bob", False, satellite_only=True)
    answer = _restore(rest)
    assert answer.status == 200
    assert "W1002" in answer.told
    assert devices.read("VM-2/0", 0, 4096) == A
    cluster.set_online("bob", True)
    clock.advance(1)
    assert rest.volume("vm-2", "bob")["state"]["disk_state"] == "UpToDate"


@pytest.mark.parametrize(
    ("provider", "more"),
    [("LVM_THIN", 0), ("ZFS_THIN", 0), ("FILE_THIN", 0), ("FILE", GIB)],
)
def test_what_a_restored_volume_takes(
    rest_of: Callable[..., Any], devices: NoDevices, provider: str, more: int
) -> None:
    """Thin ones share their blocks; a thick file is a copy of full size."""
    _, rest = rest_of(provider=provider, sync_seconds=0.0)
    _snapshot(rest, devices)
    before = _used(rest)
    assert _restore(rest).status == 200
    assert more <= _used(rest) - before <= more + 4 * MIB
    assert devices.read("VM-2/0", 0, 4096) == A
    assert rest.delete("resource-definitions/vm-1/snapshots/s1").status == 200
    assert rest.delete("resource-definitions/vm-1").status == 200
    assert devices.read("VM-2/0", 0, 4096) == A
    rest.delete("resource-definitions/vm-2")
    assert _used(rest) == 0


def test_thick_pools_must_have_the_room(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """206, and the definition stays without resources."""
    _, rest = rest_of(provider="FILE", sync_seconds=0.0, pool_gib=3)
    rest.spawn("vm-1")
    rest.snapshot("vm-1", "s1")
    rest.spawn("vm-9", GIB // 2)
    assert _restore(rest).problem == (500, "E206")
    assert rest.flags("vm-2") == {}
