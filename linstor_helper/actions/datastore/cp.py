# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/cp``: registers an image from a file or a URL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import answers, filling, names
from linstor_helper.call import read_image_call

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """Whatever the image's format was, the volume is raw."""
    call = read_image_call(args, stdin)
    storage = context.storage(call.datastore)
    request = context.import_request(storage, call)
    resource = names.image(call.image_id)
    with context.locks.hold(resource), context.undo() as undo:
        owner = storage.owner(image=call.image_id)
        filling.import_image(storage, request, resource, call.size, owner, undo, turn=call.image_id)
    return answers.source_and_format(resource, "raw", context.version)
