# SPDX-License-Identifier: Apache-2.0
"""Images with known content, VMs that wait for their disks, and calls of transfer actions for them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from typing import Callable

from lab.cloud import Cloud
from lab.images import flat, write_raw
from lab.one import Call, Image, VirtualMachine
from lab.one.disks import DiskTemplate
from tests.actions.support import MIB, links

SIZE = 8 * MIB
EXTENTS = {0: b"boot sector\x55\xaa", 3 * MIB - 700: random.Random(1).randbytes(70_000), SIZE - 5: b"\x00the"}
CONTENT = flat(SIZE, EXTENTS)

CloudMaker = Callable[..., Cloud]
"""The type of the fixture ``make_cloud``."""

REST_VERSIONS = ("1.25.0", "1.26.0", "1.28.0", "1.29.1")


def new_image(cloud: Cloud, name: str = "image", **options: object) -> Image:
    """An image with CONTENT, by the driver."""
    path = cloud.images_dir / f"{name}.img"
    write_raw(path, SIZE, EXTENTS)
    image = cloud.one.image_create(name, path=path, **options)
    assert not image.error, image.error
    return image


def bare_volume(cloud: Cloud, name: str, size_mib: int = 8, group: str = "one") -> str:
    """A volume that is not the driver's own, as addon-linstor or an administrator leaves it."""
    body = {"resource_definition_name": name, "volume_sizes": [size_mib * 1024], "partial": True}
    cloud.cluster.groups.spawn(group, body)
    return name


def bare_image(cloud: Cloud, name: str, **options: object) -> Image:
    """An image whose volume addon-linstor has made."""
    return cloud.one.image_create(name, size=8, source=bare_volume(cloud, name), **options)


def waiting(
    cloud: Cloud, *disks: Image | DiskTemplate, host: str = "alice", datastore: int = 101
) -> VirtualMachine:
    """A VM in PROLOG; nothing was called for its disks yet."""
    return cloud.one.vm_prepare(disks, host, datastore=datastore)


def run(cloud: Cloud, line: str) -> Call:
    """A line of a transfer script."""
    action, _, *arguments = line.split()
    return cloud.call(f"tm/{action.lower().partition('.')[0]}", *arguments)


def create(cloud: Cloud, vm: VirtualMachine, disk_id: int = 0) -> Call:
    """CLONE, LN, MKIMAGE or MKSWAP."""
    return run(cloud, cloud.one.lines.create(vm, vm.disk(disk_id)))


def created(cloud: Cloud, vm: VirtualMachine, disk_id: int = 0) -> None:
    """As ``create``, and it has to work."""
    call = create(cloud, vm, disk_id)
    assert (call.rc, call.stdout, call.stderr) == (0, "", "")


def remove(cloud: Cloud, vm: VirtualMachine, disk_id: int = 0) -> Call:
    """MVDS or DELETE."""
    return run(cloud, cloud.one.lines.remove(vm, vm.disk(disk_id)))


def clean(cloud: Cloud, vm: VirtualMachine, disk_id: int = 0) -> Call:
    """DELETE, as oned sends it when it cleans up."""
    return run(cloud, cloud.one.lines.delete(vm, vm.disk(disk_id)))


def link_of(cloud: Cloud, vm: VirtualMachine, disk_id: int = 0) -> str | None:
    """Where the disk's link points to on the VM's host."""
    here = links(cloud).get(vm.host, {})
    return here.get(f"{vm.record.ds_id}/{vm.id}/disk.{disk_id}")


def disk_bytes(cloud: Cloud, vm: VirtualMachine, length: int = SIZE, disk_id: int = 0) -> bytes:
    """What the guest reads through its link."""
    path = os.path.normpath(cloud.one.disk_path(vm, disk_id))
    with cloud.hosts.open_disk(vm.host, path, write=False) as disk:
        return disk.read(0, length)


def write_disk(cloud: Cloud, vm: VirtualMachine, offset: int, data: bytes, disk_id: int = 0) -> None:
    path = os.path.normpath(cloud.one.disk_path(vm, disk_id))
    with cloud.hosts.open_disk(vm.host, path) as disk:
        disk.write(offset, data)


def on_nodes(cloud: Cloud, name: str) -> dict[str, str]:
    """Each node that has the resource: with a ``disk``, ``diskless``, or as ``tie-breaker``."""

    def role(resource: object) -> str:
        if resource.tie_breaker:  # type: ignore[attr-defined]
            return "tie-breaker"
        return "diskless" if resource.diskless else "disk"  # type: ignore[attr-defined]

    return {one.node: role(one) for one in cloud.cluster.rd(name).resources.values()}


def hosts_without(cloud: Cloud, name: str, hosts: Iterable[str] = ("alice", "bob", "charlie")) -> list[str]:
    """Those of the hosts that have no disk of the volume."""
    roles = on_nodes(cloud, name)
    return [host for host in hosts if roles.get(host) != "disk"]
