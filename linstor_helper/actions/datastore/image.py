# SPDX-License-Identifier: Apache-2.0
"""What the actions on the snapshots of an image have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from linstor_helper import names
from linstor_helper.call import read_image_call
from linstor_helper.errors import UsageError
from linstor_helper.names import Owner
from linstor_helper.storage import Storage

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
