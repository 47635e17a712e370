# SPDX-License-Identifier: Apache-2.0
"""Resizes that reach only some replicas, what is in the new space, and when DRBD has to fill it."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import STALE, NoDevices

from .support import GIB, Clock, Rest

VD = "resource-definitions/vm-1/volume-definitions/0"


def _resize(rest: Rest, size: int) -> Any:
    return rest.put(VD, {"size_kib": size})


def _usable(rest: Rest) -> dict[str, tuple[int, int]]:
    """Node -> what DRBD and what the storage says."""
    found = {}
    for node in ("alice", "bob"):
        layers = rest.resource("vm-1", node)["layer_object"]
        storage = layers["children"][0]["storage"]["storage_volumes"][0]
        found[node] = (
            layers["drbd"]["drbd_volumes"][0]["usable_size_kib"],
            storage["usable_size_kib"],
        )
    return found


def test_a_satellite_that_can_not_resize(
    cluster: Cluster, rest: Rest, devices: NoDevices, clock: Clock
) -> None:
    """The definition has the new size and the flag; the others' storage has grown, the device has not."""
    rest.spawn("vm-1")
    size, before = devices.size_kib("VM-1/0"), _usable(rest)
    cluster.satellites.fail("bob", "resize", "lvextend failed")
    answer = _resize(rest, 2 * GIB)
    assert (answer.problem, answer.told) == ((500, "E998"), ["S3", "E998"])
    shown = rest.get(VD)
    assert (shown["size_kib"], shown["flags"]) == (2 * GIB, ["RESIZE"])
    assert devices.size_kib("VM-1/0") == size
    after = _usable(rest)
    assert after["bob"] == before["bob"]
    assert min(after["alice"]) >= 2 * GIB
    # the same size again does nothing at all
    assert _resize(rest, 2 * GIB).told == ["W1023", "S3"]
    assert _usable(rest) == after
    # but the controller does
    clock.advance(61)
    rest.get("view/resources")
    assert "flags" not in rest.get(VD)
    assert devices.size_kib("VM-1/0") >= 2 * GIB
    assert min(_usable(rest)["bob"]) >= 2 * GIB


def test_drbd_that_can_not_resize(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """All sizes that LINSTOR shows are the new one; only the flag and the device tell."""
    rest.spawn("vm-1")
    size = devices.size_kib("VM-1/0")
    cluster.satellites.fail("alice", "drbd-resize", "drbdadm resize failed")
    assert _resize(rest, 2 * GIB).problem == (500, "E998")
    assert all(min(one) >= 2 * GIB for one in _usable(rest).values())
    assert rest.get(VD)["flags"] == ["RESIZE"]
    assert devices.size_kib("VM-1/0") == size
    assert _resize(rest, 2 * GIB + 4096).status == 200
    assert "flags" not in rest.get(VD)
    assert devices.size_kib("VM-1/0") >= 2 * GIB + 4096


def test_it_goes_on_when_the_satellite_returns(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    rest.spawn("vm-1")
    cluster.satellites.fail("bob", "resize", "lvextend failed")
    _resize(rest, 2 * GIB)
    cluster.set_online("bob", False, satellite_only=True)
    cluster.set_online("bob", True)
    assert "flags" not in rest.get(VD)
    assert devices.size_kib("VM-1/0") >= 2 * GIB


def test_a_thick_pool_that_is_fuller_than_known(
    rest_of: Callable[..., Any], devices: NoDevices, clock: Clock
) -> None:
    """The check looks at what was known and at the growth alone: metadata and extents come on top."""
    cluster, rest = rest_of(provider="LVM", pool_gib=2)
    rest.spawn("vm-1")
    clock.advance(1)
    cluster.pool_of("bob", "thin").foreign_kib = GIB // 2
    assert _resize(rest, GIB + GIB // 2 + 4096).problem == (500, "E998")
    assert rest.get(VD)["flags"] == ["RESIZE"]
    assert devices.size_kib("VM-1/0") < GIB + GIB // 2


@pytest.mark.parametrize(("provider", "first"), [("LVM", STALE), ("LVM_THIN", b"\0"), ("ZFS", b"\0")])
def test_what_is_in_the_new_space(
    rest_of: Callable[..., Any], devices: NoDevices, clock: Clock, provider: str, first: bytes
) -> None:
    """Plain LVM shows what others had stored there, before and behind the former end."""
    _, rest = rest_of(provider=provider)
    rest.spawn("vm-1", 8192)
    clock.advance(1)
    devices.write("VM-1/0", 0, b"x" * 4096)
    end = devices.size_kib("VM-1/0") * 1024
    assert _resize(rest, 65536).status == 200
    assert devices.read("VM-1/0", end, 4096) == first * 4096
    assert devices.read("VM-1/0", devices.size_kib("VM-1/0") * 1024 - 4096, 4096) == first * 4096
    assert devices.read("VM-1/0", 0, 4096) == b"x" * 4096


@pytest.mark.parametrize(("provider", "problem"), [("ZFS", "E974"), ("ZFS_THIN", "")])
def test_thick_replicas_are_in_sync_again_later(
    rest_of: Callable[..., Any], clock: Clock, provider: str, problem: str
) -> None:
    """DRBD fills the new space of all but one, unless the storage is thin: until then 974 and 979."""
    _, rest = rest_of(provider=provider)
    rest.spawn("vm-1")
    clock.advance(1)
    assert _resize(rest, 2 * GIB).status == 200
    assert _resize(rest, 3 * GIB).problem[1] == problem
    assert rest.snapshot("vm-1", "s1").problem[1] == problem.replace("974", "979")
    clock.advance(1)
    assert _resize(rest, 4 * GIB).status == 200


def test_snapshots_of_plain_lvm_prevent_it(rest_of: Callable[..., Any], clock: Clock) -> None:
    _, rest = rest_of(provider="LVM", rest_version="1.29.0")
    rest.spawn("vm-1")
    clock.advance(1)
    rest.snapshot("vm-1", "s1")
    assert _resize(rest, 2 * GIB).problem == (500, "E514")
    assert rest.get(VD)["size_kib"] == GIB
    rest.delete("resource-definitions/vm-1/snapshots/s1")
    assert _resize(rest, 2 * GIB).status == 200


def test_without_drbd_nobody_asks_for_up_to_date(cluster: Cluster, rest: Rest, devices: NoDevices) -> None:
    """An offline node is a warning then; the work is done when it is back."""
    rest.spawn("vm-1", select_filter={"layer_stack": ["STORAGE"], "place_count": 1})
    cluster.set_online("alice", False, satellite_only=True)
    answer = _resize(rest, 2 * GIB)
    assert (answer.status, answer.told) == (200, ["S3", "W1002"])
    assert devices.size_kib("VM-1/0") == GIB
    cluster.set_online("alice", True)
    assert devices.size_kib("VM-1/0") == 2 * GIB
