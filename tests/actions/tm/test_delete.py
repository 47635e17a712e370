# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/delete``: what is the VM's alone goes, everything else stays."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from tests.actions.support import assert_nothing_left, by_res, content, links, resources
from tests.actions.tm.support import (
    CONTENT,
    SIZE,
    CloudMaker,
    bare_image,
    bare_volume,
    clean,
    create,
    created,
    disk_bytes,
    new_image,
    on_nodes,
    run,
    waiting,
)


@pytest.mark.parametrize("host", ["alice", "dave"])
def test_a_clone(cloud: Cloud, host: str) -> None:
    vm = waiting(cloud, new_image(cloud), host=host)
    created(cloud, vm)
    assert clean(cloud, vm).ok
    assert_nothing_left(cloud, "OpenNebula-Image-0")
    assert content(cloud, "OpenNebula-Image-0", SIZE) == CONTENT


def test_volatile_and_swap(cloud: Cloud) -> None:
    vm = waiting(cloud, {"TYPE": "fs", "SIZE": 8}, {"TYPE": "swap", "SIZE": 8})
    for disk_id in (0, 1):
        created(cloud, vm, disk_id)
        assert clean(cloud, vm, disk_id).ok
    assert_nothing_left(cloud)


def test_a_clone_with_snapshots(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud))
    created(cloud, vm)
    cloud.cluster.snapshots.create("OpenNebula-Image-0-vm0-disk0", {"name": "snap"})
    assert clean(cloud, vm).ok
    assert_nothing_left(cloud, "OpenNebula-Image-0")


def test_disk_1_is_not_disk_10(cloud: Cloud) -> None:
    vm = waiting(cloud, *[new_image(cloud)] * 11)
    for disk_id in (1, 10):
        created(cloud, vm, disk_id)
    assert clean(cloud, vm, 1).ok
    assert disk_bytes(cloud, vm, disk_id=10) == CONTENT
    assert resources(cloud) == {"OpenNebula-Image-0", "OpenNebula-Image-0-vm0-disk10"}
    assert list(links(cloud)["alice"]) == ["101/0/disk.10"]


def test_vm_1_is_not_vm_11(cloud: Cloud) -> None:
    image = new_image(cloud)
    machines = [waiting(cloud, image) for _ in range(12)]
    for number in (1, 11):
        created(cloud, machines[number])
    assert clean(cloud, machines[1]).ok
    assert run(cloud, cloud.one.lines.delete_directory(machines[1])).ok
    assert disk_bytes(cloud, machines[11]) == CONTENT


def test_a_persistent_image_is_only_detached(cloud: Cloud) -> None:
    """oned sends DELETE for it when a VM is deleted or recreated."""
    vm = waiting(cloud, new_image(cloud, persistent=True), host="dave")
    before = on_nodes(cloud, "OpenNebula-Image-0")
    created(cloud, vm)
    assert clean(cloud, vm).ok
    assert on_nodes(cloud, "OpenNebula-Image-0") == before
    assert content(cloud, "OpenNebula-Image-0", SIZE) == CONTENT
    assert_nothing_left(cloud, "OpenNebula-Image-0")


def test_a_cdrom_that_another_vm_on_the_host_has(cloud: Cloud) -> None:
    image = new_image(cloud, type="CDROM")
    first, second = (waiting(cloud, image, host="dave") for _ in range(2))
    for vm in (first, second):
        created(cloud, vm)
    assert clean(cloud, first).ok
    assert links(cloud) == {"dave": {f"101/{second.id}/disk.0": by_res(image.source)}}
    assert disk_bytes(cloud, second) == CONTENT
    cloud.one.inventory.images[image.id].vms.remove(first.id)
    assert clean(cloud, second).ok
    assert "dave" not in on_nodes(cloud, image.source)
    assert_nothing_left(cloud, image.source)


def test_a_cdrom_that_a_vm_of_another_datastore_has(cloud: Cloud) -> None:
    image = new_image(cloud, type="CDROM")
    first = waiting(cloud, image, host="dave")
    second = waiting(cloud, image, host="dave", datastore=102)
    for vm in (first, second):
        created(cloud, vm)
    assert clean(cloud, first).ok
    assert disk_bytes(cloud, second) == CONTENT


def test_a_cdrom_that_another_host_has(cloud: Cloud) -> None:
    image = new_image(cloud, type="CDROM")
    roles = on_nodes(cloud, image.source)
    other = next(host for host in ("charlie", "bob", "alice") if roles.get(host) != "disk")
    first, second = waiting(cloud, image, host="dave"), waiting(cloud, image, host=other)
    for vm in (first, second):
        created(cloud, vm)
    assert clean(cloud, first).ok
    assert "dave" not in on_nodes(cloud, image.source)
    assert disk_bytes(cloud, second) == CONTENT


def test_a_disk_that_was_never_made(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud), {"TYPE": "fs", "SIZE": 8})
    for disk_id in (0, 1):
        call = clean(cloud, vm, disk_id)
        assert (call.rc, call.stderr) == (0, "")
    assert_nothing_left(cloud, "OpenNebula-Image-0")


