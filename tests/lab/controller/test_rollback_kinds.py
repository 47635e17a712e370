# SPDX-License-Identifier: Apache-2.0
"""Rollbacks that depend on the storage and on the release: on ZFS, and before LINSTOR 1.31.3."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.controller import Cluster
from lab.devices_protocol import NoDevices

from .rollbacks import RD, ZEROS, A, B, prepared, rollback, snapshots, states
from .support import GIB, Rest


def _zfs(rest_of: Callable[..., Any], devices: NoDevices, **options: Any) -> tuple[Cluster, Rest]:
    cluster, rest = rest_of(provider="ZFS_THIN", **options)
    prepared(rest, devices)
    rest.put(RD, {"override_props": {"Aux/one/vm": "8"}})
    return cluster, rest


def test_zfs_rolls_back_within_the_volume_to_the_newest(
    rest_of: Callable[..., Any], devices: NoDevices
) -> None:
    """No property of the definition changes, all resources stay, no safety snapshot is needed."""
    cluster, rest = _zfs(rest_of, devices)
    uuid = rest.resource("vm-1", "dave")["uuid"]
    assert rollback(rest).status == 200
    assert devices.read("VM-1/0", 0, 4096) == A
    assert rest.get(RD)["props"]["Aux/one/vm"] == "8"
    assert rest.resource("vm-1", "dave")["uuid"] == uuid
    assert cluster.suspension.times("vm-1") == 1  # for s1


def test_zfs_restores_what_is_not_the_newest(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """From then on the older snapshots are not those of the volume any more: strategy ``rollback`` is 977."""
    _, rest = _zfs(rest_of, devices)
    rest.snapshot("vm-1", "s2")
    assert rollback(rest, "s1").status == 200
    assert devices.read("VM-1/0", 0, 4096) == A
    assert rest.get(RD)["props"]["Aux/one/vm"] == "7"
    assert rollback(rest, "s2", zfs_rollback_strategy="rollback").problem == (500, "E977")
    # it is the newest, but restored all the same
    assert rollback(rest, "s2").status == 200
    assert devices.read("VM-1/0", 0, 4096) == B
    assert rest.get(RD)["props"]["Aux/one/vm"] == "8"
    rest.snapshot("vm-1", "s3")
    assert rollback(rest, "s3", zfs_rollback_strategy="rollback").status == 200


def test_zfs_rollback_within_wants_the_snapshot_on_every_disk(
    rest_of: Callable[..., Any], devices: NoDevices
) -> None:
    """A replica that was away when the newest snapshot was taken is in the way; strategy ``clone`` does it."""
    cluster, rest = _zfs(rest_of, devices)
    cluster.set_online("bob", False)
    rest.snapshot("vm-1", "s2")
    cluster.set_online("bob", True)
    devices.write("VM-1/0", 0, ZEROS)
    assert rollback(rest, "s2").problem == (404, "E315")
    assert devices.read("VM-1/0", 0, 4096) == ZEROS
    rest.put(RD, {"override_props": {"StorDriver/Zfs/RollbackStrategy": "Clone"}})
    assert rollback(rest, "s2").status == 200
    assert devices.read("VM-1/0", 0, 4096) == B


def test_zfs_rollback_within_fails_on_satellites(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """On some: they are filled by the others. On all: nothing has changed."""
    cluster, rest = _zfs(rest_of, devices)
    for node in ("alice", "bob"):
        cluster.satellites.fail(node, "rollback", "zfs rollback failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == B
    assert devices.paths("VM-1/0", "alice")
    cluster.satellites.fail("bob", "rollback", "zfs rollback failed")
    assert rollback(rest).problem == (500, "E998")
    assert devices.read("VM-1/0", 0, 4096) == A
    assert states(rest, "alice", "bob") == ["UpToDate", "Inconsistent"]


@pytest.mark.parametrize(
    ("release", "content"), [("1.32.0", ZEROS), ("1.32.2", ZEROS), ("1.32.3", A), ("1.31.3", A)]
)
def test_zfs_restore_that_loses_the_data(
    rest_of: Callable[..., Any], devices: NoDevices, release: str, content: bytes
) -> None:
    """1.32.0 to 1.32.2: new, empty volumes, which never become UpToDate."""
    _, rest = _zfs(rest_of, devices, rest_version="1.26.0", linstor_version=release)
    assert rest.get("controller/version")["version"] == release
    rest.snapshot("vm-1", "s2")
    assert rollback(rest, "s1").status == 200
    assert devices.read("VM-1/0", 0, 4096) == content
    good = content == A
    assert states(rest, "alice") == ["UpToDate" if good else "Inconsistent"]
    assert rest.resource("vm-1", "alice")["layer_object"]["drbd"]["may_promote"] == good


# --- older releases


@pytest.mark.parametrize("release", ["1.31.1", "1.31.2", "1.31.3"])
def test_a_volume_that_has_grown_since(rest_of: Callable[..., Any], devices: NoDevices, release: str) -> None:
    """Before 1.31.3 all data but the snapshots' is lost; 1.31.2 leaves what looks like a good volume."""
    _, rest = rest_of(rest_version="1.25.0", linstor_version=release)
    prepared(rest, devices)
    rest.put(f"{RD}/volume-definitions/0", {"size_kib": 2 * GIB})
    answer = rollback(rest)
    assert answer.problem == ((200, "") if release == "1.31.3" else (500, "E206"))
    assert rest.get(f"{RD}/volume-definitions/0")["size_kib"] == (1 if release == "1.31.3" else 2) * GIB
    assert snapshots(rest) == ["s1"]
    if release == "1.31.1":
        assert not devices.exists("VM-1/0")
        assert rest.flags("vm-1") == {}
        return
    assert devices.read("VM-1/0", 0, 4096) == (A if release == "1.31.3" else ZEROS)
    assert states(rest, "alice") == ["UpToDate"]


@pytest.mark.parametrize("release", ["1.31.1", "1.31.2"])
def test_resources_that_have_nothing_of_the_snapshot(
    rest_of: Callable[..., Any], devices: NoDevices, release: str
) -> None:
    """1.31.2 makes them again; before, those without a disk go, and replicas without it prevent a rollback."""
    cluster, rest = rest_of(rest_version="1.25.0", linstor_version=release)
    prepared(rest, devices)
    assert rollback(rest).status == 200
    assert ("dave" in rest.flags("vm-1")) == (release == "1.31.2")
    cluster.set_online("bob", False)
    rest.snapshot("vm-1", "s2")
    cluster.set_online("bob", True)
    assert rollback(rest, "s2").problem == ((200, "") if release == "1.31.2" else (404, "E315"))
    assert rest.flags("vm-1")["bob"] == []


def test_before_1_31_every_provider_rolls_back_within(
    rest_of: Callable[..., Any], devices: NoDevices
) -> None:
    _, rest = rest_of(rest_version="1.24.0")
    prepared(rest, devices)
    rest.put(RD, {"override_props": {"Aux/one/vm": "8"}})
    assert rollback(rest).status == 200
    assert devices.read("VM-1/0", 0, 4096) == A
    assert rest.get(RD)["props"]["Aux/one/vm"] == "8"
