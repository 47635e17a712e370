# SPDX-License-Identifier: Apache-2.0
"""What ``mkimage`` and ``mkswap`` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from linstor_helper import attach, filling, names
from linstor_helper.call import DiskCall
from linstor_helper.filling import Format
from linstor_helper.units import Size

if TYPE_CHECKING:
    from linstor_helper.context import Context


def make_volatile(context: Context, call: DiskCall, size_mib: int, make_format: Format | None) -> None:
    """A volume of the system datastore, formatted on the VM's host and linked there."""
    disk_id = call.location.disk_id
    resource = names.volatile(call.vm_id, disk_id)
    storage = context.storage_of(call.datastore_id)
    owner = storage.owner(vm=call.vm_id, disk=disk_id)
    with context.locks.hold(resource), context.undo() as undo:
        attachment = filling.make_blank_on(
            storage, resource, Size.of_mib(size_mib), owner, undo, make_format, call.location.host
        )
        attach.wait_and_link(storage, attachment, call.location, undo)
