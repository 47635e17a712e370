# SPDX-License-Identifier: Apache-2.0
"""LINSTOR's own failures in the middle of a rollback: nothing is lost, somebody is told where it is, and LINSTOR being
well again a rerun ends well."""

from __future__ import annotations

from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.controller.dying import STAGES
from lab.controller.faults import CALL_AFTER
from tests.actions.datastore.support import call as image_call
from tests.actions.support import requests_of, resources
from tests.actions.tm.disks import KINDS, grow, resource_of, save, snapshot
from tests.actions.tm.support import CloudMaker, create, link_of, on_nodes, waiting
from tests.e2e.disk_scenes import DIGESTS, revert, with_past
from tests.e2e.kills import contents, readable
from tests.e2e.outages import impatient

Trouble = Callable[[Cloud, str], None]
TARGET, BEFORE = DIGESTS[0], DIGESTS[2]


def fails(operation: str, *, nodes: int = 1, times: int = 1) -> Trouble:
    """On so many nodes that have a disk, so many times each."""

    def plan(cloud: Cloud, name: str) -> None:
        for resource in cloud.cluster.rd(name).diskful[:nodes]:
            cloud.cluster.satellites.fail(resource.node, operation, f"no {operation} today", times)

    return plan


def dies(stage: str) -> Trouble:
    return lambda cloud, _: cloud.cluster.dying.at(stage)


def fails_after_deletion(cloud: Cloud, name: str) -> None:
    """The volume is gone, and no copy gets its name."""

    def plan(_method: str, _path: str) -> None:
        fails("clone", nodes=2)(cloud, f"{name}-snap0")

    cloud.controller.faults.add(CALL_AFTER, method="DELETE", path=f"/{name}$", callback=plan)


TROUBLES: dict[str, tuple[str, Trouble]] = {
    "guard": ("LVM_THIN", fails("snapshot")),
    "delete": ("LVM_THIN", fails("delete")),
    "restore": ("LVM_THIN", fails("restore")),
    # What was there before is restored, or ZFS rolls back to it.
    "restore all": ("LVM_THIN", fails("restore", nodes=2)),
    "refused": ("ZFS", fails("restore-refused", nodes=2)),
    # That fails, too.
    "restore all for long": ("LVM_THIN", fails("restore", nodes=2, times=100)),
    "guard stays": ("LVM_THIN", fails("snapshot-delete", nodes=2, times=100)),
    "guard copy": ("LVM-1.28", fails("clone", nodes=2)),
    "copy": ("LVM-1.28", fails_after_deletion),
    **{f"dies: {stage}": ("LVM_THIN", dies(stage)) for stage in STAGES},
}
"""Kinds of storage, and what happens."""


@pytest.mark.parametrize("name", TROUBLES)
def test_content_is_kept(make_cloud: CloudMaker, name: str) -> None:
    kind, trouble = TROUBLES[name]
    cloud = make_cloud(**KINDS[kind])
    impatient(cloud, attach="2", LINSTOR_TIMEOUT="3")
    prepared = revert(cloud, 0, copies=kind == "LVM-1.28")
    undisturbed = next(prepared)
    assert undisturbed.run().ok
    wanted = undisturbed.state()
    scene = next(prepared)
    vm = cloud.one.inventory.vms[scene.vm]
    disk = resource_of(vm)
    trouble(cloud, disk)
    with requests_of(cloud) as requests:
        call = scene.run()
    assert [one for one in requests if one.status in (0, 500)] or not call.ok, "nothing has happened"
    found = readable(cloud, disk)
    kept = contents(cloud, scene.token)
    assert kept >= set(DIGESTS[:2])
    if call.ok:
        assert found == TARGET
    else:
        assert BEFORE in kept
        if found not in (BEFORE, TARGET):
            assert any(one in call.user_error for one in _guards(cloud, disk))
            # Nobody starts on what is no content at all.
            assert found is None or link_of(cloud, vm) is None
    _recover(cloud)
    again = scene.run()
    assert (again.rc, again.stderr) == (0, "")
    assert scene.state() == wanted


def _guards(cloud: Cloud, disk: str) -> list[str]:
    labels = [] if disk not in resources(cloud) else list(cloud.cluster.rd(disk).snapshots.values())
    names = [one.name for one in labels if "Guard" in one.name]
    return [*names, *(name for name in resources(cloud) if name == f"{disk}-guard")]


def _recover(cloud: Cloud) -> None:
    """The failures that were to come do not."""
    for node in cloud.cluster.nodes:
        for operation in ("restore", "restore-refused", "snapshot-delete", "clone"):
            while cloud.cluster.satellites.take_failure(node, operation):
                pass


@pytest.mark.parametrize(
    ("operation", "times", "why"),
    [
        ("restore", 2, "has lost its content in a revert"),
        ("restore-refused", 4, "has no replica with a disk"),
    ],
)
def test_nobody_uses_what_is_left(make_cloud: CloudMaker, operation: str, times: int, why: str) -> None:
    """LINSTOR makes empty replicas, or would make one for the first who asks."""
    cloud = make_cloud()
    impatient(cloud, attach="2", LINSTOR_TIMEOUT="3")
    image = with_past(cloud, copies=False)
    image.target_snapshot = 0
    fails(operation, nodes=2, times=times)(cloud, image.source)
    failed = image_call(cloud, "snap_revert", image)
    assert _guards(cloud, image.source)[0] in failed.user_error
    left = on_nodes(cloud, image.source)
    vm = waiting(cloud, image)
    uses = {
        "tm/ln": create(cloud, vm),
        "tm/snap_create": snapshot(cloud, vm, "CREATE", 7),
        "tm/resize": grow(cloud, vm, 40),
        "tm/cpds": save(cloud, vm, "saved"),
    }
    for action, call in uses.items():
        assert not call.ok, action
    assert why in uses["tm/ln"].user_error
    assert link_of(cloud, vm) is None
    assert on_nodes(cloud, image.source) == left
    _recover(cloud)
    assert image_call(cloud, "snap_revert", image).ok
    assert readable(cloud, image.source) == TARGET
    assert create(cloud, vm).ok


def test_what_is_given_back_is_not_what_was_lost_before(make_cloud: CloudMaker) -> None:
    """A second revert that fails has rubbish to give back; the first guard stays, and is told."""
    cloud = make_cloud()
    impatient(cloud, attach="2", LINSTOR_TIMEOUT="3")
    image = with_past(cloud, copies=False)
    image.target_snapshot = 0
    fails("restore", nodes=2, times=2)(cloud, image.source)
    assert not image_call(cloud, "snap_revert", image).ok
    truth = _guards(cloud, image.source)[0]
    fails("restore", nodes=2)(cloud, image.source)
    failed = image_call(cloud, "snap_revert", image)
    assert truth in failed.user_error
    assert truth in _guards(cloud, image.source)
    assert not create(cloud, waiting(cloud, image)).ok
