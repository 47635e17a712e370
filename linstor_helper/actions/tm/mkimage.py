# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mkimage``: makes a volatile disk of a VM."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import filesystems, host_commands
from linstor_helper.actions.tm.volatile import make_volatile
from linstor_helper.call import expect, number, read_disk_call

if TYPE_CHECKING:
    from linstor_helper.context import Context

_NOT_A_FILE_SYSTEM = ("raw", "qcow2", "swap")
"""Formats of the second argument that name none; OpenNebula 5.12 may pass a file system there."""


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """The volume is raw whatever format is asked for; the file system stands in the VM's DISK, not in the call."""
    args = expect(args, "SIZE_MB FORMAT HOST:PATH VM DATASTORE")
    call = read_disk_call(args[2:])
    disk = context.vm(call.vm_id).disk(call.location.disk_id)
    wanted = args[1].lower()
    kind = disk.fs or ("" if wanted in _NOT_A_FILE_SYSTEM else wanted)
    make_format = None
    if wanted == "swap":
        make_format = host_commands.make_swap
    elif kind:
        make_format = partial(host_commands.make_file_system, filesystems.offered(context.layout, kind))
    make_volatile(context, call, number(args[0], "the size"), make_format)
    return ""
