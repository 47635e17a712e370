# SPDX-License-Identifier: Apache-2.0
"""`onevm disk-resize`: disks of VMs become larger.

Source of the facts: ``src/dm/DispatchManagerActions.cc`` and ``src/vm/VirtualMachineDisk.cc``.
"""

from __future__ import annotations

from collections.abc import Collection

from lab.one import disks
from lab.one.allocation import Allocator
from lab.one.inventory import Inventory
from lab.one.model import HistoryAction, LcmState, VirtualMachine, VmState
from lab.one.operations import Stage
from lab.one.scripts import Outcome, ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.vmm import Vmm

_RESIZE = Stage(
    "diskresize",
    {
        VmState.ACTIVE: LcmState.DISK_RESIZE,
        VmState.POWEROFF: LcmState.DISK_RESIZE_POWEROFF,
        VmState.UNDEPLOYED: LcmState.DISK_RESIZE_UNDEPLOYED,
    },
    "Could not resize disk for VM {vm}, wrong state {state}.",
    HistoryAction.DISK_RESIZE,
)


class DiskResizing:
    """While the driver works the disk has its new SIZE already, and the old one as SIZE_PREV."""

    def __init__(
        self,
        inventory: Inventory,
        allocator: Allocator,
        lines: TransferLines,
        scripts: ScriptRunner,
        vmm: Vmm,
    ) -> None:
        self._inventory = inventory
        self._allocator = allocator
        self._lines = lines
        self._scripts = scripts
        self._vmm = vmm

    @property
    def states(self) -> Collection[LcmState]:
        return _RESIZE.states

    def resize(self, vm: VirtualMachine, disk_id: int, size: int) -> VirtualMachine:
        """`size` in MiB. A failure gives the disk its old SIZE back, whatever the driver or the guest has done.

        Raises OneError when oned refuses: in a wrong state, and for a size that is not larger.
        """
        disk = _RESIZE.disk(vm, disk_id)
        if size <= int(disk["SIZE"]):
            raise _RESIZE.refuse("New disk size has to be greater than current one")
        _RESIZE.check(vm)
        return self.force(vm, disk_id, size)

    def force(self, vm: VirtualMachine, disk_id: int, size: int) -> VirtualMachine:
        """What follows when oned does not refuse: to call a driver with a size that oned would not ask for."""
        disk = _RESIZE.disk(vm, disk_id)
        disk.update(RESIZE="YES", SIZE_PREV=disk["SIZE"], SIZE=str(size))
        running = _RESIZE.enter(vm, self._allocator)
        state = vm.lcm_state
        line = self._lines.resize(vm, disk)
        if running:
            outcome = self._vmm.attempt(vm, lambda: self._vmm.resize(vm, disk, line))
        else:
            outcome = self._scripts.script(vm, "disk_resize", [line])
        if outcome is Outcome.OVERTAKEN or vm.lcm_state is not state:
            return vm
        if outcome is Outcome.OK:
            self.succeeded(vm)
        else:
            self.failed(vm)
        return vm

    def succeeded(self, vm: VirtualMachine) -> None:
        disk = _current(vm)
        del disk["RESIZE"], disk["SIZE_PREV"]
        if disks.writes_to_image(disk):
            self._inventory.images[int(disk["IMAGE_ID"])].size_mb = int(disk["SIZE"])
        _RESIZE.leave(vm)

    def failed(self, vm: VirtualMachine) -> None:
        self.abandoned(vm)
        _RESIZE.leave(vm)

    def abandoned(self, vm: VirtualMachine) -> None:
        disk = _current(vm)
        disk["SIZE"] = disk.pop("SIZE_PREV")
        del disk["RESIZE"]


def _current(vm: VirtualMachine) -> dict[str, str]:
    return next(one for one in vm.disks if "RESIZE" in one)
