# SPDX-License-Identifier: Apache-2.0
"""`onevm recover`: retry, success, failure, delete, recreate."""

from __future__ import annotations

from collections.abc import Iterable

from lab.one.allocation import now
from lab.one.errors import OneError
from lab.one.lifecycle import BOOTS, EPILOGS, LEAVING, MIGRATING, PROLOGS, Lifecycle
from lab.one.model import HistoryAction, HistoryRecord, LcmState, VirtualMachine, VmState
from lab.one.operations import DiskOperation
from lab.one.scripts import ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.vmm import Vmm

_BASE: dict[LcmState, LcmState] = {
    failure: state
    for states in (PROLOGS, EPILOGS, BOOTS)
    for state, failure in states.items()
    if isinstance(failure, LcmState) and failure is not LcmState.UNKNOWN
}
"""The states that a retry or a success of a ``*_FAILURE`` state goes back to."""

_AT_REST = (VmState.POWEROFF, VmState.SUSPENDED, VmState.STOPPED, VmState.UNDEPLOYED)
_ON_FRONT_END = (VmState.STOPPED, VmState.UNDEPLOYED)
_BY_TRANSFER_DRIVER = (
    *PROLOGS,
    *EPILOGS,
    LcmState.HOTPLUG_PROLOG_POWEROFF,
    LcmState.HOTPLUG_EPILOG_POWEROFF,
    LcmState.HOTPLUG_SAVEAS_POWEROFF,
    LcmState.HOTPLUG_SAVEAS_SUSPENDED,
    LcmState.DISK_SNAPSHOT_POWEROFF,
    LcmState.DISK_SNAPSHOT_REVERT_POWEROFF,
    LcmState.DISK_SNAPSHOT_DELETE_POWEROFF,
    LcmState.DISK_SNAPSHOT_SUSPENDED,
    LcmState.DISK_SNAPSHOT_DELETE_SUSPENDED,
    LcmState.DISK_SNAPSHOT_DELETE,
    LcmState.DISK_RESIZE_POWEROFF,
    LcmState.DISK_RESIZE_UNDEPLOYED,
)

_WITHOUT_HOST = (LcmState.HOTPLUG_SAVEAS_UNDEPLOYED, LcmState.HOTPLUG_SAVEAS_STOPPED)


