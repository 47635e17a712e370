# SPDX-License-Identifier: Apache-2.0
"""Disks that come and go while a VM is deployed."""

from __future__ import annotations

from lab.one.allocation import Allocator
from lab.one.disks import DiskTemplate
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.model import HistoryAction, LcmState, VirtualMachine, VmState
from lab.one.scripts import Outcome, ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.vmm import Vmm


class Hotplug:
    """`onevm disk-attach` and `disk-detach`, for running and for powered-off VMs."""

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

    def attach(self, vm: VirtualMachine, template: DiskTemplate) -> VirtualMachine:
        """A failure takes the disk out of the VM again. Raises OneError in a wrong state."""
        live = _live_or_poweroff(vm, "attach a new disk to")
        system = self._inventory.datastores[vm.record.ds_id]
        disk = self._allocator.new_disk(vm, {**template, "DISK_ID": str(vm.free_disk_id())}, system)
        disk.update(ATTACH="YES", TM_MAD_SYSTEM=system.tm_mad)
        vm.disks.append(disk)
        self._allocator.next_record(vm, HistoryAction.DISK_ATTACH if live else None)
        line = self._lines.create(vm, disk)
        if live:
            vm.lcm_state = LcmState.HOTPLUG
            outcome = self._vmm.attempt(vm, lambda: self._vmm.attach(vm, disk, line))
        else:
            vm.set_state(VmState.ACTIVE, LcmState.HOTPLUG_PROLOG_POWEROFF)
            outcome = self._scripts.script(vm, "prolog_attach", [line])
        if outcome is Outcome.OVERTAKEN:
            return vm
        if outcome is Outcome.OK:
            del disk["ATTACH"]
        else:
            vm.disks.remove(disk)
            self._allocator.release(vm, disk)
        return _back(vm, live)

    def detach(self, vm: VirtualMachine, disk_id: int) -> VirtualMachine:
        """When the driver fails the disk stays in the VM, although the guest let go of it.

        Raises OneError in a wrong state and for an unknown disk.
        """
        live = _live_or_poweroff(vm, "detach disk from")
        try:
            disk = vm.disk(disk_id)
        except KeyError as exc:
            raise OneError(f"[one.vm.detach] {exc.args[0]}") from exc
        disk["ATTACH"] = "YES"
        self._allocator.next_record(vm, HistoryAction.DISK_DETACH if live else None)
        if live:
            vm.lcm_state = LcmState.HOTPLUG
            outcome = self._vmm.attempt(vm, lambda: self._vmm.detach(vm, disk))
        else:
            vm.set_state(VmState.ACTIVE, LcmState.HOTPLUG_EPILOG_POWEROFF)
            line = self._lines.remove(vm, disk)
            outcome = self._scripts.script(vm, "epilog_detach", [line])
        if outcome is Outcome.OVERTAKEN:
            return vm
        if outcome is Outcome.OK:
            vm.disks.remove(disk)
            self._allocator.release(vm, disk)
        else:
            del disk["ATTACH"]
        return _back(vm, live)


def _back(vm: VirtualMachine, live: bool) -> VirtualMachine:
    if live:
        vm.lcm_state = LcmState.RUNNING
    else:
        vm.set_state(VmState.POWEROFF)
    return vm


def _live_or_poweroff(vm: VirtualMachine, doing: str) -> bool:
    """True for a running VM, False for a powered-off one; raises OneError otherwise."""
    if vm.state is VmState.POWEROFF:
        return False
    if (vm.state, vm.lcm_state) != (VmState.ACTIVE, LcmState.RUNNING):
        raise OneError(f"Could not {doing} VM {vm.id}, wrong state {vm.state_name}.")
    return True
