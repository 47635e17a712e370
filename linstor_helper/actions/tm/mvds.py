# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mvds``: takes a persistent image from a VM; what the VM wrote is in it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import detaching, names, vm_disks
from linstor_helper.call import expect, read_disk_call
from linstor_helper.location import source_resource

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    host, source, vm_id, datastore_id = expect(args, "HOST:PATH SOURCE VM DATASTORE")
    resource = names.require_valid(source_resource(source))
    call = read_disk_call([host, vm_id, datastore_id])
    call.location.require_disk()
    vm = context.vm(call.vm_id)
    found = vm_disks.VmDisk(vm.disk(call.location.disk_id), resource, own=False)
    storage = context.storage_of(call.datastore_id)
    warn = context.log.warning
    with context.locks.hold(resource):
        linked = detaching.unlink(storage, resource, call.location, warn)
        detaching.leave(storage, found, call.location.host, context.usage(vm), lambda: linked, warn)
    return ""
