# SPDX-License-Identifier: Apache-2.0
"""SHAREABLE images: two hosts write to one volume, if the administrator wants that, and only as long."""

from __future__ import annotations

import pytest

from lab.cloud import Cloud
from lab.hosts import DeviceBusy
from lab.one import Image, LcmState, VirtualMachine
from lab.one.hosts import Guest
from tests.actions.datastore.support import call as datastore_call
from tests.actions.datastore.support import image_of, resource_of
from tests.actions.support import by_res, links, locks_left
from tests.actions.tm.support import CloudMaker, bare_image, create, created, on_nodes, waiting
from tests.e2e.outages import clients, failed, impatient, running, two_primaries

VERSIONS = ["1.28.0", "1.29.1"]


def shareable(cloud: Cloud, allowed: str = "YES") -> Image:
    impatient(cloud, LINSTOR_ALLOW_SHAREABLE=allowed)
    return bare_image(cloud, "data", persistent=True, PERSISTENT_TYPE="SHAREABLE")


def pair(cloud: Cloud, image: Image) -> tuple[VirtualMachine, VirtualMachine]:
    """Two VMs that run with the image, one on a host without a replica."""
    return (
        running(cloud.one.vm_instantiate([image], host="alice")),
        running(cloud.one.vm_instantiate([image], host="dave")),
    )


def disk_of(cloud: Cloud, vm: VirtualMachine) -> Guest:
    """The VM's view of the shared disk, its only one."""
    return cloud.one.hypervisor.guest(vm.id, int(vm.disks[0]["DISK_ID"]))


def write(cloud: Cloud, vm: VirtualMachine, text: str) -> None:
    """Each VM has a place of its own."""
    disk_of(cloud, vm).write(4096 * vm.id, text.encode())


def assert_sees(cloud: Cloud, vm: VirtualMachine, of: VirtualMachine, text: str) -> None:
    assert disk_of(cloud, vm).read(4096 * of.id, len(text)) == text.encode()


def assert_both_write(cloud: Cloud, first: VirtualMachine, second: VirtualMachine, text: str) -> None:
    write(cloud, first, f"{text} 1")
    write(cloud, second, f"{text} 2")
    assert_sees(cloud, first, second, f"{text} 2")
    assert_sees(cloud, second, first, f"{text} 1")


def own_properties(cloud: Cloud, name: str) -> set[str]:
    return {one for one in cloud.cluster.rd(name).props if "two-primaries" in one or "shared" in one.lower()}


def test_it_is_refused_by_default(cloud: Cloud) -> None:
    image = shareable(cloud, allowed="NO")
    before = on_nodes(cloud, "data")
    vm = cloud.one.vm_instantiate([image], host="dave")
    assert vm.lcm_state is LcmState.PROLOG_FAILURE
    (call,) = failed(cloud)
    assert call.user_error.startswith(f"image {image.id} is SHAREABLE, which datastore 100 (linstor images)")
    assert "LINSTOR_ALLOW_SHAREABLE=YES" in call.user_error
    assert on_nodes(cloud, "data") == before
    assert two_primaries(cloud) == locks_left(cloud) == []
    assert links(cloud) == {}


