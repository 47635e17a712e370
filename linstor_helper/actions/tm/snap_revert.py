# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/snap_revert``: a disk of a VM that is powered off becomes what it was at a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach, detaching, reverting
from linstor_helper.actions.tm.disk import read_snapshot_call
from linstor_helper.errors import NotReverted

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """LINSTOR makes the volume anew on its nodes; the VM's host is looked at, and its link made again."""
    subject, snapshot_id = read_snapshot_call(context, args)
    warn = context.log.warning
    with context.locks.hold(subject.resource), context.undo() as undo:
        try:
            reverting.revert(subject.storage, subject.resource, snapshot_id, subject.owner, undo, warn)
        except NotReverted:
            # The VM must not start on what is there now.
            detaching.unlink(subject.storage, subject.resource, subject.call.location, warn)
            raise
        # Nothing of this is taken back: the link was there before.
        attachment = attach.connect(
            subject.storage,
            subject.resource,
            subject.call.location,
            context.undo(),
            warn,
            shared=subject.found.shareable,
        )
        if subject.found.exclusive:
            # LINSTOR gives clients to the nodes that were tie-breakers.
            detaching.withdraw(subject.storage, subject.resource, keep=attachment.node)
    return ""
