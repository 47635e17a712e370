# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/clone``: what a VM has on its host afterwards."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from tests.actions.support import (
    MIB,
    assert_nothing_left,
    by_res,
    content,
    device_size,
    is_complete,
    links,
    properties,
    resources,
)
from tests.actions.tm.support import (
    CONTENT,
    REST_VERSIONS,
    SIZE,
    CloudMaker,
    bare_image,
    bare_volume,
    create,
    created,
    disk_bytes,
    link_of,
    new_image,
    on_nodes,
    waiting,
    write_disk,
)


@pytest.mark.parametrize("rest_version", REST_VERSIONS)
def test_a_vm_gets_its_own_copy(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    vm = waiting(cloud, new_image(cloud))
    created(cloud, vm)
    name = f"OpenNebula-Image-0-vm{vm.id}-disk0"
    assert link_of(cloud, vm) == by_res(name)
    assert disk_bytes(cloud, vm) == CONTENT
    assert properties(cloud, name) == {
        "instance": "one", "datastore": "100", "image": "0", "vm": "0", "disk": "0", "complete": name,
    }  # fmt: skip
    assert properties(cloud, "OpenNebula-Image-0")["complete"] == "OpenNebula-Image-0"
    write_disk(cloud, vm, 0, b"the VM's own")
    assert content(cloud, "OpenNebula-Image-0", SIZE) == CONTENT


def test_on_a_host_without_storage(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud), host="dave")
    created(cloud, vm)
    assert on_nodes(cloud, "OpenNebula-Image-0-vm0-disk0")["dave"] == "diskless"
    assert "dave" not in on_nodes(cloud, "OpenNebula-Image-0")
    assert disk_bytes(cloud, vm) == CONTENT


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.28.0", "1.29.1"])
def test_a_larger_disk_is_grown_before_the_vm_sees_it(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    image = new_image(cloud)
    vm = waiting(cloud, {"IMAGE_ID": image.id, "SIZE": 20})
    created(cloud, vm)
    assert device_size(cloud, "OpenNebula-Image-0-vm0-disk0") >= 20 * MIB
    assert disk_bytes(cloud, vm) == CONTENT
    assert device_size(cloud, image.source) < 16 * MIB


def test_a_slow_clone_is_waited_for(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(clone_looks=3, clone_seconds=0.3)
    vm = waiting(cloud, new_image(cloud))
    created(cloud, vm)
    assert disk_bytes(cloud, vm) == CONTENT


def test_a_clone_that_takes_too_long_is_removed(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(clone_seconds=30)
    cloud.one.inventory.datastores[100].template["LINSTOR_CLONE_TIMEOUT"] = "1"
    vm = waiting(cloud, new_image(cloud))
    call = create(cloud, vm)
    assert call.user_error.startswith(
        "the clone OpenNebula-Image-0-vm0-disk0 of OpenNebula-Image-0 is not complete"
    )
    assert_nothing_left(cloud, "OpenNebula-Image-0")


def test_many_disks_of_one_vm_are_told_apart(cloud: Cloud) -> None:
    image = new_image(cloud)
    vm = waiting(cloud, *[image] * 11)
    for disk_id in (1, 10):
        created(cloud, vm, disk_id)
        write_disk(cloud, vm, 0, b"disk %02d" % disk_id, disk_id)
    assert disk_bytes(cloud, vm, 7, 1) == b"disk 01"
    assert disk_bytes(cloud, vm, 7, 10) == b"disk 10"


def test_an_image_that_addon_linstor_made(cloud: Cloud) -> None:
    image = bare_image(cloud, "OpenNebula-Image-77")
    vm = waiting(cloud, image)
    created(cloud, vm)
    assert is_complete(cloud, "OpenNebula-Image-77-vm0-disk0")
    assert properties(cloud, "OpenNebula-Image-77") == {}


def test_a_disk_that_addon_linstor_made_is_kept(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud))
    name = bare_volume(cloud, "OpenNebula-Image-0-vm0-disk0")
    node = cloud.cluster.rd(name).diskful[0].node
    with cloud.hosts.open_disk(node, by_res(name)) as disk:
        disk.write(0, b"years of work")
    created(cloud, vm)
    assert disk_bytes(cloud, vm, 13) == b"years of work"


def test_a_name_that_is_too_long_with_the_vms_suffix(cloud: Cloud) -> None:
    name = "n" * 46
    vm = waiting(cloud, bare_image(cloud, name))
    created(cloud, vm)
    (copy,) = resources(cloud) - {name}
    assert len(copy) == 48
    assert copy.endswith("-vm0-disk0")
    assert link_of(cloud, vm) == by_res(copy)


def test_a_disk_of_somebody_else_is_not_touched(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud))
    name = bare_volume(cloud, "OpenNebula-Image-0-vm0-disk0")
    cloud.cluster.rd(name).props.update(
        {"Aux/one/instance": "two", "Aux/one/vm": "5", "Aux/one/complete": name}
    )
    call = create(cloud, vm)
    assert call.rc == 1
    assert f"{name} exists and belongs to instance two, vm 5, not to instance one" in call.user_error
    assert properties(cloud, name)["instance"] == "two"
    assert links(cloud) == {}


def test_an_image_that_is_gone(cloud: Cloud) -> None:
    image = cloud.one.image_create("lost", size=8, source="OpenNebula-Image-5")
    call = create(cloud, waiting(cloud, image))
    assert call.rc == 1
    assert "OpenNebula-Image-5" in call.user_error[:100]
    assert_nothing_left(cloud)


def test_a_satellite_that_fails_leaves_nothing(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud))
    node = cloud.cluster.rd("OpenNebula-Image-0").diskful[0].node
    cloud.cluster.satellites.fail(node, "clone", "out of metadata space")
    call = create(cloud, vm)
    assert call.rc == 1
    assert "OpenNebula-Image-0" in call.user_error[:100]
    assert_nothing_left(cloud, "OpenNebula-Image-0")
    created(cloud, vm)
    assert disk_bytes(cloud, vm) == CONTENT


