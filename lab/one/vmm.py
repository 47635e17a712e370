# SPDX-License-Identifier: Apache-2.0
"""Actions of the hypervisor driver (one_vmm_exec): steps of transfer drivers and of the hypervisor in one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lab.one import disks, documents, messages
from lab.one.calls import Call
from lab.one.hypervisor import Hypervisor, HypervisorError
from lab.one.inventory import Inventory
from lab.one.model import HistoryAction, HistoryRecord, VirtualMachine
from lab.one.scripts import Outcome, ScriptRunner
from lab.one.transfer import TransferLines
from lab.one.version import OneVersion


class ActionFailed(Exception):
    """An action failed; the text is the ERROR that the VM gets."""


class Cancelled(Exception):
    """The VM was deleted or recreated meanwhile: the remaining steps are not done."""


class Vmm:
    """All actions raise ActionFailed, and Cancelled when a step of a transfer driver outlived the VM.

    Context, directory and domain are those of the VM's newest record.
    """

    def __init__(
        self,
        inventory: Inventory,
        version: OneVersion,
        lines: TransferLines,
        hypervisor: Hypervisor,
        scripts: ScriptRunner,
    ) -> None:
        self._inventory = inventory
        self._version = version
        self._lines = lines
        self._hypervisor = hypervisor
        self._scripts = scripts

    def deploy(self, vm: VirtualMachine) -> None:
        """Context, directory and domain."""
        self._context(vm, "DEPLOY")
        files = {}
        if self._version.keeps_documents_with_the_vm:
            system = self._inventory.datastores[vm.record.ds_id]
            files["vm.xml"] = documents.virtual_machine(vm, self._version)
            files["ds.xml"] = documents.datastore(system, self._version)
        self._do("DEPLOY", self._hypervisor.prepare, vm.host, self._lines.directory(vm), files)
        self._do("DEPLOY", self._hypervisor.deploy, vm.id, vm.host, self._disks(vm))

    def restore(self, vm: VirtualMachine) -> None:
        """Context, then the domain from the checkpoint in the VM's directory."""
        self._context(vm, "RESTORE")
        directory = self._lines.directory(vm)
        self._do("RESTORE", self._hypervisor.restore, vm.id, vm.host, directory, self._disks(vm))

    def save(self, vm: VirtualMachine, record: HistoryRecord) -> None:
        """Save where the VM is, which is not the newest record's place while it migrates."""
        directory = self._lines.directory(vm, record)
        self._do("SAVE", self._hypervisor.save, vm.id, record.host, directory)

    def shutdown(self, vm: VirtualMachine, record: HistoryRecord, hard: bool) -> None:
        if hard:
            self._do("CANCEL", self._hypervisor.cancel, vm.id, record.host)
        else:
            self._do("SHUTDOWN", self._hypervisor.shutdown, vm.id, record.host)

    def migrate(self, vm: VirtualMachine) -> None:
        """PREMIGRATE, the migration itself, POSTMIGRATE, whose failure nobody hears of; or FAILMIGRATE."""
        source, target = vm.previous, vm.record
        takes_files = self._version.live_migration_takes_files_along
        shared = self._inventory.datastores[source.ds_id].shared or not takes_files
        lines = {hook: self._lines.live_migration(vm, hook) for hook in ("PRE", "POST", "FAIL")}
        document = documents.driver_virtual_machine(vm, self._version)
        call = self._step(vm, lines["PRE"], document)
        if not call.ok:
            if self._version.failed_premigrate_is_undone:
                self._step(vm, lines["FAIL"], document)
            raise _failed("MIGRATE", call)
        try:
            self._hypervisor.migrate(
                vm.id,
                source.host,
                target.host,
                self._lines.directory(vm, source),
                self._lines.directory(vm, target),
                shared,
            )
        except HypervisorError as exc:
            self._step(vm, lines["FAIL"], document)
            raise ActionFailed(_virsh("MIGRATE", exc)) from exc
        self._step(vm, lines["POST"], document)

    def attach(self, vm: VirtualMachine, disk: dict[str, str], line: str) -> None:
        """The transfer line, then the domain; when the domain refuses, the disk is removed again."""
        call = self._step(vm, line)
        if not call.ok:
            raise _failed("ATTACHDISK", call)
        path = self._lines.disk_path(vm, disk)
        try:
            self._hypervisor.attach(vm.id, vm.host, path, disks.is_read_only(disk))
        except HypervisorError as exc:
            self._step(vm, self._lines.remove(vm, disk))
            raise ActionFailed(_virsh("ATTACHDISK", exc)) from exc

    def detach(self, vm: VirtualMachine, disk: dict[str, str]) -> None:
        """The domain lets the disk go, then the transfer line."""
        self._do("DETACHDISK", self._hypervisor.detach, vm.id, vm.host, int(disk["DISK_ID"]))
        call = self._step(vm, self._lines.remove(vm, disk))
        if not call.ok:
            raise _failed("DETACHDISK", call)

    def snapshot(self, vm: VirtualMachine, disk: dict[str, str], line: str) -> None:
        """The transfer line, when the transfer driver of the disk is listed in LIVE_DISK_SNAPSHOTS."""
        listed = self._scripts.vmm_environment["LIVE_DISK_SNAPSHOTS"].split()
        if f"kvm-{disk['TM_MAD']}" not in listed:
            name = "DISKSNAPSHOTCREATE"
            raise ActionFailed(f"{name}: Cannot perform a live {name} operation")
        call = self._step(vm, line)
        if not call.ok:
            raise _failed("DISKSNAPSHOTCREATE", call)

    def resize(self, vm: VirtualMachine, disk: dict[str, str], line: str) -> None:
        """The transfer line, then the domain."""
        call = self._step(vm, line)
        if not call.ok:
            raise _failed("RESIZEDISK", call)
        disk_id, size = int(disk["DISK_ID"]), int(disk["SIZE"])
        self._do("RESIZEDISK", self._hypervisor.resize, vm.id, vm.host, disk_id, size, disk["DRIVER"])

    def attempt(self, vm: VirtualMachine, action: Callable[[], None]) -> Outcome:
        """Run an action, and write its failure into the VM."""
        try:
            action()
        except Cancelled:
            return Outcome.OVERTAKEN
        except ActionFailed as exc:
            self._scripts.error(vm, str(exc))
            return Outcome.FAILED
        return Outcome.OK

    def cleanup(self, vm: VirtualMachine, records: Iterable[HistoryRecord], lines: Iterable[str]) -> None:
        """Power the VM off wherever it may run, then the lines; whatever fails, the rest is done."""
        for record in records:
            try:
                self._hypervisor.cancel(vm.id, record.host)
            except HypervisorError:
                continue
        for line in lines:
            self._scripts.step(line)

    def is_running(self, vm: VirtualMachine) -> bool:
        """What the monitoring of the VM's host sees."""
        return self._hypervisor.is_running(vm.id, vm.host)

    def _context(self, vm: VirtualMachine, action: str) -> None:
        if vm.context is None:
            return
        script = self._scripts.directory(vm) / "context.sh"
        script.write_text("".join(f"{k}={_quoted(v)}\n" for k, v in sorted(vm.context.items())))
        call = self._step(vm, self._lines.context(vm, [str(script)]))
        if not call.ok:
            raise _failed(action, call)

    def _step(self, vm: VirtualMachine, line: str, document: str = "") -> Call:
        turn = vm.transfers
        call = self._scripts.step(line, document)
        if vm.transfers != turn:
            raise Cancelled
        return call

    def _disks(self, vm: VirtualMachine) -> dict[str, bool]:
        paths = {self._lines.disk_path(vm, disk): disks.is_read_only(disk) for disk in vm.disks}
        if vm.context is not None:
            paths[self._lines.disk_path(vm, vm.context)] = True
        return paths

    def _do(self, name: str, action: Callable[..., object], *arguments: Any) -> None:
        try:
            action(*arguments)
        except HypervisorError as exc:
            raise ActionFailed(_virsh(name, exc)) from exc


def is_hard(action: HistoryAction) -> bool:
    """Whether the user's action cuts the power instead of asking the guest to shut down."""
    return action in (
        HistoryAction.TERMINATE_HARD,
        HistoryAction.POWEROFF_HARD,
        HistoryAction.UNDEPLOY_HARD,
        HistoryAction.POFF_HARD_MIGRATE,
    )


def _failed(action: str, call: Call) -> ActionFailed:
    return ActionFailed(messages.with_reason(action, call.user_error))


def _virsh(action: str, exc: HypervisorError) -> str:
    return f"{action}: {exc}ExitCode: 1"


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "'\\''") + "'"
