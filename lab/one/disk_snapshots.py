# SPDX-License-Identifier: Apache-2.0
"""`onevm disk-snapshot-create`, `disk-snapshot-delete` and `disk-snapshot-revert`.

Source of the facts: ``src/dm/DispatchManagerActions.cc`` and ``src/lcm/LifeCycleStates.cc``.
"""

from __future__ import annotations

from collections.abc import Collection

from lab.one import disks
from lab.one.allocation import Allocator
from lab.one.inventory import Inventory
from lab.one.model import HistoryAction, LcmState, VirtualMachine, VmState
from lab.one.operations import Stage
from lab.one.scripts import Outcome, ScriptRunner
from lab.one.snapshots import Snapshots
from lab.one.transfer import TransferLines
from lab.one.version import OneVersion
from lab.one.vmm import Vmm

_CREATE = Stage(
    "disksnapshotcreate",
    {
        VmState.ACTIVE: LcmState.DISK_SNAPSHOT,
        VmState.POWEROFF: LcmState.DISK_SNAPSHOT_POWEROFF,
        VmState.SUSPENDED: LcmState.DISK_SNAPSHOT_SUSPENDED,
    },
    "Could not create a new snapshot for VM {vm}, wrong state {state}.",
    HistoryAction.DISK_SNAPSHOT_CREATE,
)
_DELETE = Stage(
    "disksnapshotdelete",
    {
        VmState.ACTIVE: LcmState.DISK_SNAPSHOT_DELETE,
        VmState.POWEROFF: LcmState.DISK_SNAPSHOT_DELETE_POWEROFF,
        VmState.SUSPENDED: LcmState.DISK_SNAPSHOT_DELETE_SUSPENDED,
    },
    "Could not delete disk snapshot from VM {vm}, wrong state {state}.",
    HistoryAction.DISK_SNAPSHOT_DELETE,
)
_REVERT = Stage(
    "disksnapshotrevert",
    {VmState.POWEROFF: LcmState.DISK_SNAPSHOT_REVERT_POWEROFF},
    "Could not revert to disk snapshot for VM {vm}, wrong state {state}.",
    HistoryAction.DISK_SNAPSHOT_REVERT,
)
_STAGES = {state: stage for stage in (_CREATE, _DELETE, _REVERT) for state in stage.states}


