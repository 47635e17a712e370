# SPDX-License-Identifier: Apache-2.0
"""Lines of the transfer scripts that oned writes: who is called with which arguments, in which order.

A line is ``ACTION[.SYSTEM_TM] TM argument...``; the reader splits it on blanks.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.one.disks import is_volatile
from lab.one.errors import OneError
from lab.one.model import HistoryRecord, VirtualMachine


class TransferLines:
    """Writes lines for the VMs of one cloud.

    `front_end` is the name of the front-end as oned knows it, `datastores` the datastore location
    with the double slash that oned prints (``/var/lib/one//datastores``). A `record` is the stay of the VM
    that a line is about, the newest one unless another is named.
    """

    def __init__(self, front_end: str, datastores: str) -> None:
        self._front_end = front_end
        self._datastores = datastores

    def directory(self, vm: VirtualMachine, record: HistoryRecord | None = None) -> str:
        """The VM's directory in its system datastore."""
        return f"{self._datastores}/{(record or vm.record).ds_id}/{vm.id}"

    def disk_path(
        self, vm: VirtualMachine, disk: Mapping[str, str], record: HistoryRecord | None = None
    ) -> str:
        return f"{self.directory(vm, record)}/disk.{disk['DISK_ID']}"

    def create(self, vm: VirtualMachine, disk: Mapping[str, str]) -> str:
        """CLONE, LN, MKIMAGE or MKSWAP of one disk. Raises OneError for an image without a SOURCE."""
        where = f"{vm.host}:{self.disk_path(vm, disk)}"
        if is_volatile(disk):
            tail = f"{where} {vm.id} {vm.record.ds_id}"
            if disk["TYPE"] == "swap":
                return f"MKSWAP {vm.record.tm_mad} {disk['SIZE']} {tail}"
            return f"MKIMAGE {vm.record.tm_mad} {disk['SIZE']} {disk['FORMAT']} {tail}"
        source = disk["SOURCE"]
        if not source:
            raise OneError(f"image {disk['IMAGE_ID']} has no SOURCE")
        if ":" not in source:
            source = f"{self._front_end}:{source}"
        action = _with_suffix("CLONE" if disk["CLONE"] == "YES" else "LN", disk)
        return f"{action} {disk['TM_MAD']} {source} {where} {vm.id} {disk['DATASTORE_ID']}"

    def remove(self, vm: VirtualMachine, disk: Mapping[str, str], host: str | None = None) -> str:
        """MVDS for a disk that is saved, else DELETE; on the VM's host unless another is named."""
        if disk.get("SAVE") != "YES":
            return self._delete(vm, disk, host or vm.host, vm.record)
        where = f"{host or vm.host}:{self.disk_path(vm, disk)}"
        action = _with_suffix("MVDS", disk)
        return f"{action} {disk['TM_MAD']} {where} {disk['SOURCE']} {vm.id} {disk['DATASTORE_ID']}"

    def delete(self, vm: VirtualMachine, disk: Mapping[str, str]) -> str:
        return self._delete(vm, disk, vm.host, vm.record)

    def delete_directory(self, vm: VirtualMachine) -> str:
        return self._delete_directory(vm, vm.host, vm.record)

    def prolog(self, vm: VirtualMachine) -> list[str]:
        return [self.create(vm, disk) for disk in vm.disks]

    def epilog(self, vm: VirtualMachine, on_front_end: bool = False) -> list[str]:
        """The end of a VM, on its host or, when it is stopped or undeployed, on the front-end."""
        host = self._front_end if on_front_end else vm.host
        removals = [self.remove(vm, disk, host) for disk in vm.disks]
        return [*removals, self._delete_directory(vm, host, vm.record)]

    def cleanup(self, vm: VirtualMachine, record: HistoryRecord | None = None) -> list[str]:
        """What delete and recreate send: DELETE for every disk, persistent and CDROM ones too."""
        stay = record or vm.record
        deletions = [self._delete(vm, disk, stay.host, stay) for disk in vm.disks]
        return [*deletions, self._delete_directory(vm, stay.host, stay)]

    def migration(self, vm: VirtualMachine) -> list[str]:
        """MV of all disks and of the directory from the previous host to the new one."""
        return self._moves(vm, vm.previous.host, vm.previous, vm.host)

    def to_front_end(self, vm: VirtualMachine) -> list[str]:
        """What stop and undeploy move."""
        return self._moves(vm, vm.host, vm.record, self._front_end)

    def from_front_end(self, vm: VirtualMachine) -> list[str]:
        """What a stopped or undeployed VM gets on its new host, perhaps in another system datastore."""
        return self._moves(vm, self._front_end, vm.previous, vm.host)

    def live_migration(self, vm: VirtualMachine, hook: str) -> str:
        """The step ``PRE``, ``POST`` or ``FAIL`` of a live migration."""
        stay = vm.record
        hosts = f"{vm.previous.host} {stay.host}"
        return f"{hook}MIGRATE {stay.tm_mad} {hosts} {self.directory(vm)} {vm.id} {stay.ds_id}"

    def snapshot(
        self, vm: VirtualMachine, disk: Mapping[str, str], step: str, snapshot: int, live: bool = False
    ) -> str:
        """SNAP_CREATE, SNAP_DELETE or SNAP_REVERT (`step` without ``SNAP_``) of one disk."""
        action = _with_suffix(f"SNAP_{step}_LIVE" if live else f"SNAP_{step}", disk)
        where = f"{vm.host}:{self.disk_path(vm, disk)}"
        return f"{action} {disk['TM_MAD']} {where} {snapshot} {vm.id} {disk['DATASTORE_ID']}"

    def resize(self, vm: VirtualMachine, disk: Mapping[str, str]) -> str:
        """RESIZE to the SIZE that the disk has; on the VM's last host also when it is undeployed."""
        tm, datastore = _owner(disk, vm.record)
        where = f"{vm.host}:{self.disk_path(vm, disk)}"
        return f"{_with_suffix('RESIZE', disk)} {tm} {where} {disk['SIZE']} {vm.id} {datastore}"

    def save_as(
        self,
        vm: VirtualMachine,
        disk: Mapping[str, str],
        target: str,
        snapshot: int,
        on_front_end: bool = False,
    ) -> str:
        """CPDS of a disk, or with a `snapshot` other than -1 of that, to the SOURCE of an image."""
        where = f"{self._front_end if on_front_end else vm.host}:{self.disk_path(vm, disk)}"
        tail = f"{target} {snapshot} {vm.id} {disk['DATASTORE_ID']}"
        return f"{_with_suffix('CPDS', disk)} {disk['TM_MAD']} {where} {tail}"

    def context(self, vm: VirtualMachine, files: list[str]) -> str:
        """CONTEXT with the files to put on the ISO (``path`` or ``path:'name'``)."""
        assert vm.context is not None
        where = f"{vm.host}:{self.disk_path(vm, vm.context)}"
        return f"CONTEXT {vm.record.tm_mad} {' '.join(files)} {where} {vm.id} {vm.record.ds_id}"

    def _moves(
        self, vm: VirtualMachine, source_host: str, source: HistoryRecord, target_host: str
    ) -> list[str]:
        lines = []
        for disk in vm.disks:
            tm, datastore = _owner(disk, vm.record)
            old = f"{source_host}:{self.disk_path(vm, disk, source)}"
            new = f"{target_host}:{self.disk_path(vm, disk)}"
            lines.append(f"{_with_suffix('MV', disk)} {tm} {old} {new} {vm.id} {datastore}")
        old = f"{source_host}:{self.directory(vm, source)}"
        new = f"{target_host}:{self.directory(vm)}"
        return [*lines, f"MV {vm.record.tm_mad} {old} {new} {vm.id} {vm.record.ds_id}"]

    def _delete(self, vm: VirtualMachine, disk: Mapping[str, str], host: str, stay: HistoryRecord) -> str:
        tm, datastore = _owner(disk, stay)
        where = f"{host}:{self.disk_path(vm, disk, stay)}"
        return f"{_with_suffix('DELETE', disk)} {tm} {where} {vm.id} {datastore}"

    def _delete_directory(self, vm: VirtualMachine, host: str, stay: HistoryRecord) -> str:
        return f"DELETE {stay.tm_mad} {host}:{self.directory(vm, stay)} {vm.id} {stay.ds_id}"


def _owner(disk: Mapping[str, str], stay: HistoryRecord) -> tuple[str, str]:
    """Transfer driver and datastore of a disk: the system datastore's for a volatile one."""
    if is_volatile(disk):
        return stay.tm_mad, str(stay.ds_id)
    return disk["TM_MAD"], disk["DATASTORE_ID"]


def _with_suffix(action: str, disk: Mapping[str, str]) -> str:
    system = disk.get("TM_MAD_SYSTEM")
    return f"{action}.{system}" if system else action
