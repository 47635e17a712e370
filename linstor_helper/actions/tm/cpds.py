# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/cpds``: saves a disk of a VM, or one of its snapshots, as a new image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import copying, disk_snapshots, lifecycle, names
from linstor_helper.actions.tm.disk import quiet, read_subject
from linstor_helper.call import expect, number, read_disk_call
from linstor_helper.copying import Wanted

if TYPE_CHECKING:
    from linstor_helper.context import Context

_PRESENT = "-1"
"""In the place of a snapshot's id: the disk as it is now."""


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """The image has only a name yet, which ``mkfs`` gave it."""
    place, target, snapshot_id, *rest = expect(args, "HOST:PATH SOURCE SNAPSHOT VM DATASTORE")
    subject = read_subject(context, read_disk_call([place, *rest]))
    storage, resource, warn = subject.storage, subject.resource, context.log.warning
    target = names.require_valid(target)
    wanted = Wanted(target, storage.owner(image=names.image_id(target)), dependent=storage.ties_images)
    with context.locks.hold(resource, target), context.undo() as undo:
        if snapshot_id != _PRESENT:
            disk_snapshots.copy(
                storage, resource, number(snapshot_id, "the snapshot's id"), wanted, undo, warn
            )
        elif lifecycle.saves_running(subject.vm.lcm_state):
            copying.copy(storage, resource, wanted, undo, warn, quiet(context, subject, f"image {target}"))
        else:
            copying.copy(storage, resource, wanted, undo, warn)
    return ""