class DiskSnapshots:
    """All raise OneError when oned refuses; a failed driver leaves the VM in its state, with an ERROR."""

    def __init__(
        self,
        inventory: Inventory,
        version: OneVersion,
        allocator: Allocator,
        lines: TransferLines,
        scripts: ScriptRunner,
        vmm: Vmm,
    ) -> None:
        self._inventory = inventory
        self._version = version
        self._allocator = allocator
        self._lines = lines
        self._scripts = scripts
        self._vmm = vmm

    @property
    def states(self) -> Collection[LcmState]:
        return _STAGES.keys()

    def create(self, vm: VirtualMachine, disk_id: int, name: str = "") -> int:
        """The id of the snapshot; it is written down before the driver is called, and never given again.

        A failure takes it out of the record: look there or at `vm.error` for how it ended.
        """
        disk = _CREATE.disk(vm, disk_id)
        _CREATE.check(vm)
        if disks.is_volatile(disk):
            raise _CREATE.refuse("Cannot make snapshots on volatile disks")
        if disks.is_read_only(disk):
            raise _CREATE.refuse("Cannot make snapshots on readonly disks")
        record = vm.snapshots.setdefault(disk_id, Snapshots())
        snapshot = record.add(name, int(disk["SIZE"]))
        disk["DISK_SNAPSHOT_TOTAL_SIZE"] = str(record.total_size)
        self._run(vm, disk, snapshot, _CREATE, "CREATE")
        return snapshot

    def delete(self, vm: VirtualMachine, disk_id: int, snapshot: int) -> VirtualMachine:
        """The same driver call whether the VM runs or not."""
        disk = _DELETE.disk(vm, disk_id)
        _DELETE.check(vm)
        _check_exists(_DELETE, vm, disk_id, snapshot)
        return self._run(vm, disk, snapshot, _DELETE, "DELETE")

    def revert(self, vm: VirtualMachine, disk_id: int, snapshot: int) -> VirtualMachine:
        """Of a powered-off VM only."""
        disk = _REVERT.disk(vm, disk_id)
        _REVERT.check(vm)
        _check_exists(_REVERT, vm, disk_id, snapshot)
        return self._run(vm, disk, snapshot, _REVERT, "REVERT")

    def succeeded(self, vm: VirtualMachine) -> None:
        disk, record, snapshot = _current(vm)
        stage = _STAGES[vm.lcm_state]
        if stage is _DELETE:
            self._remove(disk, record, snapshot)
        else:
            record.activate(snapshot)
        if stage is _REVERT and self._version.revert_restores_size:
            disk["SIZE"] = str(record.records[snapshot].size)
        self._end(vm, disk, record)

    def failed(self, vm: VirtualMachine) -> None:
        disk, record, snapshot = _current(vm)
        if _STAGES[vm.lcm_state] is _CREATE:
            self._remove(disk, record, snapshot)
        self._end(vm, disk, record)

    def abandoned(self, vm: VirtualMachine) -> None:
        _unmark(_current(vm)[0])

    # -- parts ---------------------------------------------------------------------------------------

    def _run(
        self, vm: VirtualMachine, disk: dict[str, str], snapshot: int, stage: Stage, step: str
    ) -> VirtualMachine:
        disk.update(DISK_SNAPSHOT_ACTIVE="YES", DISK_SNAPSHOT_ID=str(snapshot))
        running = stage.enter(vm, self._allocator)
        state = vm.lcm_state
        if running and stage is _CREATE:
            line = self._lines.snapshot(vm, disk, step, snapshot, live=True)
            outcome = self._vmm.attempt(vm, lambda: self._vmm.snapshot(vm, disk, line))
        else:
            line = self._lines.snapshot(vm, disk, step, snapshot)
            outcome = self._scripts.script(vm, "disk_snapshot", [line])
        if outcome is Outcome.OVERTAKEN or vm.lcm_state is not state:
            return vm
        if outcome is Outcome.OK:
            self.succeeded(vm)
        else:
            self.failed(vm)
        return vm

    @staticmethod
    def _remove(disk: dict[str, str], record: Snapshots, snapshot: int) -> None:
        record.remove(snapshot)
        disk["DISK_SNAPSHOT_TOTAL_SIZE"] = str(record.total_size)

    def _end(self, vm: VirtualMachine, disk: dict[str, str], record: Snapshots) -> None:
        stage = _STAGES[vm.lcm_state]
        _unmark(disk)
        if disks.writes_to_image(disk):
            image = self._inventory.images[int(disk["IMAGE_ID"])]
            image.snapshots = record.copy() if record.records else None
            if stage is _REVERT and self._version.revert_restores_size:
                image.size_mb = int(disk["SIZE"])
        stage.leave(vm)


def _check_exists(stage: Stage, vm: VirtualMachine, disk_id: int, snapshot: int) -> None:
    if disk_id not in vm.snapshots or snapshot not in vm.snapshots[disk_id].records:
        raise stage.refuse("Snapshot does not exist")


def _current(vm: VirtualMachine) -> tuple[dict[str, str], Snapshots, int]:
    """Disk, record and id of the snapshot that an operation is about."""
    disk = next(one for one in vm.disks if "DISK_SNAPSHOT_ACTIVE" in one)
    return disk, vm.snapshots[int(disk["DISK_ID"])], int(disk["DISK_SNAPSHOT_ID"])


def _unmark(disk: dict[str, str]) -> None:
    del disk["DISK_SNAPSHOT_ACTIVE"], disk["DISK_SNAPSHOT_ID"]
