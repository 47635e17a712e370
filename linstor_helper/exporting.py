# SPDX-License-Identifier: Apache-2.0
"""A file with an image's content, for a marketplace: of one point in time, on a host, until it was fetched."""

from __future__ import annotations

from typing import NamedTuple

from linstor_helper import (
    attach,
    companions,
    copying,
    device_formats,
    host_commands,
    names,
    transfer,
    volumes,
)
from linstor_helper.copying import Wanted
from linstor_helper.errors import CommandFailed, NotFoundError
from linstor_helper.location import Location
from linstor_helper.ports import Warn
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.units import Size


class Exported(NamedTuple):
    """A file with an image."""

    location: Location
    format: str
    md5: str
    size: Size
    """Of the disk that it holds."""


def announce(storage: Storage, resource: str) -> None:
    """Notes that there will be a copy of the image.  Raises NotFoundError when there is no image."""
    controller = storage.controller
    definition = controller.resource_definition(resource)
    if definition is None:
        raise NotFoundError(f"LINSTOR has no resource {resource}")
    companions.add(controller, definition, names.EXPORT)


def forget(storage: Storage, resource: str) -> None:
    """Removes the copy."""
    instance = storage.settings.instance
    companions.drop(storage.controller, storage.clock, resource, names.EXPORT, instance)


def export(
    storage: Storage, resource: str, image_format: str, image_id: int, turn: int, undo: Undo, warn: Warn
) -> Exported:
    """Makes the file from a copy of the image; between ``announce`` and ``forget``.  ``image_format`` is that on the
    device; ``turn`` is a number that no other export has."""
    controller, wanted_format = storage.controller, storage.settings.export_format
    copy = names.companion(resource, names.EXPORT)
    # One of an earlier run that was killed.
    volumes.discard_made(controller, storage.clock, copy, storage.settings.instance, volumes.CLOSES)
    wanted = Wanted(copy, storage.owner(image=image_id), dependent=True, in_place=True)
    copying.copy(storage, resource, wanted, undo, warn)
    resources = attach.wait_until_settled(controller, storage.clock, copy, storage.settings.attach_timeout)
    host = transfer.choose_host(resources, attach.usable, storage.settings.bridge_list, turn)
    with attach.opened(storage, copy, host, resources, undo) as attachment:
        waiting = host_commands.wait_for_device(attachment.device, storage.settings.attach_timeout)
        storage.hosts.run(host, waiting, f"exporting {resource}")
        device_formats.require_safe(storage.hosts, host, attachment.device, image_format, resource)
        script = host_commands.export_image(
            attachment.device, image_format, wanted_format, storage.settings.staging_dir
        )
        said = storage.hosts.run(host, script, f"exporting {resource}", timeout=None).split()
    if len(said) != 3:
        raise CommandFailed(f"host {host} did not tell what it has exported of {resource}", status=0)
    path, md5, size = said
    location = Location(host, path)
    undo.push(str(location), lambda: storage.hosts.run(host, host_commands.remove_exported(path)))
    return Exported(location, wanted_format, md5, Size.of_bytes(int(size)))
