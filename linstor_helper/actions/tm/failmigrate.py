# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/failmigrate``: takes a VM's disks from the host to which it did not come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper.actions.tm.live import leave, read_live_call

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    call = read_live_call(args, stdin)
    if not call.stays:
        leave(context, "failmigrate", call, left=call.target, kept=call.source)
    return ""
