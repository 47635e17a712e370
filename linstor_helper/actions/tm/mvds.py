# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mvds``: takes a persistent image from a VM; what the VM wrote is in it already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import detaching, names
from linstor_helper.call import expect, read_disk_call
from linstor_helper.location import source_resource

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    host, source, vm_id, datastore_id = expect(args, "HOST:PATH SOURCE VM DATASTORE")
    resource = names.require_valid(source_resource(source))
    call = read_disk_call([host, vm_id, datastore_id])
    call.location.require_disk()
    storage = context.storage_of(call.datastore_id)
    with context.locks.hold(resource):
        detaching.detach(storage, resource, call.location, exclusive=True, warn=context.log.warning)
    return ""
