# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/clone``: gives a VM its own copy of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Callable

from linstor_helper import attach, copying, names, resizing, volumes
from linstor_helper.call import expect, read_disk_call
from linstor_helper.copying import Wanted
from linstor_helper.device_formats import QCOW2
from linstor_helper.errors import CannotClone, ControllerUnavailable, UnknownOutcome
from linstor_helper.location import source_resource
from linstor_helper.onexml import Disk
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo

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
    warn = context.log.warning
    with context.locks.hold(resource), context.undo() as undo:
        wanted = Wanted(resource, owner, disk.size, dependent=storage.ties_disks, in_place=True, adopt=True)
        try:
            wanted = wanted._replace(finish=_finish(context, storage, source, resource, disk, undo))
            volumes.ensure_clone(
                storage.controller,
                context.clock,
                source,
                resource,
                owner,
                undo,
                grow_to=disk.size if _grows(disk) else None,
                adopt=True,
                dependent=wanted.dependent,
                finish=wanted.finish,
                timeout=storage.settings.clone_timeout,
            )
        except CannotClone as refusal:
            copying.copy_without_clones(storage, source, wanted, undo, warn, refusal)
        except UnknownOutcome:
            raise
        except ControllerUnavailable as error:
            # The link is made last: the copy was complete when it was made.
            if not attach.is_linked(storage, resource, call.location):
                raise
            warn(f"{call.location} is used as it is: {error}")
            return ""
        attach.connect(storage, resource, call.location, undo, warn)
    return ""


def _grows(disk: Disk) -> bool:
    return disk.original_size is not None and disk.size > disk.original_size


def _finish(
    context: Context, storage: Storage, source: str, resource: str, disk: Disk, undo: Undo
) -> Callable[[], None] | None:
    """What remains to do with a copy that is larger than the image; mostly nothing."""
    if not _grows(disk) or not (disk.format == QCOW2 or resizing.shows_old_content(storage, source)):
        return None
    return partial(
        resizing.finish_copy,
        storage,
        source,
        resource,
        disk.size,
        disk.format,
        undo,
        context.log.warning,
    )
