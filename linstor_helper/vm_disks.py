# SPDX-License-Identifier: Apache-2.0
"""Which LINSTOR volume a disk of a VM is, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from linstor_helper import names
from linstor_helper.errors import UsageError
from linstor_helper.lifecycle import DRIVER
from linstor_helper.onexml import Disk, Vm


class VmDisk(NamedTuple):
    """A disk of a VM that is a LINSTOR volume."""

    disk: Disk
    resource: str
    own: bool
    """Made for this VM (a copy of an image, volatile): it goes with the VM.  Otherwise it is the image itself."""

    @property
    def read_only(self) -> bool:
        """A CD-ROM or an IMMUTABLE image: any number of VMs on any number of hosts may read it."""
        return not self.own and (self.disk.readonly or self.disk.is_cdrom)

    @property
    def shareable(self) -> bool:
        """An image that several VMs write to at the same time."""
        return not self.own and self.disk.shareable and not self.read_only

    @property
    def exclusive(self) -> bool:
        """No other VM can have it at the same time."""
        return not (self.read_only or self.shareable)

    def datastore_id(self, system: int) -> int:
        """The datastore to which the volume belongs: that of its image, or the VM's ``system`` datastore."""
        store = self.disk.datastore_id
        return system if store is None or self.disk.volatile else store


def identify(vm_id: int, disk: Disk) -> VmDisk:
    """Raises UsageError when the XML does not tell: guessing could destroy an image."""
    if disk.volatile:
        return VmDisk(disk, names.volatile(vm_id, disk.id), True)
    if disk.clone is None:
        raise UsageError(f"disk {disk.id} of VM {vm_id} has no CLONE; whether it is an image is unknown")
    if disk.clone:
        return VmDisk(disk, names.vm_disk(disk.source, vm_id, disk.id), True)
    return VmDisk(disk, names.require_valid(disk.source), False)


def of_driver(vm: Vm, system_tm: str) -> list[VmDisk]:
    """The VM's disks that are ours; volatile ones belong to the system datastore's driver ``system_tm``.

    OpenNebula before 7.4 names no TM_MAD in a volatile disk.
    """
    return [
        identify(vm.id, disk) for disk in vm.disks if (system_tm if disk.volatile else disk.tm_mad) == DRIVER
    ]


def other_drivers(vm: Vm) -> Sequence[str]:
    """The other transfer drivers that have disks of the VM, each once, in the order of the disks."""
    found = (disk.tm_mad for disk in vm.disks if not disk.volatile)
    return list(dict.fromkeys(name for name in found if name not in ("", DRIVER)))
