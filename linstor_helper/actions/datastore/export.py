# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/export``: puts an image where a marketplace can fetch it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import answers, exporting, names
from linstor_helper.call import number, read_image_call
from linstor_helper.storage import Storage

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """The last argument is the id of the marketplace's app."""
    call = read_image_call(args, stdin)
    storage, resource = context.storage(call.datastore), names.require_valid(call.image.source)
    app_id = number(args[-1], "the app's id")
    with context.locks.hold(names.companion(resource, names.EXPORT)), context.undo() as undo:
        # VMs may start with the image meanwhile.
        with context.locks.hold(resource):
            exporting.announce(storage, resource)
        undo.push(f"a companion of {resource}", partial(_forget, context, storage, resource))
        exported = exporting.export(
            storage,
            resource,
            call.image.format or "raw",
            call.image_id,
            app_id,
            undo,
            context.log.warning,
        )
        _forget(context, storage, resource)
        return answers.import_info(exported.location, exported.md5, exported.size, exported.format)


def _forget(context: Context, storage: Storage, resource: str) -> None:
    with context.locks.hold(resource):
        exporting.forget(storage, resource)
