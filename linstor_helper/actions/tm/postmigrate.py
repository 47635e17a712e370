# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/postmigrate``: takes a VM's disks from the host that it has left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach
from linstor_helper.actions.tm.live import LiveCall, leave, read_live_call, storages

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    call = read_live_call(args, stdin)
    if not call.stays:
        leave(context, "postmigrate", call, left=call.source, kept=call.target)
    elif not call.is_system:
        _link_anew(context, call)
    return ""


def _link_anew(context: Context, call: LiveCall) -> None:
    """The VM runs on in another system datastore of a driver that allows that.  OpenNebula does not take the links to
    our volumes along, and without them the VM would not boot again."""
    for found, storage in storages(context, call):
        place = call.target.disk(found.disk.id)
        with context.locks.hold(found.resource), context.undo() as undo:
            attach.connect(storage, found.resource, place, undo, context.log.warning, shared=found.shareable)
