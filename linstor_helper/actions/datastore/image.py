# SPDX-License-Identifier: Apache-2.0
"""What the actions on the snapshots of an image have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, Callable, NamedTuple

from linstor_helper import detaching, names
from linstor_helper.call import read_image_call
from linstor_helper.errors import UsageError
from linstor_helper.names import Owner
from linstor_helper.ports import Warn
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo

if TYPE_CHECKING:
    from linstor_helper.context import Context


class Subject(NamedTuple):
    """The image and the snapshot on which an action works."""

    storage: Storage
    resource: str
    snapshot_id: int
    owner: Owner


def read_subject(context: Context, args: Sequence[str], stdin: BinaryIO) -> Subject:
    """Raises UsageError."""
    call = read_image_call(args, stdin)
    if call.image.target_snapshot is None:
        raise UsageError("/DS_DRIVER_ACTION_DATA/IMAGE/TARGET_SNAPSHOT is missing in the XML")
    storage = context.storage(call.datastore)
    return Subject(
        storage,
        names.require_valid(call.image.source),
        call.image.target_snapshot,
        storage.owner(image=call.image_id),
    )


def change_content(
    context: Context,
    args: Sequence[str],
    stdin: BinaryIO,
    operation: Callable[[Storage, str, int, Owner, Undo, Warn], None],
) -> None:
    """Gives an image the content of its snapshot by ``operation``; nobody has the image."""
    storage, resource, snapshot_id, owner = read_subject(context, args, stdin)
    with context.locks.hold(resource), context.undo() as undo:
        operation(storage, resource, snapshot_id, owner, undo, context.log.warning)
        # LINSTOR gives clients to the nodes that were tie-breakers.
        detaching.withdraw(storage, resource, keep=None)