@pytest.mark.parametrize("rest_version", VERSIONS)
def test_two_vms_write_until_the_last_one_goes(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    first, second = pair(cloud, shareable(cloud))
    assert_both_write(cloud, first, second, "new")
    # One detaches the disk, the other goes on and its end is the end of it.
    cloud.one.vm_detach(second, 0)
    assert "dave" not in clients(cloud)
    write(cloud, first, "alone")
    cloud.one.vm_attach(second, cloud.one.image(0))
    assert_both_write(cloud, first, second, "again")
    cloud.one.vm_terminate(first)
    write(cloud, second, "still")
    assert by_res("data") in links(cloud)["dave"].values()
    cloud.one.vm_terminate(second)
    assert failed(cloud) == []
    assert two_primaries(cloud) == []
    assert own_properties(cloud, "data") == set()
    assert clients(cloud) == links(cloud) == {}
    # DRBD keeps two hosts apart again.
    with cloud.hosts.open_disk("alice", by_res("data")), pytest.raises((OSError, DeviceBusy)):
        cloud.hosts.open_disk("bob", by_res("data"))


@pytest.mark.parametrize("rest_version", VERSIONS)
def test_one_of_them_migrates(make_cloud: CloudMaker, rest_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version)
    first, second = pair(cloud, shareable(cloud))
    for move in (
        lambda: cloud.one.vm_migrate(second, "bob", live=True),
        lambda: cloud.one.vm_migrate(second, "charlie"),
        lambda: cloud.one.vm_migrate(first, "dave", poff=True),
    ):
        move()
        assert failed(cloud) == []
        assert_both_write(cloud, running(first), running(second), "moved")
        hosts = {first.host, second.host}
        assert clients(cloud).keys() <= hosts
    cloud.one.vm_terminate(second)
    cloud.one.vm_terminate(first)
    assert failed(cloud) == []
    assert own_properties(cloud, "data") == set()
    assert clients(cloud) == {}


def test_both_on_one_host(cloud: Cloud) -> None:
    image = shareable(cloud)
    first = running(cloud.one.vm_instantiate([image], host="dave"))
    second = running(cloud.one.vm_instantiate([image], host="dave"))
    assert_both_write(cloud, first, second, "one host")
    cloud.one.vm_migrate(first, "bob", live=True)
    assert failed(cloud) == []
    assert_both_write(cloud, running(first, "bob"), running(second, "dave"), "two hosts")
    cloud.one.vm_terminate(first)
    cloud.one.vm_terminate(second)
    assert clients(cloud) == {}


def test_one_of_them_stops(cloud: Cloud) -> None:
    first, second = pair(cloud, shareable(cloud))
    cloud.one.vm_stop(second)
    assert "dave" not in clients(cloud)
    write(cloud, first, "meanwhile")
    cloud.one.vm_deploy(second, "bob")
    assert failed(cloud) == []
    assert_both_write(cloud, first, running(second, "bob"), "back")


def test_the_host_of_one_is_lost(cloud: Cloud) -> None:
    first, second = pair(cloud, shareable(cloud))
    write(cloud, second, "last")
    cloud.cluster.set_online("dave", False)
    cloud.hosts.set_power("dave", False)
    cloud.one.host_error("dave")
    cloud.one.vm_migrate(second, "bob")
    assert failed(cloud) == []
    assert_sees(cloud, running(second, "bob"), second, "last")
    assert_both_write(cloud, first, second, "moved")


def test_a_copy_is_not_shared(cloud: Cloud) -> None:
    """LINSTOR's clones carry properties along."""
    image = shareable(cloud)
    vm = running(cloud.one.vm_instantiate([image], host="alice"))
    assert own_properties(cloud, "data") != set()
    cloud.one.vm_poweroff(vm)
    copy = image_of(cloud, image.source, image.size_mb)
    copy.cloning_id = image.id
    name = resource_of(datastore_call(cloud, "clone", copy))
    assert own_properties(cloud, name) == set()


@pytest.mark.parametrize("role", ["disk", "diskless"])
def test_the_first_one_does_not_get_it(cloud: Cloud, role: str) -> None:
    """Its host does not answer: DRBD goes on keeping hosts apart.  The second one's failure changes nothing."""
    image = shareable(cloud)
    before = cloud.cluster.rd("data").props.copy(), on_nodes(cloud, "data")
    host = cloud.cluster.rd("data").diskful[0].node if role == "disk" else "dave"
    vm = waiting(cloud, image, host=host)
    cloud.hosts.set_link(host, "down")
    assert create(cloud, vm).rc == 1
    assert (cloud.cluster.rd("data").props, on_nodes(cloud, "data")) == before
    assert two_primaries(cloud) == locks_left(cloud) == []
    cloud.hosts.set_link(host, "up")
    other = waiting(cloud, image, host="charlie")
    created(cloud, other)
    cloud.hosts.set_link(host, "down")
    assert create(cloud, vm).rc == 1
    assert two_primaries(cloud) == ["data"]
