# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/snap_create_live``: a snapshot of a disk whose VM runs; its guest is kept from writing meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper.actions.tm.disk import take_snapshot

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    take_snapshot(context, args, running=True)
    return ""
