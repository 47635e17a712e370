# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mvds``: the image is free for the next VM, with what this one wrote."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_BEFORE
from tests.actions.support import assert_nothing_left, content, links
from tests.actions.tm.support import (
    CloudMaker,
    bare_image,
    created,
    on_nodes,
    remove,
    waiting,
    write_disk,
)


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0", "1.29.1"])
def test_a_host_without_storage_is_released(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True), host="dave")
    before = on_nodes(cloud, "data")
    created(cloud, vm)
    write_disk(cloud, vm, 0, b"kept")
    assert remove(cloud, vm).ok
    # Which node breaks the tie is LINSTOR's choice; that one does is what counts.
    after = on_nodes(cloud, "data")
    assert sorted(after.values()) == sorted(before.values()) == ["disk", "disk", "tie-breaker"]
    assert content(cloud, "data", 4) == b"kept"
    assert_nothing_left(cloud, "data")


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0", "1.29.1"])
def test_the_tie_breaker_stays(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    before = on_nodes(cloud, bare_image(cloud, "data", persistent=True).source)
    host = next(node for node, role in before.items() if role == "tie-breaker")
    image = cloud.one.image(0)
    for _ in range(2):
        vm = waiting(cloud, image, host=host)
        created(cloud, vm)
        write_disk(cloud, vm, 0, b"kept")
        assert remove(cloud, vm).ok
        assert on_nodes(cloud, "data") == before
        cloud.one.vm_recover(vm, "delete")


def test_a_tie_breaker_stays_that_appears_meanwhile(make_cloud: CloudMaker) -> None:
    """Deleted without a word about it, it would be gone for good: LINSTOR makes no other one then."""
    cloud = make_cloud(rest_version="1.25.0")
    before = on_nodes(cloud, bare_image(cloud, "data", persistent=True).source)
    host = next(node for node, role in before.items() if role == "tie-breaker")
    vm = waiting(cloud, cloud.one.image(0), host=host)
    created(cloud, vm)

    def somebody_else_releases_it(_method: str, _path: str) -> None:
        cloud.cluster.deletion.delete_resource("data", host, True)

    cloud.controller.faults.add(CALL_BEFORE, method="DELETE", callback=somebody_else_releases_it)
    assert remove(cloud, vm).ok
    assert on_nodes(cloud, "data") == before
    assert "False" not in cloud.cluster.rd("data").props.values()


def test_a_dead_host_does_not_keep_the_image(cloud: Cloud) -> None:
    """The VM was its only user, so nobody else can have it open there."""
    cloud.one.inventory.datastores[100].template["LINSTOR_SSH_TIMEOUT"] = "1"
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True), host="dave")
    created(cloud, vm)
    cloud.hosts.set_link("dave", "refused")
    assert remove(cloud, vm).ok
    assert "diskless" not in on_nodes(cloud, "data").values()


def test_a_replica_stays(cloud: Cloud) -> None:
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True))
    before = on_nodes(cloud, "data")
    created(cloud, vm)
    assert remove(cloud, vm).ok
    assert on_nodes(cloud, "data") == before
    assert links(cloud) == {}


def test_a_disk_that_the_hypervisor_still_holds(cloud: Cloud) -> None:
    cloud.one.inventory.datastores[100].template["LINSTOR_ATTACH_TIMEOUT"] = "1"
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True), host="dave")
    created(cloud, vm)
    with cloud.hosts.open_disk("dave", "/dev/drbd/by-res/data/0"):
        call = remove(cloud, vm)
        assert call.rc == 1
        assert "data" in call.user_error[:100]
        assert "dave" in call.user_error[:100]
        assert on_nodes(cloud, "data")["dave"] == "diskless"
    assert remove(cloud, vm).ok
    assert "dave" not in on_nodes(cloud, "data")


def test_an_image_that_is_gone(cloud: Cloud) -> None:
    vm = waiting(cloud, cloud.one.image_create("lost", size=8, source="OpenNebula-Image-5", persistent=True))
    call = remove(cloud, vm)
    assert (call.rc, call.stderr) == (0, "")
