# SPDX-License-Identifier: Apache-2.0
"""Disks and history records of VMs: taking and releasing images, choosing targets, entering a datastore."""

from __future__ import annotations

import time

from lab.one import disks
from lab.one.disks import DiskTemplate
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.model import Datastore, HistoryAction, HistoryRecord, ImageState, VirtualMachine


def now() -> int:
    return int(time.time())


class Allocator:
    """Changes VMs and images together."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def new_disk(
        self, vm: VirtualMachine, template: DiskTemplate, system: Datastore | None
    ) -> dict[str, str]:
        """The vector of a new disk, its image taken; `system` is None before the VM is deployed.

        Raises OneError for an image that is not READY, or persistent and in use.
        """
        if "IMAGE_ID" not in template:
            disk = disks.volatile_disk(template)
            if system is not None:
                disk.update(disks.volatile_attributes(system))
        else:
            image = self._inventory.images[int(template["IMAGE_ID"])]
            store = self._inventory.datastores[image.datastore_id]
            with self._inventory.lock:
                if image.state is ImageState.USED_PERS and not disks.is_shareable(image):
                    reason = "it is persistent and already in use"
                    raise OneError(f"[one.vm.allocate] Cannot acquire image {image.id}, {reason}")
                if image.state not in (ImageState.READY, ImageState.USED, ImageState.USED_PERS):
                    reason = f"it is in state: {image.state.name}"
                    raise OneError(f"[one.vm.allocate] Cannot acquire image {image.id}, {reason}")
                disk = disks.image_disk(template, image, store, system)
                image.vms.append(vm.id)
                image.state = ImageState.USED_PERS if image.persistent else ImageState.USED
                if image.snapshots and image.snapshots.records:
                    vm.snapshots[int(template["DISK_ID"])] = image.snapshots.copy()
            disk["IMAGE_STATE"] = str(int(image.state))
        if "TARGET" not in disk:
            disk["TARGET"] = disks.target(disk, self._targets(vm))
        return disk

    def enter(self, vm: VirtualMachine, system: Datastore) -> None:
        """Adapt the disks to the system datastore.

        Image disks are adapted to the transfer driver of the VM's first system datastore, and then never again.
        Raises OneError when an image's datastore does not support that driver.
        """
        if not vm.tm_mad_system:
            for disk in vm.disks:
                if not disks.is_volatile(disk):
                    datastore = self._inventory.datastores[int(disk["DATASTORE_ID"])]
                    disks.adapt_to_system(disk, datastore, system)
            if any("TM_MAD_SYSTEM" in disk for disk in vm.disks):
                for disk in vm.disks:
                    disk["TM_MAD_SYSTEM"] = system.tm_mad
            vm.tm_mad_system = system.tm_mad
        self.move_volatile(vm, system)

    @staticmethod
    def move_volatile(vm: VirtualMachine, system: Datastore) -> None:
        """Volatile disks belong to the system datastore in which the VM is."""
        for disk in vm.disks:
            if disks.is_volatile(disk):
                disk.update(disks.volatile_attributes(system))

    def release(self, vm: VirtualMachine, disk: dict[str, str]) -> None:
        """Give the image of a disk back; a persistent one keeps the disk's size and snapshots."""
        if disks.is_volatile(disk):
            return
        with self._inventory.lock:
            image = self._inventory.images[int(disk["IMAGE_ID"])]
            known = vm.snapshots.pop(int(disk["DISK_ID"]), None)
            if disks.writes_to_image(disk):
                if int(disk["SIZE"]) > int(disk["ORIGINAL_SIZE"]):
                    image.size_mb = int(disk["SIZE"])
                image.snapshots = known.copy() if known and known.records else None
            image.vms.remove(vm.id)
            if not image.vms and not image.cloning_ops:
                image.state = ImageState.READY

    def add_record(self, vm: VirtualMachine, host: str, system: Datastore) -> HistoryRecord:
        """A record for a new stay; KeyError for an unknown host."""
        known = self._inventory.host_named(host)
        record = HistoryRecord(len(vm.history), known.name, known.id, system.id, system.tm_mad, stime=now())
        vm.history.append(record)
        return record

    def next_record(self, vm: VirtualMachine, action: HistoryAction | None) -> None:
        """Close the newest record and go on in a new one on the same host, which continues what the old one says.

        `action` goes into the closed record, unless it is None.
        """
        last = vm.record
        last.etime = now()
        record = self.copy_record(vm, last)
        record.rstime = now()
        record.action, record.retime = last.action, last.retime
        if action is not None:
            last.action, last.retime = action, last.retime or now()

    @staticmethod
    def copy_record(vm: VirtualMachine, record: HistoryRecord) -> HistoryRecord:
        """A new record for another stay on the host and datastore of `record`."""
        fresh = HistoryRecord(
            len(vm.history), record.host, record.host_id, record.ds_id, record.tm_mad, stime=now()
        )
        vm.history.append(fresh)
        return fresh

    @staticmethod
    def _targets(vm: VirtualMachine) -> list[str]:
        used = [disk["TARGET"] for disk in vm.disks]
        return [*used, vm.context["TARGET"]] if vm.context else used
