# SPDX-License-Identifier: Apache-2.0
"""The life cycle of a VM: which step follows which, and the states in which failures leave it.

Source of the facts: ``src/lcm`` of OpenNebula 7.4. A step that ends when the VM has left its state meanwhile,
because somebody recovered it, changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Sequence

from lab.one.allocation import Allocator, now
from lab.one.model import HistoryAction, LcmState, VirtualMachine, VmState
from lab.one.scripts import Outcome, ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.vmm import ActionFailed, Cancelled, Vmm, is_hard

MIGRATING: dict[LcmState, LcmState] = {
    LcmState.PROLOG_MIGRATE: LcmState.PROLOG_MIGRATE_FAILURE,
    LcmState.PROLOG_MIGRATE_POWEROFF: LcmState.PROLOG_MIGRATE_POWEROFF_FAILURE,
    LcmState.PROLOG_MIGRATE_SUSPEND: LcmState.PROLOG_MIGRATE_SUSPEND_FAILURE,
    LcmState.PROLOG_MIGRATE_UNKNOWN: LcmState.PROLOG_MIGRATE_UNKNOWN_FAILURE,
}
"""Prologs of a cold migration, with the states after their failure."""

PROLOGS: dict[LcmState, LcmState] = {
    LcmState.PROLOG: LcmState.PROLOG_FAILURE,
    LcmState.PROLOG_RESUME: LcmState.PROLOG_RESUME_FAILURE,
    LcmState.PROLOG_UNDEPLOY: LcmState.PROLOG_UNDEPLOY_FAILURE,
    **MIGRATING,
}
EPILOGS: dict[LcmState, LcmState] = {
    LcmState.EPILOG: LcmState.EPILOG_FAILURE,
    LcmState.EPILOG_STOP: LcmState.EPILOG_STOP_FAILURE,
    LcmState.EPILOG_UNDEPLOY: LcmState.EPILOG_UNDEPLOY_FAILURE,
}
BOOTS: dict[LcmState, LcmState | VmState] = {
    LcmState.BOOT: LcmState.BOOT_FAILURE,
    LcmState.BOOT_MIGRATE: LcmState.BOOT_MIGRATE_FAILURE,
    LcmState.BOOT_UNKNOWN: LcmState.UNKNOWN,
    LcmState.BOOT_STOPPED: LcmState.BOOT_STOPPED_FAILURE,
    LcmState.BOOT_UNDEPLOY: LcmState.BOOT_UNDEPLOY_FAILURE,
    LcmState.BOOT_POWEROFF: VmState.POWEROFF,
    LcmState.BOOT_SUSPENDED: VmState.SUSPENDED,
}
"""Boots and restores, with the states after their failure."""
LEAVING = (
    LcmState.SAVE_STOP,
    LcmState.SAVE_SUSPEND,
    LcmState.SAVE_MIGRATE,
    LcmState.SHUTDOWN,
    LcmState.SHUTDOWN_POWEROFF,
    LcmState.SHUTDOWN_UNDEPLOY,
)
"""States in which the domain is saved or shut down."""

_RESTORES = (LcmState.BOOT_MIGRATE, LcmState.BOOT_STOPPED, LcmState.BOOT_SUSPENDED)
_SAVES = (LcmState.SAVE_STOP, LcmState.SAVE_SUSPEND)
_POWEROFF_MIGRATIONS = (HistoryAction.POFF_MIGRATE, HistoryAction.POFF_HARD_MIGRATE)


class Lifecycle:
    """Each method runs the step of the VM's present LCM_STATE and what follows until nothing is left to do."""

    def __init__(self, allocator: Allocator, lines: TransferLines, scripts: ScriptRunner, vmm: Vmm) -> None:
        self._allocator = allocator
        self._lines = lines
        self._scripts = scripts
        self._vmm = vmm

    # -- prolog --------------------------------------------------------------------------------------

    def prolog(self, vm: VirtualMachine) -> None:
        state = vm.lcm_state
        outcome = self._scripts.script(vm, *self._prolog_script(vm))
        if outcome is Outcome.OVERTAKEN or vm.lcm_state is not state:
            return
        if outcome is Outcome.OK:
            self.prolog_succeeded(vm)
        else:
            vm.lcm_state = PROLOGS[state]

    def prolog_succeeded(self, vm: VirtualMachine) -> None:
        state = vm.lcm_state
        vm.record.petime = now()
        if state is LcmState.PROLOG_MIGRATE_POWEROFF:
            self._rest(vm, VmState.POWEROFF)
        elif state is LcmState.PROLOG_MIGRATE_SUSPEND:
            self._rest(vm, VmState.SUSPENDED)
        else:
            vm.record.rstime = now()
            vm.lcm_state = _boot_after(state, vm.record.action)
            self.boot(vm)

    def prolog_of_migration_given_up(self, vm: VirtualMachine) -> None:
        """Go on at the previous host as if the migration had led there; no transfer driver is called."""
        vm.record.petime = vm.record.etime = now()
        self._allocator.copy_record(vm, vm.previous).pstime = now()
        self.prolog_succeeded(vm)

    # -- boot ----------------------------------------------------------------------------------------

    def boot(self, vm: VirtualMachine) -> None:
        state = vm.lcm_state
        try:
            if state in _RESTORES:
                self._vmm.restore(vm)
            else:
                self._vmm.deploy(vm)
        except Cancelled:
            return
        except ActionFailed as exc:
            self._scripts.error(vm, str(exc))
            if vm.lcm_state is state:
                self.boot_failed(vm)
            return
        if vm.lcm_state is state:
            self.boot_succeeded(vm)

    def boot_succeeded(self, vm: VirtualMachine) -> None:
        vm.deploy_id = f"one-{vm.id}"
        vm.record.action = HistoryAction.NONE
        vm.record.etime = vm.record.retime = 0
        vm.lcm_state = LcmState.RUNNING

    def boot_failed(self, vm: VirtualMachine) -> None:
        after = BOOTS[vm.lcm_state]
        vm.record.retime = now()
        if isinstance(after, VmState):
            vm.set_state(after)
            return
        if vm.lcm_state in (LcmState.BOOT_STOPPED, LcmState.BOOT_UNDEPLOY):
            vm.record.etime = now()
        vm.lcm_state = after

    # -- save and shutdown ---------------------------------------------------------------------------

    def leave(self, vm: VirtualMachine) -> None:
        """Save or shut down, as the state and the action of the newest record want it."""
        state, action = vm.lcm_state, vm.record.action
        place = vm.previous if state is LcmState.SAVE_MIGRATE else vm.record
        saves = state in _SAVES or (state is LcmState.SAVE_MIGRATE and action not in _POWEROFF_MIGRATIONS)
        try:
            if saves:
                self._vmm.save(vm, place)
            else:
                self._vmm.shutdown(vm, place, is_hard(action))
        except ActionFailed as exc:
            self._scripts.error(vm, str(exc))
            self.not_left(vm)
            return
        self.left(vm)

    def left(self, vm: VirtualMachine) -> None:
        state = vm.lcm_state
        if state is LcmState.SAVE_MIGRATE:
            vm.previous.etime = vm.previous.retime = now()
            vm.record.pstime = now()
            vm.lcm_state = LcmState.PROLOG_MIGRATE
            self.prolog(vm)
        elif state is LcmState.SAVE_SUSPEND:
            self._rest(vm, VmState.SUSPENDED)
        elif state is LcmState.SHUTDOWN_POWEROFF:
            self._rest(vm, VmState.POWEROFF)
        else:
            vm.record.retime = now()
            after = {LcmState.SAVE_STOP: LcmState.EPILOG_STOP, LcmState.SHUTDOWN: LcmState.EPILOG}
            self.begin_epilog(vm, after.get(state, LcmState.EPILOG_UNDEPLOY))

    def not_left(self, vm: VirtualMachine) -> None:
        """The domain could not be saved or shut down: oned takes it for running."""
        if vm.lcm_state is LcmState.SAVE_MIGRATE:
            self.migration_failed(vm)
            return
        vm.record.action = HistoryAction.NONE
        vm.lcm_state = LcmState.RUNNING

    # -- live migration ------------------------------------------------------------------------------

    def migrate(self, vm: VirtualMachine) -> None:
        record = vm.record
        try:
            self._vmm.migrate(vm)
        except Cancelled:
            return
        except ActionFailed as exc:
            self._scripts.error(vm, str(exc))
            if vm.lcm_state is LcmState.MIGRATE and vm.record is record:
                self.migration_failed(vm)
            return
        if vm.lcm_state is LcmState.MIGRATE and vm.record is record:
            self.migration_succeeded(vm)

    def migration_succeeded(self, vm: VirtualMachine) -> None:
        vm.record.rstime = now()
        vm.previous.etime = vm.previous.retime = now()
        vm.lcm_state = LcmState.RUNNING

    def migration_failed(self, vm: VirtualMachine) -> None:
        """The VM is taken for running on the previous host, in a record of its own."""
        vm.record.etime = now()
        vm.previous.etime = vm.previous.retime = now()
        self._allocator.copy_record(vm, vm.previous).rstime = now()
        vm.lcm_state = LcmState.RUNNING

    # -- epilog --------------------------------------------------------------------------------------

    def begin_epilog(self, vm: VirtualMachine, state: LcmState, on_front_end: bool = False) -> None:
        vm.record.estime = now()
        vm.set_state(VmState.ACTIVE, state)
        self.epilog(vm, on_front_end)

    def epilog(self, vm: VirtualMachine, on_front_end: bool = False) -> None:
        """MVDS and DELETE, or for stop and undeploy MV to the front-end."""
        state = vm.lcm_state
        if state is LcmState.EPILOG:
            outcome = self._scripts.script(vm, "epilog", self._lines.epilog(vm, on_front_end))
        else:
            outcome = self._scripts.script(vm, "stop", self._lines.to_front_end(vm))
        if outcome is Outcome.OVERTAKEN or vm.lcm_state is not state:
            return
        if outcome is Outcome.OK:
            self.epilog_succeeded(vm)
        else:
            vm.lcm_state = EPILOGS[state]

    def epilog_succeeded(self, vm: VirtualMachine) -> None:
        vm.record.eetime = vm.record.etime = now()
        if vm.lcm_state is LcmState.EPILOG:
            self.done(vm)
        else:
            stopped = vm.lcm_state is LcmState.EPILOG_STOP
            vm.set_state(VmState.STOPPED if stopped else VmState.UNDEPLOYED)

    def done(self, vm: VirtualMachine) -> None:
        """The VM is gone and gives its images back."""
        for disk in vm.disks:
            self._allocator.release(vm, disk)
        vm.etime = now()
        vm.set_state(VmState.DONE)

    # -- parts ---------------------------------------------------------------------------------------

    def _prolog_script(self, vm: VirtualMachine) -> tuple[str, Sequence[str]]:
        if vm.lcm_state is LcmState.PROLOG:
            return "prolog", self._lines.prolog(vm)
        if vm.lcm_state in MIGRATING:
            return "migrate", self._lines.migration(vm)
        return "resume", self._lines.from_front_end(vm)

    @staticmethod
    def _rest(vm: VirtualMachine, state: VmState) -> None:
        vm.record.retime = now()
        vm.set_state(state)


def _boot_after(prolog: LcmState, action: HistoryAction) -> LcmState:
    if prolog is LcmState.PROLOG_RESUME:
        return LcmState.BOOT_STOPPED
    if prolog is LcmState.PROLOG_UNDEPLOY:
        return LcmState.BOOT_UNDEPLOY
    if prolog is LcmState.PROLOG_MIGRATE and action not in _POWEROFF_MIGRATIONS:
        return LcmState.BOOT_MIGRATE
    return LcmState.BOOT
