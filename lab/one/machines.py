# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: their creation, their first and later deployments, and their end."""

from __future__ import annotations

from collections.abc import Iterable

from lab.one import disks
from lab.one.allocation import Allocator, now
from lab.one.disks import DiskTemplate
from lab.one.errors import OneError
from lab.one.inventory import Inventory
from lab.one.lifecycle import BOOTS, EPILOGS, PROLOGS, Lifecycle
from lab.one.model import HistoryAction, LcmState, VirtualMachine, VmState
from lab.one.recovery import Recovery

_AT_REST = (VmState.POWEROFF, VmState.SUSPENDED, VmState.STOPPED, VmState.UNDEPLOYED)
_ON_FRONT_END = (VmState.STOPPED, VmState.UNDEPLOYED)
_UNDEPLOYMENTS = (HistoryAction.UNDEPLOY, HistoryAction.UNDEPLOY_HARD)
_FAILURES = {*PROLOGS.values(), *EPILOGS.values(), *BOOTS.values()} - {LcmState.UNKNOWN}


class Machines:
    """Calls that fail leave the VM in the state that oned would leave it in."""

    def __init__(
        self, inventory: Inventory, allocator: Allocator, life: Lifecycle, recovery: Recovery
    ) -> None:
        self._inventory = inventory
        self._allocator = allocator
        self._life = life
        self._recovery = recovery

    def create(
        self,
        templates: Iterable[DiskTemplate],
        name: str | None = None,
        context: dict[str, str] | None = None,
    ) -> VirtualMachine:
        """`onevm create --hold`: a PENDING VM whose images are taken. Raises OneError for a busy image."""
        vm_id = self._inventory.next_vm_id()
        vm = VirtualMachine(vm_id, name or f"vm-{vm_id}")
        try:
            for number, template in enumerate(templates):
                vm.disks.append(self._allocator.new_disk(vm, {**template, "DISK_ID": number}, None))
        except OneError:
            for disk in vm.disks:
                self._allocator.release(vm, disk)
            raise
        if context is not None:
            vm.context = {**context, "DISK_ID": str(vm.free_disk_id())}
            vm.context["TARGET"] = disks.target({}, (disk["TARGET"] for disk in vm.disks))
        with self._inventory.lock:
            self._inventory.vms[vm_id] = vm
        return vm

    def prepare(self, vm: VirtualMachine, host: str, datastore: int | None = None) -> VirtualMachine:
        """Put the VM into its prolog on a host and go no further; see `deploy`."""
        if vm.state is not VmState.PENDING and vm.state not in _ON_FRONT_END:
            raise OneError(f"[one.vm.deploy] Deploy action is not available for state {vm.state_name}")
        before = vm.history[-1].action if vm.history else HistoryAction.NONE
        prolog = LcmState.PROLOG
        if before is HistoryAction.STOP:
            prolog = LcmState.PROLOG_RESUME
        elif before in _UNDEPLOYMENTS:
            prolog = LcmState.PROLOG_UNDEPLOY
        if datastore is None:
            if prolog is LcmState.PROLOG:
                raise OneError("[one.vm.deploy] a first deployment needs a system datastore")
            datastore = vm.record.ds_id
        system = self._inventory.datastores[datastore]
        self._allocator.enter(vm, system)
        self._allocator.add_record(vm, host, system).pstime = now()
        vm.set_state(VmState.ACTIVE, prolog)
        return vm

    def deploy(self, vm: VirtualMachine, host: str, datastore: int | None = None) -> VirtualMachine:
        """`onevm deploy`: prolog, context, and boot or, for a stopped VM, restore.

        Without `datastore` a stopped or undeployed VM stays in its system datastore. oned does not compare
        its driver with the one before: only the scheduler does. Raises OneError in a wrong state, and for
        datastores that do not go together.
        """
        self._life.prolog(self.prepare(vm, host, datastore))
        return vm

    def terminate(self, vm: VirtualMachine, hard: bool = False) -> VirtualMachine:
        """`onevm terminate`: shut down, then MVDS or DELETE of each disk and DELETE of the directory.

        What failed before is cleaned up as `onevm recover --delete` does. Raises OneError in a wrong state.
        """
        if vm.state is VmState.PENDING:
            self._life.done(vm)
        elif vm.state in _AT_REST:
            vm.record.action = HistoryAction.TERMINATE
            self._life.begin_epilog(vm, LcmState.EPILOG, on_front_end=vm.state in _ON_FRONT_END)
        elif vm.lcm_state in (LcmState.RUNNING, LcmState.UNKNOWN):
            vm.record.action = HistoryAction.TERMINATE_HARD if hard else HistoryAction.TERMINATE
            vm.lcm_state = LcmState.SHUTDOWN
            self._life.leave(vm)
        elif vm.lcm_state in _FAILURES:
            self._recovery.delete(vm)
        elif vm.state is not VmState.DONE:
            raise OneError(f"Could not terminate VM {vm.id}, wrong state {vm.state_name}.")
        return vm
