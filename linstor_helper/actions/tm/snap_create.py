# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/snap_create``: a snapshot of a disk whose VM does not run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import disk_snapshots
from linstor_helper.actions.tm.disk import read_snapshot_call

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    subject, snapshot_id = read_snapshot_call(context, args)
    with context.locks.hold(subject.resource), context.undo() as undo:
        disk_snapshots.create(
            subject.storage,
            subject.resource,
            snapshot_id,
            subject.owner,
            undo,
            context.log.warning,
            asked=subject.asked(snapshot_id),
            limit=subject.settings.snapshot_limit,
        )
    return ""
