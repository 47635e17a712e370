# SPDX-License-Identifier: Apache-2.0
"""A replica that is offline or out of date: what can be done with snapshots and copies, and what the refusal names."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.one import Call
from tests.actions.datastore.support import call as image_call
from tests.actions.datastore.support import image_of
from tests.actions.support import locks_left, resources
from tests.actions.tm.disks import (
    grow,
    placed,
    points,
    ready_image,
    refused,
    resource_of,
    save,
    set_attributes,
    snapshot,
)
from tests.actions.tm.support import CloudMaker

LOST = "charlie"


def attempts(cloud: Cloud) -> dict[str, Callable[[], Call]]:
    """One call of each action, each on a disk or image of its own, which has a snapshot and three replicas."""
    made: dict[str, Callable[[], Call]] = {}
    actions: dict[str, Callable[..., Call]] = {
        "snap_create": lambda vm: snapshot(cloud, vm, "CREATE", 1),
        "snap_delete": lambda vm: snapshot(cloud, vm, "DELETE"),
        "snap_revert": lambda vm: snapshot(cloud, vm, "REVERT"),
        "cpds": lambda vm: save(cloud, vm, "saved-present"),
        "cpds of a snapshot": lambda vm: save(cloud, vm, "saved-snapshot", 0),
        "resize": lambda vm: grow(cloud, vm, 20),
    }
    for name, act in actions.items():
        vm = placed(cloud, ready_image(cloud, "one-three", persistent=True))
        cloud.cluster.snapshots.create(resource_of(vm), {"name": "OpenNebula-Snap-0"})
        made[name] = lambda act=act, vm=vm: act(vm)  # type: ignore[misc]
    for name in ("snap_revert", "snap_flatten", "export"):
        image = ready_image(cloud, "one-three")
        image.target_snapshot = 0
        cloud.cluster.snapshots.create(image.source, {"name": "OpenNebula-Snap-0"})
        made[f"image {name}"] = lambda name=name, image=image: image_call(cloud, name, image)  # type: ignore[misc]
    copy = image_of(cloud, ready_image(cloud, "one-three").source, 8)
    made["image clone"] = lambda: image_call(cloud, "clone", copy)
    return made


@pytest.mark.parametrize(
    ("how", "works"),
    [
        ("offline", {"snap_create", "snap_delete", "cpds of a snapshot"}),
        ("outdated", {"snap_delete", "cpds of a snapshot"}),
    ],
)
def test_what_works_and_what_is_refused(make_cloud: CloudMaker, how: str, works: set[str]) -> None:
    """All side by side: what may get well again is waited for half a minute."""
    cloud = make_cloud(sync_seconds=0.0)
    set_attributes(cloud, LINSTOR_RESOURCE_GROUP="one-three")
    todo = attempts(cloud)
    before = resources(cloud)
    if how == "offline":
        cloud.cluster.set_online(LOST, False)
    else:
        cloud.cluster.partition([LOST])
        for name in before:
            cloud.cluster.outdate(name, LOST)
    with ThreadPoolExecutor(len(todo)) as pool:
        running = {name: pool.submit(act) for name, act in todo.items()}
        calls = {name: one.result() for name, one in running.items()}
    assert {name for name, call in calls.items() if call.ok} == works
    for name, call in calls.items():
        if name not in works:
            refused(call, LOST, "OpenNebula-Image-")
    assert resources(cloud) == before | {"saved-snapshot"}
    kept = {"snap_create": [0, 1] if how == "offline" else [0], "snap_delete": []}
    for number, name in enumerate(todo):
        if name not in ("image clone", "image export"):
            assert points(cloud, f"OpenNebula-Image-{number}") == kept.get(name, [0]), name
        assert cloud.cluster.rd(f"OpenNebula-Image-{number}").volumes[0].size_kib == 8 * 1024
    assert locks_left(cloud) == []
