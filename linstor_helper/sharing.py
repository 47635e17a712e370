# SPDX-License-Identifier: Apache-2.0
"""SHAREABLE images: volumes that several VMs write to at the same time, on two hosts."""

from __future__ import annotations

from linstor_helper import names
from linstor_helper.errors import RefusedError
from linstor_helper.ports import Warn
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.vm_disks import VmDisk


def allow(storage: Storage, found: VmDisk, undo: Undo, warn: Warn) -> None:
    """Lets two nodes write to the volume, until the last VM gives it back; ``undo`` forbids it if this was the first.

    Raises RefusedError unless the datastore opts in: a file system that is mounted twice destroys itself, and DRBD
    no longer keeps a VM from being started twice.
    """
    if not storage.settings.allow_shareable:
        raise RefusedError(
            f"image {found.disk.image_id} is SHAREABLE, which {storage.datastore} does not allow",
            hint="two VMs on one volume need a cluster file system; allow it with LINSTOR_ALLOW_SHAREABLE=YES",
        )
    warn(f"{found.resource} is shared: two hosts may write to it at once, DRBD does not keep them apart")
    controller, name = storage.controller, found.resource
    definition = controller.resource_definition(name)
    properties = {} if definition is None else definition.properties
    if names.SHARED in properties and properties.get(names.TWO_PRIMARIES) == "yes":
        return
    undo.push(f"two primaries of {name}", lambda: controller.modify(name, {}, names.SHARING))
    controller.modify(name, {names.TWO_PRIMARIES: "yes", names.PROTOCOL: "C", names.SHARED: "yes"})
