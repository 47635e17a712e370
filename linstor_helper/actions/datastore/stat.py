# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/stat``: how large a volume an image needs, before there is an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import paths, sources
from linstor_helper.call import read_image_call
from linstor_helper.errors import CommandFailed, RefusedError

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """OpenNebula's own ``fs/stat`` knows every format and URL; what may be read at all is checked here before."""
    call = read_image_call(args, stdin)
    storage = context.storage(call.datastore)
    path = paths.shown(call.image.path)
    sources.require_readable(context.import_request(storage, call))
    program = os.path.join(context.layout.remotes, "datastore/fs/stat")
    try:
        answer = storage.hosts.local([program, *args], stdin=call.payload).strip()
    except CommandFailed as error:
        raise RefusedError(
            f"cannot tell the size of image {path}", details=error.hiding(call.image.path, path).details
        ) from error
    if not answer.isdigit():
        raise RefusedError(f"cannot tell the size of image {path}", details=f"{program} said {answer[:80]!r}")
    return answer + "\n"
