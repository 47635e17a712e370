# SPDX-License-Identifier: Apache-2.0
"""CD-ROMs: any number of VMs read them on any hosts, and none loses them by another's doing."""

from __future__ import annotations

from typing import Callable

import pytest

from lab.cloud import Cloud
from lab.one import Image, VirtualMachine
from tests.actions.support import by_res, content, links
from tests.actions.tm.support import CloudMaker, bare_image, on_nodes
from tests.e2e.outages import clients, failed, has_device, impatient, running, two_primaries

TEXT = b"read me"

Leave = Callable[[Cloud, VirtualMachine], object]
LEAVING: dict[str, Leave] = {
    "terminate": lambda cloud, vm: cloud.one.vm_terminate(vm),
    "detach": lambda cloud, vm: cloud.one.vm_detach(vm, 0),
    "live": lambda cloud, vm: cloud.one.vm_migrate(vm, "alice", live=True),
    "cold": lambda cloud, vm: cloud.one.vm_migrate(vm, "alice"),
    "stop": lambda cloud, vm: cloud.one.vm_stop(vm),
}


def shared(cloud: Cloud, **options: object) -> Image:
    """A CD-ROM, or what the options say, with a content; its replicas are on hosts other than dave."""
    impatient(cloud)
    image = bare_image(cloud, "cd", **(options or {"type": "CDROM"}))
    node = cloud.cluster.rd("cd").diskful[0].node
    with cloud.hosts.open_disk(node, by_res("cd")) as disk:
        disk.write(0, TEXT)
    return image


def reader(cloud: Cloud, image: Image, host: str = "dave", datastore: int = 101) -> VirtualMachine:
    vm = cloud.one.vm_instantiate([image], host=host, datastore=datastore, context=False)
    return running(vm, host)


def assert_reads(cloud: Cloud, *machines: VirtualMachine) -> None:
    """All guests, who have had it open all the time; their links, which they need at the next boot, too."""
    for vm in machines:
        assert cloud.one.hypervisor.guest(vm.id, 0).read(0, len(TEXT)) == TEXT
        path = cloud.one.disk_path(vm, 0).replace("//", "/")
        with cloud.hosts.open_disk(vm.host, path, write=False) as again:
            assert again.read(0, len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("leaving", "datastore"),
    [
        *((leaving, 101) for leaving in LEAVING),
        *((leaving, 105) for leaving in ("live", "cold")),
        ("live", 103),
    ],
)
def test_only_the_last_one_takes_it_from_the_host(cloud: Cloud, leaving: str, datastore: int) -> None:
    image = shared(cloud)
    first, second = (reader(cloud, image, datastore=datastore) for _ in range(2))
    elsewhere = reader(cloud, image, "bob", datastore)
    assert "dave" in clients(cloud)
    LEAVING[leaving](cloud, first)
    assert failed(cloud) == []
    assert_reads(cloud, second, elsewhere)
    LEAVING[leaving](cloud, second)
    assert failed(cloud) == []
    assert "dave" not in clients(cloud)
    assert not has_device(cloud, "dave", "cd") or on_nodes(cloud, "cd")["dave"] == "tie-breaker"
    assert "dave" not in links(cloud)
    assert_reads(cloud, elsewhere)
    assert two_primaries(cloud) == []


@pytest.mark.parametrize("leaving", ["terminate", "live"])
def test_an_immutable_image_has_one_reader(cloud: Cloud, leaving: str) -> None:
    """It is persistent, so that OpenNebula gives it to no second VM."""
    image = shared(cloud, persistent=True, PERSISTENT_TYPE="IMMUTABLE")
    vm = reader(cloud, image)
    assert_reads(cloud, vm)
    LEAVING[leaving](cloud, vm)
    assert failed(cloud) == []
    assert "dave" not in clients(cloud) | links(cloud)
    assert two_primaries(cloud) == []


def test_a_vm_that_comes_back_to_the_others(cloud: Cloud) -> None:
    image = shared(cloud)
    traveller, stays = reader(cloud, image), reader(cloud, image)
    for host in ("bob", "dave", "charlie"):
        cloud.one.vm_migrate(traveller, host, live=True)
        assert_reads(cloud, running(traveller, host), stays)
    cloud.one.vm_stop(traveller)
    cloud.one.vm_deploy(traveller, "dave")
    assert_reads(cloud, running(traveller, "dave"), stays)
    assert failed(cloud) == []


def test_it_is_not_opened_for_writing(cloud: Cloud) -> None:
    """A guest that tries to write is refused by its own opening, not by LINSTOR."""
    vm = reader(cloud, shared(cloud))
    with pytest.raises(OSError, match="Bad file descriptor"):
        cloud.one.hypervisor.guest(vm.id, 0).write(0, b"x")
    assert content(cloud, "cd", len(TEXT)) == TEXT


