# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/resize``, and clones that are larger than their image: nothing old shows, nothing of the VM is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.cloud import Cloud
from lab.controller.faults import CALL_AFTER
from lab.images import write_qcow2
from lab.one import Image, VirtualMachine
from tests.actions.support import MIB, by_res, device_size, is_complete, links, locks_left
from tests.actions.tm.datastores import strike
from tests.actions.tm.disks import (
    COPIES,
    KINDS,
    done,
    grow,
    placed,
    points,
    ready_image,
    refused,
    resource_of,
    snapshot,
)
from tests.actions.tm.journeys import Domain, clients
from tests.actions.tm.support import (
    CONTENT,
    SIZE,
    CloudMaker,
    created,
    disk_bytes,
    waiting,
    write_disk,
)


def rest(cloud: Cloud, vm: VirtualMachine, begin: int) -> bytes:
    """What the guest finds from there to the end of its disk."""
    path = cloud.one.disk_path(vm, 0).replace("//", "/")
    with cloud.hosts.open_disk(vm.host, path, write=False) as disk:
        return disk.read(begin, disk.size() - begin)


@pytest.mark.parametrize(
    ("kind", "running"), [("LVM_THIN", True), ("FILE", False), ("LVM-1.28", False), ("LVM-1.28", True)]
)
def test_what_is_new_reads_as_zeros(make_cloud: CloudMaker, kind: str, running: bool) -> None:
    cloud = make_cloud(**KINDS[kind])
    vm = placed(cloud, host="dave")
    name = resource_of(vm)
    # Devices are rounded up to extents; the guest may have used all of that.
    end = device_size(cloud, name)
    write_disk(cloud, vm, end - 4, b"last")
    domain = Domain(cloud, vm, *(["dave"] if running else []))
    with domain:
        for size in (40, 40):
            done(grow(cloud, vm, size, running=running))
        if running:
            domain.write("dave", b"boot")
            assert domain.read("dave", 4) == b"boot"
    assert device_size(cloud, name) >= 40 * MIB
    assert cloud.cluster.rd(name).volumes[0].size_kib == 40 * 1024
    assert disk_bytes(cloud, vm)[4 : 7 * MIB] == CONTENT[4 : 7 * MIB]
    assert rest(cloud, vm, end - 4).rstrip(b"\0") == b"last"
    refused(grow(cloud, vm, 39, running=running), f"{name} has 40 MiB and cannot shrink to 39 MiB")
    assert clients(cloud, name) == ["dave"]
    assert locks_left(cloud) == []


def test_old_content_after_a_run_that_was_killed(make_cloud: CloudMaker) -> None:
    """Whoever asks again finds the size as it was wanted."""
    cloud = make_cloud(**COPIES)
    vm = placed(cloud)
    end = device_size(cloud, resource_of(vm))
    cloud.controller.faults.add(
        CALL_AFTER, method="PUT", path="/volume-definitions/0$", callback=strike(cloud)
    )
    assert not grow(cloud, vm, 40).ok
    done(grow(cloud, vm, 40))
    assert device_size(cloud, resource_of(vm)) >= 40 * MIB
    assert rest(cloud, vm, end).strip(b"\0") == b""


def test_snapshots_of_a_disk_that_grows(cloud: Cloud) -> None:
    vm = placed(cloud)
    name = resource_of(vm)
    done(snapshot(cloud, vm, "CREATE"))
    done(grow(cloud, vm, 40))
    write_disk(cloud, vm, 0, b"larger")
    done(snapshot(cloud, vm, "CREATE", 1))
    done(snapshot(cloud, vm, "REVERT"))
    assert device_size(cloud, name) < 16 * MIB
    assert disk_bytes(cloud, vm) == CONTENT
    done(snapshot(cloud, vm, "REVERT", 1))
    assert device_size(cloud, name) >= 40 * MIB
    assert disk_bytes(cloud, vm, 6) == b"larger"
    assert points(cloud, name) == [0, 1]


# --- replicas and storage that do not go along


