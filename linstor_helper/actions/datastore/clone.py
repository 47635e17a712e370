# SPDX-License-Identifier: Apache-2.0
"""``datastore/linstor/clone``: copies an image, within a datastore or to another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import answers, copying, detaching, filling, names, volumes
from linstor_helper.call import ImageCall, read_image_call
from linstor_helper.copying import Wanted
from linstor_helper.errors import CannotClone
from linstor_helper.storage import Storage

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    """LINSTOR copies within a cluster; between clusters the bytes go over the front-end."""
    call = read_image_call(args, stdin)
    source, resource = names.require_valid(call.image.path), names.image(call.image_id)
    target = context.storage(call.datastore)
    origin = _origin(context, call, target)
    owner = target.owner(image=call.image_id)
    # Not always raw: addon-linstor kept qcow2 images as they were.
    answer = answers.source_and_format(resource, call.image.format or "raw", context.version)
    with context.locks.hold(resource), context.undo() as undo:
        if origin.controller.identity() & target.controller.identity():
            group = target.settings.resource_group
            try:
                volumes.ensure_clone(
                    target.controller,
                    context.clock,
                    source,
                    resource,
                    owner,
                    undo,
                    group=None if names.same(group, origin.settings.resource_group) else group,
                    dependent=target.ties_images,
                    timeout=target.settings.clone_timeout,
                )
                detaching.drop_clients(target, resource)
            except CannotClone as refusal:
                wanted = Wanted(resource, owner, call.size, dependent=target.ties_images)
                copying.copy_without_clones(target, source, wanted, undo, context.log.warning, refusal)
        else:
            filling.copy_volume(origin, source, target, resource, call.size, owner, undo, turn=call.image_id)
    return answer


def _origin(context: Context, call: ImageCall, target: Storage) -> Storage:
    """The datastore of the original image; its id is all that OpenNebula passes of it."""
    if call.image.cloning_id is None:
        return target
    datastore_id = context.image(call.image.cloning_id).datastore_id
    if datastore_id is None or datastore_id == target.datastore.id:
        return target
    return context.storage_of(datastore_id)
