# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/delete``: removes a disk of a VM, or at the end the VM's directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import detaching, names
from linstor_helper.call import DiskCall, expect, read_disk_call
from linstor_helper.errors import UsageError

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """OpenNebula sends it for images, too, when it cleans up: only what belongs to the VM alone is destroyed."""
    call = read_disk_call(expect(args, "HOST:PATH VM DATASTORE"))
    if call.location.is_disk:
        _delete_disk(context, call)
    else:
        storage = context.storage_of(call.datastore_id)
        detaching.remove_vm_directory(storage, call.location, call.vm_id, warn=context.log.warning)
    return ""


def _delete_disk(context: Context, call: DiskCall) -> None:
    disk = context.vm(call.vm_id).disk(call.location.disk_id)
    storage = context.storage_of(call.datastore_id)
    if not disk.volatile and disk.clone is None:
        raise UsageError(f"disk {disk.id} of VM {call.vm_id} has no CLONE; whether it is an image is unknown")
    if disk.clone is False and not disk.volatile:
        resource, destroy = names.require_valid(disk.source), False
    else:
        resource = (
            names.volatile(call.vm_id, disk.id)
            if disk.volatile
            else names.vm_disk(disk.source, call.vm_id, disk.id)
        )
        destroy = True
    with context.locks.hold(resource):
        if destroy:
            detaching.destroy(storage, resource, call.location, warn=context.log.warning)
        else:
            exclusive = disk.save and not disk.shareable
            detaching.detach(storage, resource, call.location, exclusive=exclusive, warn=context.log.warning)
