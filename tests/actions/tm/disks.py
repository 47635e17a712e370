# SPDX-License-Identifier: Apache-2.0
"""Snapshots of disks, disks that are saved as images and disks that grow, on all kinds of storage."""

from __future__ import annotations

import re
from typing import Any

from lab.cloud import Cloud
from lab.one import Call, Image, LcmState, VirtualMachine, VmState
from tests.actions.support import MIB, by_res
from tests.actions.tm.journeys import directory
from tests.actions.tm.support import CONTENT, SIZE, bare_volume, run, waiting

KINDS: dict[str, dict[str, Any]] = {
    "LVM_THIN": {"provider": "LVM_THIN"},
    "ZFS": {"provider": "ZFS", "sync_seconds": 0.0},
    "FILE_THIN": {"provider": "FILE_THIN"},
    "FILE": {"provider": "FILE", "sync_seconds": 0.0},
    # LINSTOR 1.35 brought snapshots of plain LVM.
    "LVM": {"provider": "LVM", "sync_seconds": 0.0, "rest_version": "1.29.1"},
    "LVM-1.28": {"provider": "LVM", "sync_seconds": 0.0},
}
"""Options of a cloud for each kind of storage; on the last one a snapshot is a full copy."""

COPIES = KINDS["LVM-1.28"]


def ready_image(cloud: Cloud, group: str = "one", **options: object) -> Image:
    """An image with CONTENT as the driver leaves it, made without the driver."""
    number = len(cloud.one.inventory.images)
    name = bare_volume(cloud, f"OpenNebula-Image-{number}", group=group)
    rd = cloud.cluster.rd(name)
    with cloud.hosts.open_disk(rd.diskful[0].node, by_res(name)) as disk:
        for begin in range(0, disk.size(), MIB):
            disk.write(begin, CONTENT[begin : begin + MIB].ljust(min(MIB, disk.size() - begin), b"\0"))
    owner = {"instance": "one", "datastore": "100", "image": str(number), "complete": name}
    rd.props.update({f"Aux/one/{key}": value for key, value in owner.items()})
    image = cloud.one.image_create("ready", size=SIZE // MIB, source=name, **options)  # type: ignore[arg-type]
    assert image.id == number
    return image


def placed(cloud: Cloud, image: Image | None = None, host: str = "alice") -> VirtualMachine:
    """A VM with a persistent image, attached without the driver."""
    vm = waiting(cloud, image or ready_image(cloud, persistent=True), host=host)
    name = resource_of(vm)
    cloud.cluster.availability.make(name, host, {})
    place = directory(cloud, vm, host)
    place.mkdir(parents=True)
    (place / "disk.0").symlink_to(by_res(name))
    vm.set_state(VmState.ACTIVE, LcmState.RUNNING)
    return vm


def resource_of(vm: VirtualMachine, disk_id: int = 0) -> str:
    disk = vm.disk(disk_id)
    return disk["SOURCE"] + (f"-vm{vm.id}-disk{disk_id}" if disk["CLONE"] == "YES" else "")


def snapshot(
    cloud: Cloud, vm: VirtualMachine, step: str, number: int = 0, *, disk_id: int = 0, live: bool = False
) -> Call:
    """CREATE, DELETE or REVERT."""
    return run(cloud, cloud.one.lines.snapshot(vm, vm.disk(disk_id), step, number, live))


def grow(cloud: Cloud, vm: VirtualMachine, size_mib: int, *, running: bool = False) -> Call:
    """RESIZE of the first disk."""
    state = LcmState.DISK_RESIZE if running else LcmState.DISK_RESIZE_POWEROFF
    vm.set_state(VmState.ACTIVE, state)
    disk = vm.disk(0)
    try:
        return run(cloud, cloud.one.lines.resize(vm, {**disk, "SIZE": str(size_mib)}))
    finally:
        vm.set_state(VmState.ACTIVE, LcmState.RUNNING)


def save(
    cloud: Cloud, vm: VirtualMachine, target: str, number: int = -1, *, state: LcmState | None = None
) -> Call:
    """CPDS of the first disk, or of a snapshot of it."""
    vm.set_state(VmState.ACTIVE, LcmState.HOTPLUG_SAVEAS_POWEROFF if state is None else state)
    on_front_end = state in (LcmState.HOTPLUG_SAVEAS_STOPPED, LcmState.HOTPLUG_SAVEAS_UNDEPLOYED)
    try:
        return run(cloud, cloud.one.lines.save_as(vm, vm.disk(0), target, number, on_front_end))
    finally:
        vm.set_state(VmState.ACTIVE, LcmState.RUNNING)


def done(call: Call) -> None:
    """The call worked and said nothing."""
    assert (call.rc, call.stdout, call.stderr) == (0, "", ""), call.argv


def refused(call: Call, *words: str) -> None:
    """The call failed with one line that has the words in its first 100 characters, which is what OpenNebula shows."""
    assert call.rc == 1, call.argv
    assert call.stdout == ""
    assert len(call.stderr.splitlines()) == 1, call.stderr
    for word in words:
        assert word in call.user_error[:100], call.user_error


def points(cloud: Cloud, name: str) -> list[int]:
    """The ids of the snapshots of a volume, LINSTOR's own and copies."""
    rd = cloud.cluster.rd(name)
    labels = [one.name for one in rd.snapshots.values()]
    endings = rd.props.get("Aux/one/companions", "").split()
    found = [re.fullmatch("OpenNebula-Snap-([0-9]+)", label) for label in labels]
    found += [re.fullmatch("snap([0-9]+)", ending) for ending in endings]
    assert None not in found, (labels, endings)
    return sorted(int(one[1]) for one in found if one)


def family(cloud: Cloud, name: str) -> set[str]:
    """The endings of the names of all volumes whose names begin like this one's."""
    return {rd.name[len(name) :] for rd in cloud.cluster.rds.values() if rd.name.startswith(name)}


def log(cloud: Cloud) -> str:
    """What the driver has told administrators."""
    path = cloud.one.tree.var / "linstor.log"
    return path.read_text() if path.exists() else ""


def set_attributes(cloud: Cloud, **attributes: str) -> None:
    """Of the image datastore."""
    cloud.one.inventory.datastores[100].template.update(attributes)
