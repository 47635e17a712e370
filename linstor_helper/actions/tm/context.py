# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/context``: the ISO with a VM's context, a file that OpenNebula's own ssh driver makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach, detaching, host_commands, lifecycle, vm_disks
from linstor_helper.call import DiskCall, read_disk_call
from linstor_helper.errors import CommandFailed, UsageError

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    if len(args) < 4:
        raise UsageError(f"expected FILE... HOST:PATH VM DATASTORE as arguments, got {len(args)} arguments")
    call = read_disk_call(args[-3:])
    program = os.path.join(context.layout.remotes, "tm/ssh/context")
    try:
        context.hosts.local([program, *args])
    except CommandFailed as error:
        raise CommandFailed(
            f"cannot make the context of VM {call.vm_id} on {call.location.host}",
            status=error.status,
            details=error.details or str(error),
        ) from error
    _bring_disks_back(context, call)
    return ""


def _bring_disks_back(context: Context, call: DiskCall) -> None:
    """The only call before a VM boots in place; when its disks are where they were it costs a look at the host."""
    vm = context.vm(call.vm_id)
    if not lifecycle.boots_in_place(vm.lcm_state, vm.stays):
        return
    disks = {
        f"{call.location.directory}/disk.{found.disk.id}": found
        for found in vm_disks.of_driver(vm, vm.system_tm)
    }
    if not disks:
        return
    looking = host_commands.list_broken_links(
        {path: host_commands.by_res(found.resource) for path, found in disks.items()}
    )
    broken = context.hosts.run(call.location.host, looking, "looking at the VM's disks").split()
    for path in broken:
        found = disks[path]
        storage = context.storage_of(found.datastore_id(call.datastore_id))
        place = call.location._replace(path=path)
        with context.locks.hold(found.resource), context.undo() as undo:
            context.log.warning(f"{found.resource} is not at {place} and is brought back")
            attachment = attach.connect(
                storage, found.resource, place, undo, context.log.warning, shared=found.shareable
            )
            if found.exclusive:
                detaching.withdraw(storage, found.resource, keep=attachment.node)
