# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mkswap``: makes a swap disk of a VM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import host_commands
from linstor_helper.actions.tm.volatile import make_volatile
from linstor_helper.call import expect, number, read_disk_call

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    args = expect(args, "SIZE_MB HOST:PATH VM DATASTORE")
    make_volatile(context, read_disk_call(args[1:]), number(args[0], "the size"), host_commands.make_swap)
    return ""
