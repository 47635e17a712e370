# SPDX-License-Identifier: Apache-2.0
"""`onevm disk-saveas`: a disk of a VM, or a snapshot of it, becomes an image.

Source of the facts: ``src/rm/api/VirtualMachineAPI.cc``, ``src/image/ImageManagerProtocol.cc``.
"""

from __future__ import annotations

from collections.abc import Collection

from lab.one import disks
from lab.one.allocation import Allocator
from lab.one.datastore_drivers import DatastoreDrivers, fail, info, register, set_state
from lab.one.inventory import Inventory
from lab.one.model import Image, ImageState, ImageType, LcmState, VirtualMachine, VmState
from lab.one.operations import Stage
from lab.one.scripts import Outcome, ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.version import OneVersion

_STATES = {
    VmState.ACTIVE: LcmState.HOTPLUG_SAVEAS,
    VmState.POWEROFF: LcmState.HOTPLUG_SAVEAS_POWEROFF,
    VmState.SUSPENDED: LcmState.HOTPLUG_SAVEAS_SUSPENDED,
}
_STATES_ON_FRONT_END = {
    VmState.UNDEPLOYED: LcmState.HOTPLUG_SAVEAS_UNDEPLOYED,
    VmState.STOPPED: LcmState.HOTPLUG_SAVEAS_STOPPED,
}
_SAVING = "SAVE_AS_HOT"
_ACTIVE = "HOTPLUG_SAVE_AS_ACTIVE"


class DiskSaving:
    """The image gets the type of the disk's image, is not persistent, and as large as the disk is now."""

    def __init__(
        self,
        inventory: Inventory,
        version: OneVersion,
        allocator: Allocator,
        lines: TransferLines,
        scripts: ScriptRunner,
        drivers: DatastoreDrivers,
    ) -> None:
        self._inventory = inventory
        self._allocator = allocator
        self._lines = lines
        self._scripts = scripts
        self._drivers = drivers
        on_front_end = _STATES_ON_FRONT_END if version.saves_disks_of_vms_on_the_front_end else {}
        self._stage = Stage(
            "disksaveas",
            {**_STATES, **on_front_end},
            "VM has to be RUNNING, POWEROFF or SUSPENDED to save disks.",
        )

    @property
    def states(self) -> Collection[LcmState]:
        return self._stage.states

    def save_as(
        self,
        vm: VirtualMachine,
        disk_id: int,
        name: str,
        snapshot: int = -1,
        type: str | ImageType | None = None,
    ) -> Image:
        """The image, READY or in ERROR. Raises OneError when oned refuses."""
        self._stage.check(vm)
        disk = self._stage.disk(vm, disk_id)
        if disks.is_volatile(disk):
            raise self._stage.refuse("Cannot use DISK. DISK does not have a valid IMAGE_ID.")
        if snapshot != -1 and (disk_id not in vm.snapshots or snapshot not in vm.snapshots[disk_id].records):
            raise self._stage.refuse("Cannot use DISK. Snapshot does not exist.")
        origin = self._inventory.images[int(disk["IMAGE_ID"])]
        store = self._inventory.datastores[origin.datastore_id]
        if store.total_mb and int(disk["SIZE"]) > store.free_mb:
            raise self._stage.refuse("Not enough space in datastore")
        image = self._image(vm, disk, name, origin, type)
        document = self._drivers.document(image)
        register(self._inventory, image)
        disk.update({_ACTIVE: "YES", "HOTPLUG_SAVE_AS_SNAPSHOT_ID": str(snapshot)})
        on_front_end = vm.state in _STATES_ON_FRONT_END
        self._stage.enter(vm, self._allocator)
        call = self._drivers.call(store, "mkfs", image.id, document)
        if not call.ok:
            fail(image, "Error creating datablock", info(call))
            if _ACTIVE in disk:
                _unmark(disk)
                self._stage.leave(vm)
            return image
        image.source = self._drivers.made_source(call)
        if _ACTIVE not in disk:
            fail(image, "Image created to save as disk but VM is no longer running", info(call))
            return image
        image.format = disk["FORMAT"]
        disk.update(HOTPLUG_SAVE_AS=str(image.id), HOTPLUG_SAVE_AS_SOURCE=image.source)
        state = vm.lcm_state
        line = self._lines.save_as(vm, disk, image.source, snapshot, on_front_end)
        outcome = self._scripts.script(vm, "disk_saveas", [line])
        if outcome is not Outcome.OVERTAKEN and vm.lcm_state is state:
            if outcome is Outcome.OK:
                self.succeeded(vm)
            else:
                self.failed(vm)
        return image

    def succeeded(self, vm: VirtualMachine) -> None:
        self._settle(vm, ImageState.READY)
        self._stage.leave(vm)

    def failed(self, vm: VirtualMachine) -> None:
        """The image is in ERROR without a text: that is in the VM."""
        self._settle(vm, ImageState.ERROR)
        self._stage.leave(vm)

    def abandoned(self, vm: VirtualMachine) -> None:
        self._settle(vm, ImageState.ERROR)

    def _image(
        self,
        vm: VirtualMachine,
        disk: dict[str, str],
        name: str,
        origin: Image,
        type: str | ImageType | None,
    ) -> Image:
        kind = ImageType[type.upper()] if isinstance(type, str) else type
        template: dict[str, str] = {
            key: origin.template[key] for key in ("TARGET", "DEV_PREFIX") if key in origin.template
        }
        template.update(SAVED_IMAGE_ID=str(origin.id), SAVED_DISK_ID=disk["DISK_ID"], SAVED_VM_ID=str(vm.id))
        template[_SAVING] = "YES"
        return Image(
            self._inventory.next_image_id(),
            name,
            origin.type if kind is None else kind,
            origin.datastore_id,
            int(disk["SIZE"]),
            format="save_as",
            template=template,
        )

    def _settle(self, vm: VirtualMachine, state: ImageState) -> None:
        disk = next(one for one in vm.disks if _ACTIVE in one)
        # Before mkfs has ended the VM does not know the image.
        if "HOTPLUG_SAVE_AS" in disk:
            image = self._inventory.images[int(disk["HOTPLUG_SAVE_AS"])]
            image.template.pop(_SAVING, None)
            set_state(image, state)
        _unmark(disk)


def _unmark(disk: dict[str, str]) -> None:
    for key in [one for one in disk if one.startswith("HOTPLUG_SAVE_AS")]:
        del disk[key]
