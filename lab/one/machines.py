# SPDX-License-Identifier: Apache-2.0
"""Virtual machines: what oned calls for the `onevm` commands, in which states, and what failures lead to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lab.one import disks, documents, messages
from lab.one.allocation import Allocator, now
from lab.one.calls import Executor
from lab.one.disks import DiskTemplate
from lab.one.errors import OneError
from lab.one.hypervisor import Hypervisor, HypervisorError
from lab.one.model import HistoryAction, Inventory, LcmState, VirtualMachine, VmState
from lab.one.scripts import ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.version import OneVersion


class MachineManager:
    """Life cycle of VMs. Calls that fail leave the VM in the state that oned would leave it in."""

    def __init__(
        self,
        inventory: Inventory,
        executor: Executor,
        remotes: Path,
        version: OneVersion,
        lines: TransferLines,
        hypervisor: Hypervisor,
        vms_location: Path,
    ) -> None:
        self._inventory = inventory
        self._version = version
        self._lines = lines
        self._hypervisor = hypervisor
        self._allocator = Allocator(inventory)
        self._scripts = ScriptRunner(executor, remotes, version, vms_location)

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

    def prepare(self, vm: VirtualMachine, host: str, datastore: int) -> VirtualMachine:
        """Put the VM into PROLOG on a host and go no further.

        Raises OneError for datastores that do not go together.
        """
        system = self._inventory.datastores[datastore]
        self._allocator.enter(vm, system)
        self._allocator.first_record(vm, host, system)
        vm.tm_mad_system = system.tm_mad
        vm.set_state(VmState.ACTIVE, LcmState.PROLOG)
        return vm

    def deploy(self, vm: VirtualMachine, host: str, datastore: int) -> VirtualMachine:
        """`onevm deploy`: prolog, context, boot. Raises OneError like `prepare`."""
        return self._prolog(self.prepare(vm, host, datastore))

    def poweroff(self, vm: VirtualMachine, hard: bool = False) -> VirtualMachine:
        """`onevm poweroff`: only the hypervisor is called."""
        _require(vm, "poweroff", VmState.ACTIVE, LcmState.RUNNING)
        vm.lcm_state = LcmState.SHUTDOWN_POWEROFF
        vm.record.action = HistoryAction.POWEROFF_HARD if hard else HistoryAction.POWEROFF
        self._hypervisor.cancel(vm.id)
        vm.record.retime = vm.record.etime = now()
        vm.set_state(VmState.POWEROFF)
        return vm

    def resume(self, vm: VirtualMachine) -> VirtualMachine:
        """`onevm resume` of a powered-off VM on the same host: context, then boot."""
        _require(vm, "resume", VmState.POWEROFF)
        self._allocator.next_record(vm, None)
        vm.record.action, vm.record.retime = HistoryAction.RESUME, 0
        vm.set_state(VmState.ACTIVE, LcmState.BOOT_POWEROFF)
        return self._boot(vm)

    def terminate(self, vm: VirtualMachine, hard: bool = False) -> VirtualMachine:
        """`onevm terminate`: shut down, then MVDS or DELETE of each disk and DELETE of the directory."""
        running = (VmState.ACTIVE, LcmState.RUNNING)
        if (vm.state, vm.lcm_state) != running and vm.state not in (VmState.POWEROFF, VmState.PENDING):
            raise OneError(f'[one.vm.action] Wrong state to perform action "terminate" ({vm.lcm_state.name})')
        if vm.state is VmState.PENDING:
            return self._done(vm)
        if vm.state is VmState.ACTIVE:
            vm.lcm_state = LcmState.SHUTDOWN
            self._hypervisor.cancel(vm.id)
        vm.record.action = HistoryAction.TERMINATE_HARD if hard else HistoryAction.TERMINATE
        vm.record.retime = vm.record.retime or now()
        vm.record.estime = now()
        return self._epilog(vm)

    def attach(self, vm: VirtualMachine, template: DiskTemplate) -> VirtualMachine:
        """`onevm disk-attach`, running or powered off; a failure takes the disk out of the VM again."""
        live = _live_or_poweroff(vm, "diskattach")
        system = self._inventory.datastores[vm.record.ds_id]
        disk = self._allocator.new_disk(vm, {**template, "DISK_ID": str(vm.free_disk_id())}, system)
        disk.update(ATTACH="YES", TM_MAD_SYSTEM=system.tm_mad)
        vm.disks.append(disk)
        self._allocator.next_record(vm, HistoryAction.DISK_ATTACH if live else None)
        if live:
            vm.lcm_state = LcmState.HOTPLUG
        else:
            vm.set_state(VmState.ACTIVE, LcmState.HOTPLUG_PROLOG_POWEROFF)
        line = self._lines.create(vm, disk)
        ok = self._attach_live(vm, disk, line) if live else self._scripts.script(vm, "prolog_attach", [line])
        if ok:
            del disk["ATTACH"]
        else:
            vm.disks.remove(disk)
            self._allocator.release(vm, disk)
        return self._back_from_hotplug(vm, live)

    def detach(self, vm: VirtualMachine, disk_id: int) -> VirtualMachine:
        """`onevm disk-detach`; when the driver fails the disk stays in the VM, although the guest let go."""
        live = _live_or_poweroff(vm, "diskdetach")
        try:
            disk = vm.disk(disk_id)
        except KeyError as exc:
            raise OneError(f"[one.vm.detach] {exc.args[0]}") from exc
        disk["ATTACH"] = "YES"
        line = self._lines.remove(vm, disk)
        self._allocator.next_record(vm, HistoryAction.DISK_DETACH if live else None)
        if live:
            vm.lcm_state = LcmState.HOTPLUG
            self._hypervisor.detach(vm.id, disk_id)
            call = self._scripts.step(line)
            ok = call.ok
            if not ok:
                self._scripts.error(vm, messages.with_reason("DETACHDISK", call.user_error))
        else:
            vm.set_state(VmState.ACTIVE, LcmState.HOTPLUG_EPILOG_POWEROFF)
            ok = self._scripts.script(vm, "epilog_detach", [line])
        if ok:
            vm.disks.remove(disk)
            self._allocator.release(vm, disk)
        else:
            del disk["ATTACH"]
        return self._back_from_hotplug(vm, live)

    def recover_retry(self, vm: VirtualMachine) -> VirtualMachine:
        """`onevm recover --retry`: the whole prolog, boot or epilog again."""
        if vm.lcm_state in (LcmState.PROLOG, LcmState.PROLOG_FAILURE):
            return self._prolog(vm)
        if vm.lcm_state in (LcmState.BOOT, LcmState.BOOT_FAILURE):
            vm.lcm_state = LcmState.BOOT
            return self._boot(vm)
        if vm.lcm_state in (LcmState.EPILOG, LcmState.EPILOG_FAILURE):
            return self._epilog(vm)
        raise OneError(f"[one.vm.recover] Recover retry is not available for state {vm.lcm_state.name}")

    def recover_delete(self, vm: VirtualMachine) -> VirtualMachine:
        """`onevm recover --delete`: the VM is DONE at once, DELETE of everything follows."""
        running = self._cleanup_runs_live(vm)
        vm.record.action = HistoryAction.DELETE
        vm.set_state(VmState.DONE)
        self._cleanup(vm, running)
        return self._done(vm)

    def recover_recreate(self, vm: VirtualMachine) -> VirtualMachine:
        """`onevm recover --recreate`: DELETE of everything, then PENDING; deploy it again to go on."""
        running = self._cleanup_runs_live(vm)
        vm.record.action = HistoryAction.DELETE_RECREATE
        vm.set_state(VmState.ACTIVE, LcmState.CLEANUP_RESUBMIT)
        self._cleanup(vm, running)
        vm.deploy_id = ""
        vm.record.etime = now()
        vm.set_state(VmState.PENDING)
        return vm

    # -- steps ---------------------------------------------------------------------------------------

    def _prolog(self, vm: VirtualMachine) -> VirtualMachine:
        vm.set_state(VmState.ACTIVE, LcmState.PROLOG)
        if not self._scripts.script(vm, "prolog", self._lines.prolog(vm)):
            if vm.lcm_state is LcmState.PROLOG:
                vm.lcm_state = LcmState.PROLOG_FAILURE
            return vm
        vm.lcm_state = LcmState.BOOT
        vm.record.petime = vm.record.rstime = now()
        return self._boot(vm)

    def _boot(self, vm: VirtualMachine) -> VirtualMachine:
        resuming = vm.lcm_state is LcmState.BOOT_POWEROFF
        error = self._start_guest(vm)
        if error is None:
            vm.deploy_id = f"one-{vm.id}"
            vm.lcm_state = LcmState.RUNNING
            return vm
        self._scripts.error(vm, error)
        if resuming:
            vm.set_state(VmState.POWEROFF)
        else:
            vm.lcm_state = LcmState.BOOT_FAILURE
        return vm

    def _start_guest(self, vm: VirtualMachine) -> str | None:
        """Context, directory and domain; the error message of the first step that failed."""
        directory = self._lines.directory(vm)
        if vm.context is not None:
            script = self._scripts.directory(vm) / "context.sh"
            script.write_text("".join(f"{k}={_quoted(v)}\n" for k, v in sorted(vm.context.items())))
            call = self._scripts.step(self._lines.context(vm, [str(script)]))
            if not call.ok:
                return messages.with_reason("DEPLOY", call.user_error)
        system = self._inventory.datastores[vm.record.ds_id]
        files = {
            "vm.xml": documents.virtual_machine(vm, self._version),
            "ds.xml": documents.datastore(system, self._version),
        }
        try:
            self._hypervisor.prepare(vm.host, directory, files)
            self._hypervisor.deploy(
                vm.id, vm.host, {self._lines.disk_path(vm, disk): disk for disk in vm.disks}
            )
        except HypervisorError as exc:
            return f"DEPLOY: {exc}ExitCode: 255"
        return None

    def _epilog(self, vm: VirtualMachine) -> VirtualMachine:
        vm.set_state(VmState.ACTIVE, LcmState.EPILOG)
        if not self._scripts.script(vm, "epilog", self._lines.epilog(vm)):
            vm.lcm_state = LcmState.EPILOG_FAILURE
            return vm
        vm.record.eetime = now()
        return self._done(vm)

    def _cleanup_runs_live(self, vm: VirtualMachine) -> bool:
        """True when the hypervisor driver cleans up (it ignores errors), False for a transfer script."""
        if not vm.history:
            raise OneError("[one.vm.recover] the VM was never deployed")
        live = (LcmState.BOOT, LcmState.BOOT_FAILURE, LcmState.RUNNING, LcmState.HOTPLUG)
        return vm.state is VmState.POWEROFF or vm.lcm_state in live

    def _cleanup(self, vm: VirtualMachine, running: bool) -> None:
        vm.transfers += 1
        if not running:
            vm.record.petime = vm.record.petime or now()
            self._scripts.script(vm, "delete", self._lines.cleanup(vm), report=False)
            return
        self._hypervisor.cancel(vm.id)
        vm.record.retime = now()
        for line in self._lines.cleanup(vm):
            self._scripts.step(line)

    def _attach_live(self, vm: VirtualMachine, disk: dict[str, str], line: str) -> bool:
        call = self._scripts.step(line)
        if not call.ok:
            self._scripts.error(vm, messages.with_reason("ATTACHDISK", call.user_error))
            return False
        try:
            self._hypervisor.attach(vm.id, vm.host, self._lines.disk_path(vm, disk), disk)
        except HypervisorError as exc:
            self._scripts.error(vm, f"ATTACHDISK: {exc}ExitCode: 255")
            self._scripts.step(self._lines.remove(vm, disk))
            return False
        return True

    def _back_from_hotplug(self, vm: VirtualMachine, live: bool) -> VirtualMachine:
        if live:
            vm.lcm_state = LcmState.RUNNING
        else:
            vm.set_state(VmState.POWEROFF)
        return vm

    def _done(self, vm: VirtualMachine) -> VirtualMachine:
        for disk in vm.disks:
            self._allocator.release(vm, disk)
        vm.etime = now()
        vm.set_state(VmState.DONE)
        return vm


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"


def _require(vm: VirtualMachine, action: str, state: VmState, lcm: LcmState = LcmState.LCM_INIT) -> None:
    if (vm.state, vm.lcm_state) != (state, lcm):
        raise OneError(
            f'[one.vm.action] Wrong state to perform action "{action}": {vm.state.name} {vm.lcm_state.name}'
        )


def _live_or_poweroff(vm: VirtualMachine, action: str) -> bool:
    """True for a running VM, False for a powered-off one; raises OneError otherwise."""
    if vm.state is VmState.POWEROFF:
        return False
    _require(vm, action, VmState.ACTIVE, LcmState.RUNNING)
    return True
