# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/snap_revert``: an image becomes what it was at a snapshot; all snapshots stay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import reverting
from linstor_helper.actions.datastore.image import change_content

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    change_content(context, args, stdin, reverting.revert)
    return ""
