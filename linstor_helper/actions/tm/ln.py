# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/ln``: gives a VM an image itself (persistent, CD-ROM, IMMUTABLE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach, detaching, names, sharing, vm_disks
from linstor_helper.call import expect, read_disk_call
from linstor_helper.location import source_resource

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """Other VMs may read the image on other hosts at the same time; they are left alone."""
    args = expect(args, "FRONT_END:SOURCE HOST:PATH VM DATASTORE")
    resource = names.require_valid(source_resource(args[0]))
    call = read_disk_call(args[1:])
    call.location.require_disk()
    vm = context.vm(call.vm_id)
    found = vm_disks.VmDisk(vm.disk(call.location.disk_id), resource, own=False)
    storage = context.storage_of(call.datastore_id)
    with context.locks.hold(resource), context.undo() as undo:
        if found.shareable:
            sharing.allow(storage, found, undo, context.log.warning)
        attachment = attach.connect(
            storage, resource, call.location, undo, context.log.warning, shared=found.shareable
        )
        if found.exclusive and attachment.elsewhere and context.usage(vm).nobody_else(found.disk.image_id):
            # Of a migration that was never ended; it may still let another node write.
            detaching.withdraw(storage, resource, keep=attachment.node)
    return ""