def test_a_failed_migration_leaves_it_to_the_others(cloud: Cloud) -> None:
    image = shared(cloud)
    traveller, there = reader(cloud, image, "bob"), reader(cloud, image)
    cloud.one.hypervisor.fail_next("migrate")
    cloud.one.vm_migrate(traveller, "dave", live=True)
    assert_reads(cloud, running(traveller, "bob"), there)
    assert failed(cloud) == []


def test_a_volume_of_one_vm_is_detached_while_another_disk_of_it_is_read(cloud: Cloud) -> None:
    """The same CD-ROM twice in one VM."""
    image = shared(cloud)
    vm = running(cloud.one.vm_instantiate([image, image], host="dave", context=False))
    cloud.one.vm_detach(vm, 1)
    assert failed(cloud) == []
    assert_reads(cloud, vm)


def test_the_same_one_twice_leaves_with_the_vm(cloud: Cloud) -> None:
    """A VM is no reason of its own to keep what it has twice."""
    image = shared(cloud)
    vm = running(cloud.one.vm_instantiate([image, image], host="dave", context=False))
    cloud.one.vm_stop(vm)
    assert failed(cloud) == []
    assert clients(cloud) == links(cloud) == {}
    cloud.one.vm_deploy(vm, "dave")
    assert_reads(cloud, running(vm, "dave"))


# -- what OpenNebula tells, and what not -------------------------------------------------------------


def does_not_tell(cloud: Cloud, kind: str, number: int) -> None:
    cloud.one.xmlrpc.answers[kind, number] = "<NOTHING/>"


def host_id(cloud: Cloud, name: str) -> int:
    return next(host.id for host in cloud.one.inventory.hosts.values() if host.name == name)


@pytest.mark.parametrize("silent", ["image", "host", "both"])
def test_opennebula_does_not_tell_who_reads(cloud: Cloud, silent: str) -> None:
    image = shared(cloud)
    first, second = reader(cloud, image), reader(cloud, image)
    if silent != "host":
        does_not_tell(cloud, "image", image.id)
    if silent != "image":
        does_not_tell(cloud, "host", host_id(cloud, "dave"))
    cloud.one.vm_terminate(first)
    assert failed(cloud) == []
    assert_reads(cloud, second)
    cloud.one.xmlrpc.answers.clear()
    cloud.one.vm_terminate(second)
    assert "dave" not in clients(cloud)


def test_nobody_tells_at_all(cloud: Cloud) -> None:
    """Neither OpenNebula nor the host: it stays, and goes with the next VM."""
    image = shared(cloud)
    first = reader(cloud, image)
    cloud.one.vm_poweroff(first)
    does_not_tell(cloud, "image", image.id)
    cloud.hosts.set_link("dave", "refused")
    cloud.one.vm_terminate(first)
    assert failed(cloud) == []
    assert on_nodes(cloud, "cd")["dave"] == "diskless"
    assert "stays attached to dave" in (cloud.one.tree.var / "linstor.log").read_text()
    cloud.hosts.set_link("dave", "up")
    cloud.one.xmlrpc.answers.clear()
    cloud.one.vm_terminate(reader(cloud, image))
    assert "dave" not in clients(cloud)


def test_a_link_that_a_dead_vm_left(cloud: Cloud) -> None:
    """Its directory stayed when the host was lost; OpenNebula knows that the VM is elsewhere."""
    image = shared(cloud)
    first, second = reader(cloud, image), reader(cloud, image)
    directory = cloud.hosts.layout.host_datastores("dave") / "101"
    cloud.one.vm_migrate(first, "bob", live=True)
    (directory / str(first.id)).mkdir()
    (directory / str(first.id) / "disk.0").symlink_to(by_res("cd"))
    (directory / "99").mkdir()
    (directory / "99" / "disk.3").symlink_to(by_res("cd"))
    cloud.one.vm_terminate(second)
    assert failed(cloud) == []
    assert "dave" not in clients(cloud)
    assert_reads(cloud, first)


@pytest.mark.parametrize("rest_version", ["1.25.0", "1.29.1"])
def test_links_that_all_hosts_see(make_cloud: CloudMaker, rest_version: str) -> None:
    """On a shared datastore a link is on every host, and says nothing about where its VM is."""
    cloud = make_cloud(rest_version=rest_version)
    image = shared(cloud)
    here, there = reader(cloud, image, datastore=105), reader(cloud, image, "bob", 105)
    cloud.one.vm_terminate(here)
    assert failed(cloud) == []
    assert "dave" not in clients(cloud)
    assert_reads(cloud, there)
