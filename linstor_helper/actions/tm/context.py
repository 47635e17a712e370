# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/context``: the ISO with a VM's context, a file that OpenNebula's own ssh driver makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper.call import read_disk_call
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
    return ""