def test_a_disk_that_is_still_open_stays_whole(cloud: Cloud) -> None:
    cloud.one.inventory.datastores[100].template["LINSTOR_ATTACH_TIMEOUT"] = "1"
    vm = waiting(cloud, new_image(cloud))
    created(cloud, vm)
    with cloud.hosts.open_disk("alice", by_res("OpenNebula-Image-0-vm0-disk0")) as guest:
        call = clean(cloud, vm)
        assert call.rc == 1
        assert "OpenNebula-Image-0-vm0-disk0" in call.user_error[:100]
        assert "alice" in call.user_error[:100]
        assert guest.read(0, 4) == CONTENT[:4]
    assert clean(cloud, vm).ok
    assert_nothing_left(cloud, "OpenNebula-Image-0")


def test_the_directory_of_a_vm(cloud: Cloud) -> None:
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True))
    created(cloud, vm)
    directory = cloud.hosts.layout.host_datastores("alice") / "101" / str(vm.id)
    (directory / "vm.xml").write_text("<VM/>")
    line = cloud.one.lines.delete_directory(vm)
    for _ in range(2):
        assert run(cloud, line).ok
        assert not directory.exists()
    assert directory.parent.exists()
    assert resources(cloud) == {"data"}


def test_a_context_volume_of_an_older_driver_goes_with_the_directory(cloud: Cloud) -> None:
    vm = waiting(cloud, bare_image(cloud, "data", persistent=True))
    mine = bare_volume(cloud, f"OpenNebula-vm-context-vm{vm.id}-disk1")
    other = bare_volume(cloud, f"OpenNebula-vm-context-vm{vm.id}1-disk1")
    directory = cloud.hosts.layout.host_datastores("alice") / "101" / str(vm.id)
    directory.mkdir(parents=True)
    (directory / "disk.1").symlink_to(by_res(mine))
    assert run(cloud, cloud.one.lines.delete_directory(vm)).ok
    assert resources(cloud) == {"data", other}


@pytest.mark.parametrize("path", ["/", "/var/lib/one/datastores", "/var/lib/one/datastores/101", "/etc/0"])
def test_a_directory_that_is_no_vms(cloud: Cloud, path: str) -> None:
    call = cloud.call("tm/delete", f"alice:{path}", 0, 101)
    assert call.rc == 1
    assert "is not the directory of VM 0" in call.user_error
    assert cloud.hosts.calls == []


def test_a_dead_host_does_not_keep_its_disks(make_cloud: CloudMaker) -> None:
    cloud = make_cloud()
    for store in (100, 101):
        cloud.one.inventory.datastores[store].template["LINSTOR_SSH_TIMEOUT"] = "1"
    vm = waiting(cloud, new_image(cloud))
    created(cloud, vm)
    cloud.hosts.set_link("alice", "refused")
    assert clean(cloud, vm).ok
    assert run(cloud, cloud.one.lines.delete_directory(vm)).ok
    assert resources(cloud) == {"OpenNebula-Image-0"}


def test_a_cdrom_on_a_host_that_nobody_can_ask(cloud: Cloud) -> None:
    """OpenNebula knows whether another VM reads it there."""
    cloud.one.inventory.datastores[100].template["LINSTOR_SSH_TIMEOUT"] = "1"
    image = new_image(cloud, type="CDROM")
    first, second = (waiting(cloud, image, host="dave") for _ in range(2))
    for vm in (first, second):
        created(cloud, vm)
    cloud.hosts.set_link("dave", "refused")
    assert clean(cloud, first).ok
    assert on_nodes(cloud, image.source)["dave"] == "diskless"
    cloud.one.inventory.images[image.id].vms.remove(first.id)
    assert clean(cloud, second).ok
    assert "dave" not in on_nodes(cloud, image.source)


def test_a_disk_that_the_vm_does_not_have(cloud: Cloud) -> None:
    vm = waiting(cloud, new_image(cloud))
    assert create(cloud, vm).ok
    call = cloud.call("tm/delete", f"alice:/one/datastores/101/{vm.id}/disk.7", vm.id, 100)
    assert call.rc == 1
    assert f"VM {vm.id} has no disk 7" in call.user_error
    assert disk_bytes(cloud, vm) == CONTENT


@pytest.mark.parametrize("disk", ["volatile", "copy"])
def test_another_opennebula_has_a_volume_of_that_name(cloud: Cloud, disk: str) -> None:
    """It is refused to the VM, and oned's clean-up after that spares it; nothing of it is this OpenNebula's."""
    image = bare_image(cloud, "data")
    vm = waiting(cloud, {"TYPE": "fs", "SIZE": 8} if disk == "volatile" else image)
    name = f"OpenNebula-Volatile-vm{vm.id}-disk0" if disk == "volatile" else f"data-vm{vm.id}-disk0"
    bare_volume(cloud, name)
    theirs = {
        "Aux/one/instance": "two",
        "Aux/one/vm": str(vm.id),
        "Aux/one/disk": "0",
        "Aux/one/complete": name,
    }
    cloud.cluster.definitions.modify(name, {"override_props": theirs})
    with cloud.hosts.open_disk(cloud.cluster.rd(name).diskful[0].node, by_res(name)) as guest:
        guest.write(0, b"theirs")
    before = on_nodes(cloud, name), cloud.cluster.rd(name).props.copy()
    assert create(cloud, vm).rc == 1
    assert clean(cloud, vm).ok
    assert (on_nodes(cloud, name), cloud.cluster.rd(name).props) == before
    assert content(cloud, name, 6) == b"theirs"
    assert links(cloud) == {}