@pytest.mark.parametrize(
    "arguments",
    [(), ("a", "b"), ("front:x", "alice:/d/101/0/disk.0", "zero", "100"), ("x", "alice", "0", "100")],
)
def test_arguments_that_oned_never_sends(cloud: Cloud, arguments: tuple[str, ...]) -> None:
    call = cloud.call("tm/clone", *arguments)
    assert call.rc == 1
    assert len(call.stderr.splitlines()) == 1
    assert "Traceback" not in call.stderr


# Providers that cannot make a clone that is independent of its source, and those that can.
@pytest.mark.parametrize("provider", ["FILE_THIN", "FILE", "ZFS_THIN", "LVM"])
def test_storage_providers(make_cloud: CloudMaker, provider: str) -> None:
    cloud = make_cloud(provider=provider, sync_seconds=0.0)
    vm = waiting(cloud, new_image(cloud), host="dave")
    created(cloud, vm)
    assert disk_bytes(cloud, vm) == CONTENT
    write_disk(cloud, vm, 0, b"changed")
    assert content(cloud, "OpenNebula-Image-0", SIZE) == CONTENT
    assert is_complete(cloud, "OpenNebula-Image-0-vm0-disk0")
    assert "dave" not in on_nodes(cloud, "OpenNebula-Image-0")


def test_an_image_that_is_still_synchronised_is_waited_for(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(provider="LVM", sync_seconds=1.0)
    call = create(cloud, waiting(cloud, new_image(cloud)))
    assert call.rc == 0, call.stderr
    tries = [one.status for one in cloud.controller.requests if one.path.endswith("/clone")]
    assert tries[-1] == 201
    assert set(tries[:-1]) == {500}


def test_an_image_that_synchronises_for_long_is_an_error(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(provider="LVM", sync_seconds=3600.0)
    call = create(cloud, waiting(cloud, new_image(cloud)))
    assert call.rc == 1
    assert "is not UpToDate" in call.user_error[:100]
    assert_nothing_left(cloud, "OpenNebula-Image-0")
