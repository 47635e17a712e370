# SPDX-License-Identifier: Apache-2.0
"""What clones share with their source, for how long, and what plain LVM needs while one is made."""

from __future__ import annotations

from typing import Any, Callable

import pytest

from lab.devices_protocol import NoDevices

from .support import GIB, Clock, Rest

A = b"a" * 4096
MIB = 1024


def _used(rest: Rest, node: str = "alice") -> int:
    pools = rest.get(f"nodes/{node}/storage-pools?storage_pools=thin")
    return 100 * GIB - int(pools[0]["free_capacity"])


def _zfs(rest_of: Callable[..., Any], devices: NoDevices) -> Rest:
    """vm-1 holds 4 MiB."""
    _, rest = rest_of(provider="ZFS_THIN")
    rest.spawn("vm-1")
    devices.write("VM-1/0", 0, A * MIB)
    return rest


@pytest.mark.parametrize(
    ("asked", "inherited", "copies"),
    [(True, None, 1), (False, None, 2), (None, None, 2), (None, "true", 1), (False, "true", 2)],
)
def test_whether_blocks_are_shared(
    rest_of: Callable[..., Any], devices: NoDevices, asked: bool | None, inherited: str | None, copies: int
) -> None:
    """As asked, else as the source's group or the controller says."""
    rest = _zfs(rest_of, devices)
    if inherited:
        rest.post("controller/properties", {"override_props": {"UseZFSClone": inherited}})
    rest.finished_clone("vm-1", "vm-2", **({} if asked is None else {"use_zfs_clone": asked}))
    assert _used(rest) == copies * 4 * MIB
    assert ("use-zfs-clone" in rest.get("resource-definitions/vm-2")["props"]) == (copies == 1)


def test_the_value_of_the_definition_does_not_count(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    rest = _zfs(rest_of, devices)
    rest.put("resource-definitions/vm-1", {"override_props": {"UseZFSClone": "true"}})
    rest.finished_clone("vm-1", "vm-2")
    assert _used(rest) == 8 * MIB


def test_clones_of_dependent_clones_are_dependent(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """The mark is copied with the properties, and LINSTOR lets nobody delete it."""
    rest = _zfs(rest_of, devices)
    rest.finished_clone("vm-1", "vm-2", use_zfs_clone=True)
    unmark = {"delete_props": ["use-zfs-clone"]}
    assert rest.clone("vm-2", "vm-3", **unmark).problem == (500, "E213")
    assert rest.put("resource-definitions/vm-2", unmark).problem == (500, "E213")
    rest.finished_clone("vm-2", "vm-3", use_zfs_clone=False)
    assert _used(rest) == 4 * MIB
    # through all of them the blocks of the first are held
    for name in ("vm-1", "vm-2"):
        assert rest.delete(f"resource-definitions/{name}").status == 200
    assert devices.read("VM-3/0", 0, 4096) == A
    assert _used(rest) == 4 * MIB
    rest.delete("resource-definitions/vm-3")
    assert _used(rest) == 0


def test_deletion_of_a_source_is_never_refused(rest_of: Callable[..., Any], devices: NoDevices) -> None:
    """Strategy Delete asks for LINSTOR's snapshots only, and a definition with those is not deleted anyway."""
    rest = _zfs(rest_of, devices)
    rest.put("resource-definitions/vm-1", {"override_props": {"StorDriver/Zfs/DeleteStrategy": "Delete"}})
    rest.finished_clone("vm-1", "vm-2", use_zfs_clone=True)
    rest.snapshot("vm-1", "s1")
    assert rest.delete("resource-definitions/vm-1").problem == (500, "E514")
    assert rest.delete("resource-definitions/vm-1/resources/alice").problem == (500, "E516")
    assert rest.delete("resource-definitions/vm-1/volume-definitions/0").problem == (500, "E516")
    assert devices.read("VM-1/0", 0, 4096) == A
    assert rest.flags("vm-1")["alice"] == []
    rest.delete("resource-definitions/vm-1/snapshots/s1")
    assert rest.delete("resource-definitions/vm-1").status == 200
    assert _used(rest) == 4 * MIB


def test_plain_lvm_holds_the_copy_and_a_snapshot_meanwhile(
    rest_of: Callable[..., Any], devices: NoDevices, clock: Clock
) -> None:
    """A snapshot as large as the source, gone when the copy is complete, has failed or is deleted."""
    cluster, rest = rest_of(provider="LVM")
    rest.spawn("vm-1")
    clock.advance(1)
    one = _used(rest)
    rest.clone("vm-1", "vm-2")
    assert _used(rest) == 3 * one
    rest.delete("resource-definitions/vm-2")
    assert _used(rest) == one
    cluster.satellites.fail("bob", "clone", "dd failed")
    rest.clone("vm-1", "vm-2")
    assert (_used(rest), rest.clone_status("vm-1", "vm-2")) == (one, "FAILED")
    rest.delete("resource-definitions/vm-2")
    rest.finished_clone("vm-1", "vm-2")
    assert _used(rest) == 2 * one


@pytest.mark.parametrize(("size", "problem"), [(2, ""), (4, "E206")])
def test_plain_lvm_wants_twice_the_size_to_be_free(
    rest_of: Callable[..., Any], clock: Clock, size: int, problem: str
) -> None:
    """Of 10 GiB, 8 are free for 2 + 2, but 6 are not for 4 + 4."""
    _, rest = rest_of(provider="LVM", pool_gib=10)
    rest.spawn("vm-1", size * GIB)
    clock.advance(1)
    assert rest.clone("vm-1", "vm-2").status == (500 if problem else 201)
    assert (rest.call("GET", "resource-definitions/vm-2").status == 404) == bool(problem)