class Recovery:
    """All raise OneError where oned has nothing to offer for the VM's state."""

    def __init__(
        self,
        life: Lifecycle,
        lines: TransferLines,
        scripts: ScriptRunner,
        vmm: Vmm,
        operations: Iterable[DiskOperation],
    ) -> None:
        self._operations = {state: one for one in operations for state in one.states}
        self._life = life
        self._lines = lines
        self._scripts = scripts
        self._vmm = vmm

    def retry(self, vm: VirtualMachine) -> VirtualMachine:
        """The step of the state once more, from its beginning."""
        vm.lcm_state = _BASE.get(vm.lcm_state, vm.lcm_state)
        if vm.lcm_state in PROLOGS:
            self._life.prolog(vm)
        elif vm.lcm_state in EPILOGS:
            self._life.epilog(vm)
        elif vm.lcm_state in BOOTS:
            self._life.boot(vm)
        elif vm.lcm_state in LEAVING:
            self._life.leave(vm)
        elif vm.lcm_state is LcmState.MIGRATE:
            self._life.migrate(vm)
        else:
            raise _refusal("retry", vm)
        return vm

    def success(self, vm: VirtualMachine) -> VirtualMachine:
        """The administrator says that the step is done; no transfer driver is called for it."""
        operation = self._operation(vm)
        if operation is not None:
            operation.succeeded(vm)
            return vm
        vm.lcm_state = _BASE.get(vm.lcm_state, vm.lcm_state)
        if vm.lcm_state in PROLOGS:
            self._life.prolog_succeeded(vm)
        elif vm.lcm_state in EPILOGS:
            self._life.epilog_succeeded(vm)
        elif vm.lcm_state in BOOTS:
            self._life.boot_succeeded(vm)
        elif vm.lcm_state in LEAVING:
            self._life.left(vm)
        elif vm.lcm_state is LcmState.MIGRATE:
            self._life.migration_succeeded(vm)
        elif vm.lcm_state is LcmState.UNKNOWN:
            vm.lcm_state = LcmState.RUNNING
        else:
            raise _refusal("success", vm)
        return vm

    def failure(self, vm: VirtualMachine) -> VirtualMachine:
        """The step has failed. A migration whose prolog had failed is given up, without a transfer call."""
        operation = self._operation(vm)
        if operation is not None:
            operation.failed(vm)
            return vm
        state = vm.lcm_state
        if state in MIGRATING.values():
            vm.lcm_state = _BASE[state]
            self._life.prolog_of_migration_given_up(vm)
        elif state in PROLOGS:
            vm.lcm_state = PROLOGS[state]
        elif state in EPILOGS:
            vm.lcm_state = EPILOGS[state]
        elif state in BOOTS:
            self._life.boot_failed(vm)
        elif state in LEAVING:
            self._life.not_left(vm)
        elif state is LcmState.MIGRATE:
            self._life.migration_failed(vm)
        elif state is LcmState.UNKNOWN:
            vm.lcm_state = LcmState.RUNNING
        elif state not in _BASE:
            raise _refusal("failure", vm)
        return vm

    def delete(self, vm: VirtualMachine) -> VirtualMachine:
        """The VM is DONE at once, DELETE of everything follows.

        That goes to the last host, even when everything has been moved to the front-end.
        """
        state, lcm_state = vm.state, vm.lcm_state
        if state is VmState.ACTIVE:
            vm.record.action = HistoryAction.DELETE
        vm.set_state(VmState.DONE)
        if state in _AT_REST:
            self._scripts.script(vm, "delete", self._lines.cleanup(vm), report=False)
        elif state is VmState.ACTIVE:
            self._clean_up(vm, lcm_state)
        if state is not VmState.DONE:
            self._life.done(vm)
        return vm

    def recreate(self, vm: VirtualMachine) -> VirtualMachine:
        """DELETE of everything, then PENDING; deploy it to go on.

        Of a stopped or undeployed VM nothing is deleted: its next prolog meets its old volumes. Snapshots of copies
        are forgotten in any case, so that their ids start anew.
        """
        if vm.state is VmState.DONE:
            raise OneError("[one.vm.recover] Cannot delete-recreate a VM already in DONE state")
        if vm.state is VmState.PENDING:
            return vm
        vm.record.action = HistoryAction.DELETE_RECREATE
        if vm.state not in _ON_FRONT_END:
            state, lcm_state = vm.state, vm.lcm_state
            vm.set_state(VmState.ACTIVE, LcmState.CLEANUP_RESUBMIT)
            self._clean_up(vm, lcm_state if state is VmState.ACTIVE else LcmState.RUNNING)
            vm.deploy_id = ""
        for disk in vm.disks:
            number = int(disk["DISK_ID"])
            if disk.get("CLONE") == "YES" and number in vm.snapshots:
                del vm.snapshots[number], disk["DISK_SNAPSHOT_TOTAL_SIZE"]
        vm.set_state(VmState.PENDING)
        return vm

    def _clean_up(self, vm: VirtualMachine, state: LcmState) -> None:
        """Cancel what runs, then DELETE: by a script, or by the hypervisor driver, which ignores failures."""
        vm.transfers += 1
        if state in self._operations:
            self._operations[state].abandoned(vm)
        if state in _WITHOUT_HOST:
            return
        record = vm.record
        record.etime = record.etime or now()
        base = _BASE.get(state, state)
        if base in _BY_TRANSFER_DRIVER:
            self._stamp(record, base)
            if base in MIGRATING:
                lines = [*self._lines.cleanup(vm), *self._lines.cleanup(vm, vm.previous)]
                self._scripts.script(vm, "delete_both", lines, report=False)
            else:
                self._scripts.script(vm, "delete", self._lines.cleanup(vm), report=False)
            return
        record.retime = now()
        if base in (LcmState.MIGRATE, LcmState.SAVE_MIGRATE):
            vm.previous.etime = vm.previous.retime = now()
        if base is LcmState.SAVE_MIGRATE:
            self._vmm.cleanup(vm, [vm.previous], self._lines.cleanup(vm, vm.previous))
        elif base is LcmState.MIGRATE:
            self._vmm.cleanup(vm, [record, vm.previous], self._lines.cleanup(vm))
        else:
            self._vmm.cleanup(vm, [record], self._lines.cleanup(vm))

    def _operation(self, vm: VirtualMachine) -> DiskOperation | None:
        """The one that is going on, if there is one; what its driver answers later is not heard."""
        operation = self._operations.get(vm.lcm_state) if vm.state is VmState.ACTIVE else None
        if operation is not None:
            vm.transfers += 1
        return operation

    @staticmethod
    def _stamp(record: HistoryRecord, state: LcmState) -> None:
        if state in PROLOGS:
            record.petime = record.petime or now()
        elif state in EPILOGS:
            record.eetime = now()


def _refusal(operation: str, vm: VirtualMachine) -> OneError:
    return OneError(f"[one.vm.recover] Recover {operation} is not available for state {vm.state_name}")
