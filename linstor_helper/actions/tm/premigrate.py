# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/premigrate``: makes a running VM's disks usable on the host to which it moves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import lifecycle, migration, vm_directory
from linstor_helper.actions.tm.live import call_other_drivers, read_live_call, storages
from linstor_helper.errors import RefusedError

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    call = read_live_call(args, stdin)
    if call.stays:
        if call.is_system:
            # The guest would keep the paths of its old directory, which would not survive the next boot.
            raise RefusedError(
                f"VM {call.vm.id} runs: its system datastore cannot be changed",
                hint="power it off, migrate it, resume it; keep DS_LIVE_MIGRATE=NO",
            )
        return ""
    disks = list(storages(context, call))
    linked = lifecycle.has_directory_per_host(call.system_tm)
    with context.locks.hold(*(found.resource for found, _ in disks)), context.undo() as undo:
        if call.is_system:
            storage = context.storage_of(call.datastore_id)
            undo.push(
                f"directory {call.target}",
                lambda: vm_directory.remove_if_not_shared(
                    storage, call.target, call.source, call.vm.id, context.undo(), context.log.warning
                ),
            )
            linked = vm_directory.copy(storage.hosts, call.source, call.target, undo)
        for found, disk_storage in disks:
            migration.begin(
                disk_storage,
                found,
                call.source.host,
                call.target.disk(found.disk.id),
                undo,
                context.log.warning,
                linked=linked,
            )
        call_other_drivers(context, "premigrate", call)
    return ""