def test_replicas_that_are_not_well(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(sync_seconds=0.0)
    vm = placed(cloud, host="dave")
    name = resource_of(vm)
    behind, other = (one.node for one in cloud.cluster.rd(name).diskful)
    cloud.cluster.partition([behind])
    cloud.cluster.outdate(name, behind)
    refused(grow(cloud, vm, 40), f"{name} cannot grow: {behind} is Outdated")
    cloud.cluster.heal()
    cloud.cluster.set_online(other, False)
    call = grow(cloud, vm, 40)
    refused(call, f"{name} cannot grow: {other} is offline")
    assert "nothing was changed" in call.user_error
    assert cloud.cluster.rd(name).volumes[0].size_kib == 8 * 1024
    cloud.cluster.set_online(other, True)
    done(grow(cloud, vm, 40))


def test_a_satellite_that_fails(cloud: Cloud) -> None:
    """LINSTOR notes the size all the same; asked again, it has to do it."""
    vm = placed(cloud)
    name = resource_of(vm)
    node = cloud.cluster.rd(name).diskful[1].node
    cloud.cluster.satellites.fail(node, "resize", "volume group is full", times=2)
    for number in range(2):
        call = grow(cloud, vm, 40)
        refused(call, f"({node}) volume group is full", name)
        report = cloud.cluster.satellites.reports[number]
        assert f"LINSTOR error report ErrorReport-{report.id}" in call.user_error
        assert device_size(cloud, name) < 16 * MIB
    done(grow(cloud, vm, 40))
    assert device_size(cloud, name) >= 40 * MIB


def test_no_room(make_cloud: CloudMaker) -> None:
    cloud = make_cloud(**COPIES)
    vm = placed(cloud)
    call = grow(cloud, vm, 200 * 1024)
    refused(call, "Pool 'thin' on node", "has no room")
    assert resource_of(vm) in call.user_error
    assert cloud.cluster.rd(resource_of(vm)).volumes[0].size_kib == 8 * 1024


def test_snapshots_that_forbid_it(make_cloud: CloudMaker) -> None:
    """LINSTOR's snapshots of plain LVM are of the size of the volume."""
    cloud = make_cloud(**KINDS["LVM"])
    vm = placed(cloud)
    done(snapshot(cloud, vm, "CREATE"))
    refused(grow(cloud, vm, 40), "snapshots", resource_of(vm))
    done(snapshot(cloud, vm, "DELETE"))
    done(grow(cloud, vm, 40))


# --- images that addon-linstor has put on their device as they were


def qcow2_image(cloud: Cloud, tmp_path: Path, virtual_mib: int = 6, **options: object) -> Image:
    path = tmp_path / "image.qcow2"
    write_qcow2(path, virtual_mib * MIB, {MIB: b"in the qcow2"})
    image = ready_image(cloud, **options)
    image.format = "qcow2"
    node = cloud.cluster.rd(image.source).diskful[0].node
    with cloud.hosts.open_disk(node, by_res(image.source)) as disk:
        disk.write(0, path.read_bytes().ljust(SIZE, b"\0"))
    return image


def virtual_mib(cloud: Cloud, vm: VirtualMachine) -> int:
    path = by_res(resource_of(vm))
    done = cloud.hosts.run(vm.host, f"qemu-img info -f qcow2 --output=json {path}", check=True)
    return int(json.loads(done.stdout)["virtual-size"]) // MIB


def test_a_qcow2_header_goes_along(cloud: Cloud, tmp_path: Path) -> None:
    vm = placed(cloud, qcow2_image(cloud, tmp_path, persistent=True), host="dave")
    assert virtual_mib(cloud, vm) == 6
    done(grow(cloud, vm, 40))
    assert virtual_mib(cloud, vm) == 40
    done(grow(cloud, vm, 48, running=True))
    # The hypervisor has the image open: it is told next.
    assert virtual_mib(cloud, vm) == 40
    done(grow(cloud, vm, 48))
    assert virtual_mib(cloud, vm) == 48
    cloud.hosts.run("dave", f"qemu-img resize -q -f qcow2 {by_res(resource_of(vm))} 64M", check=True)
    done(grow(cloud, vm, 56))
    assert virtual_mib(cloud, vm) == 64


@pytest.mark.parametrize(
    ("kind", "form"),
    [("LVM-1.28", "raw"), ("FILE_THIN", "raw"), ("LVM-1.28", "qcow2"), ("LVM_THIN", "qcow2")],
)
def test_a_clone_larger_than_its_image(make_cloud: CloudMaker, tmp_path: Path, kind: str, form: str) -> None:
    cloud = make_cloud(**KINDS[kind])
    image = ready_image(cloud) if form == "raw" else qcow2_image(cloud, tmp_path)
    end = device_size(cloud, image.source)
    vm = waiting(cloud, {"IMAGE_ID": image.id, "SIZE": 40}, host="dave")
    created(cloud, vm)
    name = resource_of(vm)
    assert device_size(cloud, name) >= 40 * MIB
    assert is_complete(cloud, name)
    if form == "raw":
        assert disk_bytes(cloud, vm) == CONTENT
    else:
        assert virtual_mib(cloud, vm) == 40
    assert rest(cloud, vm, end).strip(b"\0") == b""
    assert clients(cloud, name) == ["dave"]
    assert list(links(cloud)) == ["dave"]


def test_arguments_that_oned_never_sends(cloud: Cloud) -> None:
    vm = placed(cloud)
    place, ids = f"alice:{cloud.one.disk_path(vm, 0)}", (str(vm.id), "100")
    for arguments in [
        (place, *ids),
        (place, "-5", *ids),
        (place, "4.5", *ids),
        (place[:-1] + "7", "40", *ids),
    ]:
        refused(cloud.call("tm/resize", *arguments))
    assert device_size(cloud, resource_of(vm)) < 16 * MIB
