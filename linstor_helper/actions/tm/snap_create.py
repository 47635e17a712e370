# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/snap_create``: a snapshot of a disk whose VM does not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper.actions.tm.disk import take_snapshot

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    take_snapshot(context, args, running=False)
    return ""
