# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/clone``: gives a VM its own copy of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach, filling, names, volumes
from linstor_helper.call import expect, read_disk_call
from linstor_helper.errors import CannotClone, ControllerUnavailable, UnknownOutcome
from linstor_helper.location import source_resource
from linstor_helper.onexml import Disk
from linstor_helper.units import Size

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """OpenNebula sends no resize after a clone: a disk that the user wants larger is grown here."""
    args = expect(args, "FRONT_END:SOURCE HOST:PATH VM DATASTORE")
    source = names.require_valid(source_resource(args[0]))
    call = read_disk_call(args[1:])
    disk = context.vm(call.vm_id).disk(call.location.disk_id)
    storage = context.storage_of(call.datastore_id)
    resource = names.vm_disk(source, call.vm_id, disk.id)
    owner = storage.owner(image=disk.image_id, vm=call.vm_id, disk=disk.id)
    with context.locks.hold(resource), context.undo() as undo:
        try:
            volumes.ensure_clone(
                storage.controller,
                context.clock,
                source,
                resource,
                owner,
                undo,
                grow_to=_growth(disk),
                adopt=True,
                timeout=storage.settings.clone_timeout,
            )
        except CannotClone as refusal:
            context.log.event(f"{source} is copied instead of cloned: {refusal}")
            filling.copy_volume(storage, source, storage, resource, disk.size, owner, undo, turn=call.vm_id)
        except UnknownOutcome:
            raise
        except ControllerUnavailable as error:
            # The link is made last: the copy was complete when it was made.
            if not attach.is_linked(storage, resource, call.location):
                raise
            context.log.warning(f"{call.location} is used as it is: {error}")
            return ""
        attach.connect(storage, resource, call.location, undo, context.log.warning)
    return ""


def _growth(disk: Disk) -> Size | None:
    return disk.size if disk.original_size is not None and disk.size > disk.original_size else None
