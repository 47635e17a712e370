# SPDX-License-Identifier: Apache-2.0
"""The whole story of an image: registered, copied for a VM, attached, written, detached, deleted."""

from __future__ import annotations

import hashlib
import random

import pytest

from lab.cloud import Cloud
from lab.controller.standard import NODES
from lab.images import flat, write_qcow2
from lab.one import ImageState, LcmState, VirtualMachine, VmState
from tests.actions.support import assert_nothing_left, by_res, links, resources
from tests.actions.tm.support import CloudMaker, on_nodes

MIB = 1 << 20
SIZE = 16 * MIB
EXTENTS = {0: b"\xebboot", 5 * MIB + 17: random.Random(2).randbytes(200_000), SIZE - 3: b"end"}
OS = flat(SIZE, EXTENTS)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256(cloud: Cloud, resource: str, length: int = SIZE) -> str:
    """As every replica holds it."""
    found = set()
    for one in cloud.cluster.rd(resource).diskful:
        with cloud.hosts.open_disk(one.node, by_res(resource), write=False) as disk:
            found.add(digest(disk.read(0, length)))
    (same,) = found
    return same


def running(vm: VirtualMachine) -> VirtualMachine:
    assert (vm.state, vm.lcm_state, vm.error) == (VmState.ACTIVE, LcmState.RUNNING, "")
    return vm


@pytest.mark.parametrize(
    ("rest_version", "one_version"),
    [("1.25.0", "5.12.0"), ("1.26.0", "6.6.0"), ("1.28.0", "6.10.0"), ("1.29.1", "7.4.0")],
)
def test_from_registration_to_deletion(make_cloud: CloudMaker, rest_version: str, one_version: str) -> None:
    cloud = make_cloud(rest_version=rest_version, one_version=one_version)
    one, guest = cloud.one, cloud.one.hypervisor.guest
    for store in (100, 101):
        assert one.ds_monitor(store).ok

    # An image in a real format becomes a raw volume with the same content.
    path = cloud.images_dir / "os.qcow2"
    write_qcow2(path, SIZE, EXTENTS, compressed=True)
    image = one.image_create("os", path=path)
    assert (image.state, image.error, image.source) == (ImageState.READY, "", "OpenNebula-Image-0")
    assert image.size_mb == 16
    assert sha256(cloud, image.source) == digest(OS)
    # Up to 5.12 the format says which file system.
    ext4 = "format" if one_version == "5.12.0" else "fs"
    data = one.image_create("data", size=8, persistent=True, **{ext4: "ext4"})
    assert data.state is ImageState.READY
    replicas = {name: on_nodes(cloud, name) for name in resources(cloud)}

    # A VM on a host of its own choice gets a copy, and what it writes is its own.
    first = running(one.vm_instantiate([image], host="dave"))
    assert guest(first.id, 0).read(0, SIZE) == OS
    guest(first.id, 0).write(MIB, b"of the first VM")
    assert sha256(cloud, image.source) == digest(OS)

    # A second one gets another copy, and later a persistent disk, a volatile one and swap.
    second = running(one.vm_instantiate([image], host="alice"))
    assert guest(second.id, 0).read(0, SIZE) == OS
    for disk in (data, {"TYPE": "fs", "SIZE": 8, ext4.upper(): "ext4"}, {"TYPE": "swap", "SIZE": 8}):
        running(one.vm_attach(second, disk))
    own = int(second.disks[1]["DISK_ID"])
    formatted = guest(second.id, own).read(0, 8 * MIB)
    assert formatted[1080:1082] == b"\x53\xef"
    guest(second.id, own).write(0, b"kept for good")
    assert guest(second.id, own + 1).read(1080, 2) == b"\x53\xef"
    assert guest(second.id, own + 2).read(4086, 10) == b"SWAPSPACE2"
    assert len(links(cloud)["alice"]) == 4
    assert len(resources(cloud)) == 6

    # Detached, the persistent disk keeps what was written; the others are gone.
    for disk_id in (own, own + 1, own + 2):
        running(one.vm_detach(second, disk_id))
    assert resources(cloud) == {image.source, data.source} | {
        f"{image.source}-vm{vm.id}-disk0" for vm in (first, second)
    }
    assert sha256(cloud, data.source, 8 * MIB) == digest(b"kept for good" + formatted[13:])
    third = running(one.vm_instantiate([data], host="dave"))
    assert guest(third.id, 0).read(0, 13) == b"kept for good"
    # While it is in use elsewhere it cannot be written here.
    assert guest(first.id, 0).read(MIB, 15) == b"of the first VM"

    for vm in (first, second, third):
        one.vm_terminate(vm)
        assert (vm.state, vm.error) == (VmState.DONE, "")
    assert links(cloud) == {}
    assert resources(cloud) == set(replicas)
    for name, nodes in replicas.items():
        # Which node breaks the tie may have changed with the VM's hosts.
        assert sorted(on_nodes(cloud, name).values()) == sorted(nodes.values())
    assert sha256(cloud, image.source) == digest(OS)

    for made in (image, data):
        call = one.image_delete(made.id)
        assert call is not None
        assert call.ok
    assert_nothing_left(cloud)
    for host in ("alice", "bob", "charlie", "dave"):
        assert not list(cloud.hosts.layout.dev(host).glob("drbd*"))
        assert [one for one in cloud.hosts.layout.host_datastores(host).rglob("*") if one.is_file()] == []
    assert [call for call in one.calls if not call.ok] == []


@pytest.mark.parametrize("operation", ["delete", "recreate"])
def test_recover_removes_what_is_the_vms_alone(cloud: Cloud, operation: str) -> None:
    one = cloud.one
    image = one.image_create("os", size=8)
    data = one.image_create("data", size=8, persistent=True)
    vm = running(one.vm_instantiate([image, data, {"TYPE": "swap", "SIZE": 8}], host="dave"))
    one.hypervisor.guest(vm.id, 1).write(0, b"kept")
    one.vm_recover(vm, operation)
    assert_nothing_left(cloud, image.source, data.source)
    if operation == "recreate":
        running(one.vm_deploy(vm, "bob"))
        assert one.hypervisor.guest(vm.id, 1).read(0, 4) == b"kept"


def test_retry_after_the_third_disk_failed(cloud: Cloud) -> None:
    one = cloud.one
    image = one.image_create("os", size=8)
    data = one.image_create("data", size=8, persistent=True)
    for node in NODES:
        cloud.cluster.set_pool_free(node, "thin", 0)
    vm = one.vm_instantiate([data, {"TYPE": "fs", "SIZE": 8}, image], host="dave")
    assert vm.lcm_state is LcmState.PROLOG_FAILURE
    assert resources(cloud) == {image.source, data.source}
    assert "Not enough nodes for the wanted replicas" in vm.error
    for node in NODES:
        cloud.cluster.set_pool_free(node, "thin", 50 << 20)
    assert one.vm_recover(vm, "retry").lcm_state is LcmState.RUNNING
    assert len(links(cloud)["dave"]) == 3
