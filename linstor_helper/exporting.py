# SPDX-License-Identifier: Apache-2.0
"""A file with an image's content, for a marketplace: from one point in time, on a host, until it was fetched."""

from __future__ import annotations

import posixpath
from typing import NamedTuple

from linstor_helper import attach, copying, host_commands, names, transfer, volumes
from linstor_helper.copying import Wanted
from linstor_helper.errors import ControllerError, NotFoundError
from linstor_helper.location import Location
from linstor_helper.ports import Warn
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.units import Size

_FILE = "one-linstor-export-"
_FORGOTTEN = 24 * 60
"""Minutes after which a file is removed that no marketplace has fetched: OpenNebula tells nobody when that fails."""


class Exported(NamedTuple):
    """A file with an image."""

    location: Location
    format: str
    md5: str
    size: Size
    """Of the disk that it holds."""


def announce(storage: Storage, resource: str) -> None:
    """Notes that there will be a copy of the image.  Raises NotFoundError when there is no image."""
    definition = storage.controller.resource_definition(resource)
    if definition is None:
        raise NotFoundError(f"LINSTOR has no resource {resource}")
    volumes.add_companion(storage.controller, definition, names.EXPORT)


def forget(storage: Storage, resource: str) -> None:
    """Removes the copy."""
    instance = storage.settings.instance
    volumes.drop_companion(storage.controller, storage.clock, resource, names.EXPORT, instance)


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
    path = posixpath.join(storage.settings.staging_dir, f"{_FILE}{turn}.{wanted_format}")
    with attach.opened(storage, copy, host, resources, undo) as attachment:
        undo.push(f"{host}:{path}", lambda: storage.hosts.run(host, host_commands.unlink(path)))
        script = host_commands.remove_old(storage.settings.staging_dir, f"{_FILE}*", _FORGOTTEN)
        script += host_commands.wait_for_device(attachment.device, storage.settings.attach_timeout)
        script += host_commands.export_image(attachment.device, image_format, wanted_format, path)
        said = storage.hosts.run(host, script, f"exporting {resource}", timeout=None).split()
    if len(said) != 2:
        raise ControllerError(f"host {host} did not tell MD5 and size of {path}")
    return Exported(Location(host, path), wanted_format, said[0], Size.of_bytes(int(said[1])))
