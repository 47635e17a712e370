# SPDX-License-Identifier: Apache-2.0
"""Lines of the transfer scripts that oned writes: who is called with which arguments, in which order.

A line is ``ACTION[.SYSTEM_TM] TM argument...``; the reader splits it on blanks.
"""

from __future__ import annotations

from collections.abc import Mapping

from lab.one.disks import is_volatile
from lab.one.errors import OneError
from lab.one.model import VirtualMachine


class TransferLines:
    """Writes lines for the VMs of one cloud.

    `front_end` is the name of the front-end as oned knows it, `datastores` the datastore location
    with the double slash that oned prints (``/var/lib/one//datastores``).
    """

    def __init__(self, front_end: str, datastores: str) -> None:
        self._front_end = front_end
        self._datastores = datastores

    def directory(self, vm: VirtualMachine) -> str:
        """The VM's directory in the system datastore of its newest record."""
        return f"{self._datastores}/{vm.record.ds_id}/{vm.id}"

    def disk_path(self, vm: VirtualMachine, disk: Mapping[str, str]) -> str:
        return f"{self.directory(vm)}/disk.{disk['DISK_ID']}"

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

    def remove(self, vm: VirtualMachine, disk: Mapping[str, str]) -> str:
        """MVDS for a disk that is saved, else DELETE."""
        if disk.get("SAVE") != "YES":
            return self.delete(vm, disk)
        where = f"{vm.host}:{self.disk_path(vm, disk)}"
        action = _with_suffix("MVDS", disk)
        return f"{action} {disk['TM_MAD']} {where} {disk['SOURCE']} {vm.id} {disk['DATASTORE_ID']}"

    def delete(self, vm: VirtualMachine, disk: Mapping[str, str]) -> str:
        where = f"{vm.host}:{self.disk_path(vm, disk)}"
        if is_volatile(disk):
            action = _with_suffix("DELETE", disk)
            return f"{action} {vm.record.tm_mad} {where} {vm.id} {vm.record.ds_id}"
        return f"{_with_suffix('DELETE', disk)} {disk['TM_MAD']} {where} {vm.id} {disk['DATASTORE_ID']}"

    def delete_directory(self, vm: VirtualMachine) -> str:
        return f"DELETE {vm.record.tm_mad} {vm.host}:{self.directory(vm)} {vm.id} {vm.record.ds_id}"

    def prolog(self, vm: VirtualMachine) -> list[str]:
        return [self.create(vm, disk) for disk in vm.disks]

    def epilog(self, vm: VirtualMachine) -> list[str]:
        return [*(self.remove(vm, disk) for disk in vm.disks), self.delete_directory(vm)]

    def cleanup(self, vm: VirtualMachine) -> list[str]:
        """What delete and recreate send: DELETE for every disk, persistent and CDROM ones too."""
        return [*(self.delete(vm, disk) for disk in vm.disks), self.delete_directory(vm)]

    def context(self, vm: VirtualMachine, files: list[str]) -> str:
        """CONTEXT with the files to put on the ISO (``path`` or ``path:'name'``)."""
        assert vm.context is not None
        where = f"{vm.host}:{self.directory(vm)}/disk.{vm.context['DISK_ID']}"
        return f"CONTEXT {vm.record.tm_mad} {' '.join(files)} {where} {vm.id} {vm.record.ds_id}"


def _with_suffix(action: str, disk: Mapping[str, str]) -> str:
    system = disk.get("TM_MAD_SYSTEM")
    return f"{action}.{system}" if system else action
