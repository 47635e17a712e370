# SPDX-License-Identifier: Apache-2.0
"""Which volume a disk is, and whose it is: what is taken for a VM's own is destroyed with it."""

from __future__ import annotations

import pytest

from linstor_helper import onexml, vm_disks
from linstor_helper.errors import UsageError
from linstor_helper.vm_disks import VmDisk

IMAGE = {"IMAGE_ID": "3", "SOURCE": "OpenNebula-Image-3", "TM_MAD": "linstor", "TYPE": "BLOCK"}
PERSISTENT = {**IMAGE, "CLONE": "NO"}


def vm_with(*disks: dict[str, str]) -> onexml.Vm:
    vectors = "".join(
        f"<DISK><DISK_ID>{number}</DISK_ID>{''.join(f'<{k}>{v}</{k}>' for k, v in disk.items())}</DISK>"
        for number, disk in enumerate(disks)
    )
    return onexml.parse_vm(
        f"<VM><ID>7</ID><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE>{vectors}</TEMPLATE>"
        "<HISTORY_RECORDS/></VM>".encode()
    )


def identified(**disk: str) -> VmDisk:
    return vm_disks.identify(7, vm_with(disk).disks[0])


@pytest.mark.parametrize(
    ("disk", "resource", "own", "kind"),
    [
        ({**IMAGE, "CLONE": "YES"}, "OpenNebula-Image-3-vm7-disk0", True, "exclusive"),
        (PERSISTENT, "OpenNebula-Image-3", False, "exclusive"),
        ({**PERSISTENT, "READONLY": "YES"}, "OpenNebula-Image-3", False, "read_only"),
        ({**PERSISTENT, "TYPE": "CDROM"}, "OpenNebula-Image-3", False, "read_only"),
        ({**PERSISTENT, "TYPE": "BLOCK_CDROM"}, "OpenNebula-Image-3", False, "read_only"),
        ({**PERSISTENT, "SHAREABLE": "YES"}, "OpenNebula-Image-3", False, "shareable"),
        ({**PERSISTENT, "SHAREABLE": "YES", "READONLY": "YES"}, "OpenNebula-Image-3", False, "read_only"),
        # A VM's own copy is the VM's alone, whatever is said of the image.
        ({**IMAGE, "CLONE": "YES", "SHAREABLE": "YES"}, "OpenNebula-Image-3-vm7-disk0", True, "exclusive"),
        ({**IMAGE, "CLONE": "YES", "READONLY": "YES"}, "OpenNebula-Image-3-vm7-disk0", True, "exclusive"),
        ({"TYPE": "fs", "SIZE": "8"}, "OpenNebula-Volatile-vm7-disk0", True, "exclusive"),
        ({"TYPE": "swap", "SIZE": "8", "CLONE": "NO"}, "OpenNebula-Volatile-vm7-disk0", True, "exclusive"),
    ],
)
def test_identify(disk: dict[str, str], resource: str, own: bool, kind: str) -> None:
    found = identified(**disk)
    assert (found.resource, found.own) == (resource, own)
    assert [one for one in ("exclusive", "read_only", "shareable") if getattr(found, one)] == [kind]


def test_what_is_not_said_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="disk 0 of VM 7 has no CLONE"):
        identified(**IMAGE)
    with pytest.raises(UsageError, match="is not a LINSTOR resource name"):
        identified(**{**PERSISTENT, "SOURCE": "/var/lib/one/datastores/1/abc"})


def test_disks_of_the_driver() -> None:
    """Volatile ones are the system datastore's, whoever has the others."""
    theirs = {**PERSISTENT, "TM_MAD": "ceph"}
    volatile = {"TYPE": "fs", "SIZE": "8"}
    vm = vm_with(PERSISTENT, theirs, volatile, {**volatile, "TM_MAD": "ssh"}, {**IMAGE, "CLONE": "YES"})
    assert [one.disk.id for one in vm_disks.of_driver(vm, "linstor")] == [0, 2, 3, 4]
    assert [one.disk.id for one in vm_disks.of_driver(vm, "ssh")] == [0, 4]


def test_other_drivers() -> None:
    def of(driver: str) -> dict[str, str]:
        return {**PERSISTENT, "TM_MAD": driver}

    vm = vm_with(of("ceph"), of("linstor"), of("lvm"), of("ceph"), of(""), {"TYPE": "fs", "TM_MAD": "ssh"})
    assert vm_disks.other_drivers(vm) == ["ceph", "lvm"]
    assert vm_disks.other_drivers(vm_with(PERSISTENT)) == []
