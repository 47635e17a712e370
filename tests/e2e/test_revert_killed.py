# SPDX-License-Identifier: Apache-2.0
"""Reverting and flattening that are killed at any point: there is never less data than before, a rerun ends well."""

from __future__ import annotations

from functools import partial
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.one import Call
from tests.actions.datastore.support import call as datastore_call
from tests.actions.support import by_res, links, locks_left, resources
from tests.actions.tm.disks import COPIES, KINDS, done, family, grow, points, resource_of, snapshot
from tests.actions.tm.support import CloudMaker, disk_bytes, remove, write_disk
from tests.e2e import disk_scenes
from tests.e2e.disk_scenes import DIGESTS, TEXTS
from tests.e2e.kills import after_request, contents, digest, killed, readable
from tests.e2e.scenes import Scene, Scenes

Make = Callable[..., Scenes]
_revert, _of_image = disk_scenes.revert, disk_scenes.of_image
CASES: dict[str, tuple[dict[str, object], Make, int]] = {
    "revert LVM_THIN": (KINDS["LVM_THIN"], _revert, 0),
    # Within ZFS; an older one than the newest is restored there, too.
    "revert ZFS newest": (KINDS["ZFS"], _revert, 1),
    "revert FILE_THIN": (KINDS["FILE_THIN"], _revert, 0),
    "revert LVM": (COPIES, partial(_revert, copies=True), 0),
    "revert image ZFS": (KINDS["ZFS"], partial(_of_image, action="snap_revert"), 0),
    "flatten LVM_THIN": (KINDS["LVM_THIN"], partial(_of_image, action="snap_flatten"), 1),
    "flatten LVM": (COPIES, partial(_of_image, action="snap_flatten", copies=True), 0),
}
"""Options of the cloud, scenes, and the snapshot whose content comes back."""


@pytest.mark.parametrize("name", CASES)
def test_again(make_cloud: CloudMaker, name: str) -> None:
    options, make, number = CASES[name]
    cloud = make_cloud(**options)
    prepared = make(cloud, number=number)
    undisturbed = next(prepared)
    assert contents(cloud, undisturbed.token) == set(DIGESTS)
    assert undisturbed.run().ok
    wanted = undisturbed.state()
    with_all = with_some = 0
    for scene, place in killed(cloud, prepared):
        kept = contents(cloud, scene.token)
        assert DIGESTS[number] in kept, place
        if kept == set(DIGESTS):
            with_all += 1
        else:
            # What was there before is wanted no longer.
            with_some += 1
            assert readable(cloud, f"OpenNebula-{scene.token}") == DIGESTS[number], place
            assert "flatten" in name or kept == set(DIGESTS[:2]), place
        again = scene.run()
        assert (again.rc, again.stderr) == (0, ""), place
        assert scene.state() == wanted, place
    assert with_all >= 2
    assert with_some >= 1


# Where a revert ends: with the guard, with the content of the snapshot, without a volume, with a new one that is being
# filled.
@pytest.mark.parametrize(
    ("options", "nth"), [({}, 1), ({}, 2), (COPIES, 2), (COPIES, 4), (COPIES, 5)], ids=str
)
def test_something_else(make_cloud: CloudMaker, options: dict[str, object], nth: int) -> None:
    """Nobody reverts again: the VM is started, its disk gets another snapshot and grows, or all of it is deleted."""
    cloud = make_cloud(**options)
    prepared = _revert(cloud, 0, copies=bool(options))
    scene = _killed_at(cloud, next(prepared), nth)
    vm = cloud.one.inventory.vms[scene.vm]
    name = resource_of(vm)
    there = name in resources(cloud)
    assert _settles(snapshot(cloud, vm, "CREATE", 2), there)
    assert contents(cloud, scene.token) == set(DIGESTS)
    if there:
        assert digest(disk_bytes(cloud, vm)) in (DIGESTS[0], DIGESTS[2])
        write_disk(cloud, vm, 0, b"alive!")
    assert _settles(grow(cloud, vm, 9), there)
    assert contents(cloud, scene.token) >= set(DIGESTS)
    if there:
        assert disk_bytes(cloud, vm, 6) == b"alive!"
    done(snapshot(cloud, vm, "REVERT", 1))
    assert disk_bytes(cloud, vm, 6) == TEXTS[1]
    assert points(cloud, name) == ([0, 1, 2] if there else [0, 1])
    _end(cloud, scene)


@pytest.mark.parametrize(("options", "nth"), [({}, 2), (COPIES, 2), (COPIES, 4), (COPIES, 5)], ids=str)
def test_the_end(make_cloud: CloudMaker, options: dict[str, object], nth: int) -> None:
    cloud = make_cloud(**options)
    _end(cloud, _killed_at(cloud, next(_revert(cloud, 0, copies=bool(options))), nth))


def _killed_at(cloud: Cloud, scene: Scene, nth: int) -> Scene:
    after_request(cloud, nth)
    assert not scene.run().ok
    cloud.controller.faults.clear()
    return scene


def _settles(call: Call, there: bool) -> bool:
    """It works where there is a volume, and says what there is not otherwise."""
    return (call.rc, call.stderr) == (0, "") if there else "has no" in call.user_error


def _end(cloud: Cloud, scene: Scene) -> None:
    """The VM is terminated, and its image deleted: nothing is left of either."""
    vm = cloud.one.inventory.vms[scene.vm]
    assert remove(cloud, vm).ok
    assert datastore_call(cloud, "rm", cloud.one.inventory.images[int(vm.disk(0)["IMAGE_ID"])]).ok
    assert family(cloud, resource_of(vm)) == set()
    assert contents(cloud, scene.token) == set()
    assert by_res(resource_of(vm)) not in {text for texts in links(cloud).values() for text in texts.values()}
    assert locks_left(cloud) == []
