# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/ln``: gives a VM an image itself (persistent, CD-ROM, IMMUTABLE)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach, names
from linstor_helper.call import expect, read_disk_call
from linstor_helper.location import source_resource

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """Other VMs may have the image on other hosts at the same time; they are left alone."""
    args = expect(args, "FRONT_END:SOURCE HOST:PATH VM DATASTORE")
    resource = names.require_valid(source_resource(args[0]))
    call = read_disk_call(args[1:])
    call.location.require_disk()
    storage = context.storage_of(call.datastore_id)
    with context.locks.hold(resource), context.undo() as undo:
        attachment = attach.ensure_attached(
            storage.controller, context.clock, resource, call.location.host, undo
        )
        attach.link(storage.hosts, attachment, call.location, storage.settings.attach_timeout, undo)
    return ""
