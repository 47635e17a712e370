# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/mkfs``: makes an empty image, with a file system if one is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import answers, filesystems, filling, host_commands, names
from linstor_helper.call import read_image_call

if TYPE_CHECKING:
    from linstor_helper.context import Context

_SAVE_AS = "save_as"
_NOT_A_FILE_SYSTEM = ("", "raw", "qcow2")


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """The target of a disk-saveas gets its name only: the transfer action that fills it makes the volume."""
    call = read_image_call(args, stdin)
    resource = names.image(call.image_id)
    if call.image.format == _SAVE_AS:
        return answers.source(resource)
    storage = context.storage(call.datastore)
    kind = call.image.fs
    if context.version < (6, 0) and call.image.format not in _NOT_A_FILE_SYSTEM:
        # OpenNebula 5.12 has no FS: its FSTYPE is either.
        kind = call.image.format
    make_format = None
    if kind:
        make_format = partial(host_commands.make_file_system, filesystems.offered(context.layout, kind))
    with context.locks.hold(resource), context.undo() as undo:
        owner = storage.owner(image=call.image_id)
        filling.make_blank(storage, resource, call.size, owner, undo, make_format, turn=call.image_id)
    return answers.source(resource)
