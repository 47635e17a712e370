# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/rm``: deletes an image with its snapshots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import names, volumes
from linstor_helper.call import read_image_call

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """An image that never got as far as having a volume is deleted, too."""
    call = read_image_call(args, stdin)
    resource = call.image.source
    if resource:
        names.require_valid(resource)
        storage = context.storage(call.datastore)
        with context.locks.hold(resource):
            # Of a copy that was cut short.
            volumes.discard_made(
                storage.controller,
                context.clock,
                names.in_transit(resource),
                storage.settings.instance,
                storage.settings.attach_timeout,
            )
            volumes.discard_own(
                storage.controller,
                context.clock,
                resource,
                storage.settings.instance,
                storage.settings.attach_timeout,
                context.log.warning,
            )
    return ""
