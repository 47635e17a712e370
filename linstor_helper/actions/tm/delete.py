# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/delete``: removes a disk of a VM, or at the end the VM's directory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import detaching, moving, vm_directory, vm_disks
from linstor_helper.call import DiskCall, expect, read_disk_call

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """OpenNebula sends it for images, too, when it cleans up: only what belongs to the VM alone is destroyed."""
    call = read_disk_call(expect(args, "HOST:PATH VM DATASTORE"))
    if call.location.is_disk:
        _delete_disk(context, call)
    else:
        storage = context.storage_of(call.datastore_id)
        vm_directory.remove(storage, call.location, call.vm_id, context.log.warning)
    return ""


def _delete_disk(context: Context, call: DiskCall) -> None:
    vm = context.vm(call.vm_id)
    found = vm_disks.identify(vm.id, vm.disk(call.location.disk_id))
    storage = context.storage_of(call.datastore_id)
    warn = context.log.warning
    with context.locks.hold(found.resource):
        if found.own:
            if found.disk.volatile:
                # Of a move to another system datastore that was killed and never taken up again.
                moving.discard_transit(storage, found.resource)
            detaching.destroy(storage, found.resource, call.location, warn=warn)
        else:
            linked = detaching.unlink(storage, found.resource, call.location, warn)
            detaching.leave(storage, found, call.location.host, context.usage(vm), lambda: linked, warn)
