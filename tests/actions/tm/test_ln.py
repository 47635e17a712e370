# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/ln``: a VM works on the image itself."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from tests.actions.support import assert_nothing_left, by_res, content, links
from tests.actions.tm.support import (
    CONTENT,
    CloudMaker,
    bare_image,
    create,
    created,
    disk_bytes,
    hosts_without,
    link_of,
    new_image,
    on_nodes,
    waiting,
    write_disk,
)


def test_a_persistent_image(cloud: Cloud) -> None:
    image = new_image(cloud, persistent=True)
    before = on_nodes(cloud, image.source)
    host = next(node for node, role in before.items() if role == "disk")
    vm = waiting(cloud, image, host=host)
    created(cloud, vm)
    assert link_of(cloud, vm) == by_res(image.source)
    assert disk_bytes(cloud, vm) == CONTENT
    write_disk(cloud, vm, 0, b"kept")
    assert content(cloud, image.source, 4) == b"kept"
    assert on_nodes(cloud, image.source) == before


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0", "1.29.1"])
def test_on_a_host_without_storage(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    image = bare_image(cloud, "data", persistent=True)
    before = on_nodes(cloud, "data")
    vm = waiting(cloud, image, host="dave")
    created(cloud, vm)
    after = on_nodes(cloud, "data")
    assert after.pop("dave") == "diskless"
    # An older LINSTOR takes its tie-breaker back when there is a client with a vote.
    assert after.items() <= before.items()
    assert list(after.values()).count("disk") == 2
    assert link_of(cloud, vm) == by_res("data")
    write_disk(cloud, vm, 4096, b"written over the network")
    assert content(cloud, "data", 4120)[4096:] == b"written over the network"


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0", "1.29.1"])
def test_the_tie_breaker_becomes_a_client(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    image = bare_image(cloud, "data", persistent=True)
    host = next(node for node, role in on_nodes(cloud, "data").items() if role == "tie-breaker")
    vm = waiting(cloud, image, host=host)
    created(cloud, vm)
    write_disk(cloud, vm, 0, b"x")
    assert sorted(on_nodes(cloud, "data").values()) == ["disk", "disk", "diskless"]


def test_a_volume_without_drbd(make_cloud: CloudMaker) -> None:
    cloud = make_cloud()
    body = {
        "name": "local",
        "select_filter": {"place_count": 1, "storage_pool_list": ["thin"], "layer_stack": ["STORAGE"]},
    }
    cloud.cluster.groups.create(body)
    cloud.cluster.groups.create_volume_group("local", {})
    cloud.cluster.groups.spawn("local", {"resource_definition_name": "data", "volume_sizes": [8192]})
    image = cloud.one.image_create("data", size=8, source="data", persistent=True)
    (host,) = on_nodes(cloud, "data")
    vm = waiting(cloud, image, host=host)
    created(cloud, vm)
    target = link_of(cloud, vm)
    assert target is not None
    assert not target.startswith("/dev/drbd")
    write_disk(cloud, vm, 0, b"x")
    elsewhere = waiting(cloud, bare_image(cloud, "other"), host=hosts_without(cloud, "data")[0])
    call = cloud.call(
        "tm/ln", "frontend:data", f"{elsewhere.host}:{cloud.one.disk_path(elsewhere, 0)}", elsewhere.id, 100
    )
    assert call.rc == 1
    assert "data" in call.user_error[:100]
    assert elsewhere.host not in links(cloud)


def test_an_old_link_gives_way(cloud: Cloud) -> None:
    image = bare_image(cloud, "data", persistent=True)
    vm = waiting(cloud, image)
    path = cloud.hosts.layout.host_datastores("alice") / "101" / str(vm.id) / "disk.0"
    path.parent.mkdir(parents=True)
    path.symlink_to("/dev/drbd1042")
    created(cloud, vm)
    assert link_of(cloud, vm) == by_res("data")


def test_two_vms_read_one_cdrom_on_two_hosts(cloud: Cloud) -> None:
    image = new_image(cloud, type="CDROM")
    machines = [waiting(cloud, image, host=host) for host in ("alice", "dave", "dave")]
    for vm in machines:
        created(cloud, vm)
        assert disk_bytes(cloud, vm) == CONTENT
    assert links(cloud)["dave"] == {
        f"101/{vm.id}/disk.0": by_res(image.source) for vm in machines if vm.host == "dave"
    }


def test_an_image_that_is_gone(cloud: Cloud) -> None:
    image = cloud.one.image_create("lost", size=8, source="OpenNebula-Image-5", persistent=True)
    call = create(cloud, waiting(cloud, image))
    assert call.rc == 1
    assert "OpenNebula-Image-5" in call.user_error[:100]
    assert_nothing_left(cloud)


def test_a_path_that_is_no_disk(cloud: Cloud) -> None:
    bare_image(cloud, "data")
    call = cloud.call("tm/ln", "frontend:data", "alice:/one/datastores/101/0", 0, 100)
    assert call.rc == 1
    assert "is not the path of a disk" in call.user_error
    assert links(cloud) == {}


@pytest.mark.parametrize("source", ["/var/lib/one/image", "-rf", "all", "a b", "x"])
def test_a_source_that_is_no_resource(cloud: Cloud, source: str) -> None:
    call = cloud.call("tm/ln", f"frontend:{source}", "alice:/one/datastores/101/0/disk.0", 0, 100)
    assert call.rc == 1
    assert "is not a LINSTOR resource name" in call.user_error
    assert cloud.controller.requests == []
