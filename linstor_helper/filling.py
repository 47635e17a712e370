# SPDX-License-Identifier: Apache-2.0
"""The content of new volumes: nothing, a file system, swap space, an image, or a copy of another cluster's volume."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Callable

from linstor_helper import attach, host_commands, paths, transfer, volumes
from linstor_helper.errors import NotFoundError, RefusedError
from linstor_helper.names import Owner
from linstor_helper.ports import Resource
from linstor_helper.shell import Script
from linstor_helper.sources import Request, open_source
from linstor_helper.storage import Storage
from linstor_helper.transfer import Extent, Target
from linstor_helper.undo import Undo
from linstor_helper.units import Size

Format = Callable[[str], Script]
"""Makes the script that formats a device."""


def make_blank(
    storage: Storage,
    name: str,
    size: Size,
    owner: Owner,
    undo: Undo,
    make_format: Format | None,
    turn: int,
) -> None:
    """Makes sure that there is a volume that reads as zeros, or that was formatted.  Works on one of its nodes."""
    if not _ensure_created(storage, name, size, owner, undo):
        return
    resources = _placed(storage, name)
    if make_format is not None or not transfer.reads_as_zeros(resources):
        host = transfer.choose_host(resources, attach.usable, storage.settings.bridge_list, turn)
        with attach.opened(storage, name, host, resources, undo) as attachment:
            fill_blank(
                storage,
                Target(host, attachment.device, size, transfer.reads_as_zeros(resources)),
                make_format,
            )
    volumes.mark_complete(storage.controller, name)


def make_blank_on(
    storage: Storage,
    name: str,
    size: Size,
    owner: Owner,
    undo: Undo,
    make_format: Format | None,
    host: str,
) -> attach.Attachment:
    """As ``make_blank``, attached to ``host``, which is where it is formatted."""
    controller = storage.controller
    is_new = _ensure_created(storage, name, size, owner, undo)
    resources = _placed(storage, name) if is_new else controller.resources(name)
    attachment = attach.ensure_attached(storage, name, host, undo, resources=resources)
    if is_new:
        fill_blank(
            storage, Target(host, attachment.device, size, transfer.reads_as_zeros(resources)), make_format
        )
        volumes.mark_complete(controller, name)
    return attachment


def fill_blank(storage: Storage, target: Target, make_format: Format | None) -> None:
    """Zeroes the target where its storage may show what somebody else had stored, then formats it."""
    timeout = storage.settings.attach_timeout
    if not target.zeroed:
        transfer.write(storage.hosts, target, (), timeout)
    if make_format is not None:
        script = host_commands.wait_for_device(target.device, timeout) + make_format(target.device)
        storage.hosts.run(target.host, script, f"formatting {target.device}", timeout=None)


def import_image(
    storage: Storage, request: Request, name: str, size: Size, owner: Owner, undo: Undo, turn: int
) -> None:
    """Makes sure that there is a volume with the image's content.

    The image is looked at before the volume is made, and the download has ended well before it counts as complete.
    """
    with open_source(storage.hosts, request) as source:
        if source.size is not None and source.size > size:
            raise RefusedError(
                f"image {paths.shown(request.path)} has {source.size}, more than its declared {size}",
                hint="register it with a larger SIZE",
            )
        is_new = _ensure_created(storage, name, size, owner, undo)
        if is_new:
            _write(storage, name, size, source.extents(), undo, turn)
    if is_new:
        volumes.mark_complete(storage.controller, name)


def copy_volume(
    origin: Storage,
    source: str,
    storage: Storage,
    name: str,
    size: Size,
    owner: Owner,
    undo: Undo,
    turn: int,
    finish: Callable[[], None] | None = None,
) -> None:
    """Makes sure that ``name`` is a copy of ``source``, by way of the front-end: for volumes of another cluster, and
    for storage that has neither clones nor snapshots.  ``finish`` is what remains to do with a new copy before it
    counts as complete.  Raises NotFoundError when there is no ``source``, InUseError while it is written to."""
    definition = origin.controller.resource_definition(source)
    if definition is None or definition.deleting or not definition.sizes:
        raise NotFoundError(f"LINSTOR has no resource {source} to copy")
    resources = _placed(origin, source)
    length = transfer.visible_size(resources, definition.sizes[0])
    bigger = max(size, length)
    if _ensure_created(storage, name, bigger, owner, undo):
        host = transfer.choose_host(resources, attach.usable, origin.settings.bridge_list, turn)
        with attach.opened(origin, source, host, resources, undo) as attachment:
            reading = host_commands.wait_for_device(attachment.device, origin.settings.attach_timeout)
            reading += host_commands.read_all(attachment.device, length.bytes)
            with origin.hosts.read(host, reading, f"reading {attachment.device}") as stream:
                _write(storage, name, bigger, transfer.extents_of_stream(stream), undo, turn)
        if finish is not None:
            finish()
        volumes.mark_complete(storage.controller, name)


def _write(storage: Storage, name: str, size: Size, extents: Iterable[Extent], undo: Undo, turn: int) -> None:
    resources = _placed(storage, name)
    host = transfer.choose_host(resources, attach.usable, storage.settings.bridge_list, turn)
    with attach.opened(storage, name, host, resources, undo) as attachment:
        target = Target(host, attachment.device, size, transfer.reads_as_zeros(resources))
        transfer.write(storage.hosts, target, extents, storage.settings.attach_timeout)


def _ensure_created(storage: Storage, name: str, size: Size, owner: Owner, undo: Undo) -> bool:
    group = storage.settings.resource_group
    return volumes.ensure_created(storage.controller, storage.clock, group, name, size, owner, undo)


def _placed(storage: Storage, name: str) -> list[Resource]:
    return attach.wait_until_settled(storage.controller, storage.clock, name, storage.settings.attach_timeout)
