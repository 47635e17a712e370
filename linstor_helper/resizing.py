# SPDX-License-Identifier: Apache-2.0
"""Volumes grow.  They never shrink: what is behind the new end would be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from linstor_helper import attach, host_commands, transfer
from linstor_helper.errors import NotFoundError, NotReadyError, RefusedError
from linstor_helper.ports import Resource, Warn
from linstor_helper.shell import Script
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.units import Size
from linstor_helper.waiting import attempts

QCOW2 = "qcow2"
"""Format of the images that addon-linstor registered as they were, with their header on the device."""


def grow(
    storage: Storage,
    name: str,
    size: Size,
    image_format: str,
    undo: Undo,
    warn: Warn,
    *,
    running: bool,
    host: str,
) -> None:
    """Grows a volume to ``size``, on every replica, also while its VM on ``host`` has it open.

    What is new reads as zeros.  A qcow2 header on the device gets the new size, too; that of a VM that is ``running``
    is the hypervisor's to change.
    Raises RefusedError when the volume is larger already, NotReadyError with each replica that is not up to date, and
    nothing has changed then.
    """
    controller = storage.controller
    before = _require(storage, name)
    if size < before:
        raise RefusedError(
            f"{name} has {before} and cannot shrink to {size}", hint="ask for its present size or more"
        )
    replicas = controller.placement(name)
    _require_up_to_date(name, replicas)

    def zero() -> None:
        _zero_new_part(storage, name, replicas, before, undo, warn, host if running else None)

    if size > before:
        # Not later, by a repetition: the VM may have written there in between.
        undo.push(f"the new part of {name} may show old content", zero)
    controller.resize(name, size)
    _wait_until_grown(storage, name, size)
    if size > before:
        zero()
    if image_format == QCOW2 and not running:
        _grow_header(storage, name, size, undo)


def finish_copy(
    storage: Storage, source: str, name: str, size: Size, image_format: str, undo: Undo, warn: Warn
) -> None:
    """What remains to do with a new copy that was made larger than its source, before anybody sees it."""
    _zero_new_part(storage, name, storage.controller.placement(source), _require(storage, source), undo, warn)
    if image_format == QCOW2:
        _grow_header(storage, name, size, undo)


def shows_old_content(storage: Storage, source: str) -> bool:
    """Whether the new part of a larger copy of this volume may hold what somebody else had stored there."""
    return not transfer.reads_as_zeros(storage.controller.placement(source))


def _require(storage: Storage, name: str) -> Size:
    definition = storage.controller.resource_definition(name)
    if definition is None or not definition.sizes:
        raise NotFoundError(f"LINSTOR has no resource {name}")
    return definition.sizes[0]


def _require_up_to_date(name: str, resources: Sequence[Resource]) -> None:
    """LINSTOR refuses as well, but does not always name the node (REST guide 2.6)."""
    bad = [
        f"{one.node} is {'offline' if one.silent else one.disk_state or 'in an unknown state'}"
        for one in resources
        if not (one.diskless or attach.usable(one))
    ]
    if bad:
        raise NotReadyError(
            f"{name} cannot grow: {'; '.join(bad)}",
            hint=f"see `linstor resource list -r {name}`; nothing was changed",
        )


def _wait_until_grown(storage: Storage, name: str, size: Size) -> None:
    small: list[str] = []
    for _ in attempts(storage.clock, storage.settings.attach_timeout, first=0.2):
        resources = [one for one in storage.controller.placement(name) if not one.deleting]
        small = [
            f"{one.node} has {one.size}" for one in resources if one.size is not None and one.size < size
        ]
        if not small:
            return
    raise NotReadyError(
        f"{name} has not grown to {size} everywhere: {'; '.join(small)}",
        hint=f"see `linstor volume list -r {name}` and `linstor error-reports list`; resize again then",
    )


def _zero_new_part(
    storage: Storage,
    name: str,
    replicas: Sequence[Resource],
    declared: Size,
    undo: Undo,
    warn: Warn,
    host: str | None = None,
) -> None:
    """``replicas`` are those that the volume, or its source, had before: from the end of what a guest could see of them
    on, nobody has written yet."""
    if transfer.reads_as_zeros(replicas):
        return
    if any(one.size is None for one in replicas if not one.diskless):
        warn(f"the new part of {name} may show old content: LINSTOR does not tell where it begins")
        return
    begin = transfer.visible_size(replicas, declared).bytes

    def zero(device: str) -> Script:
        return host_commands.zero_from(device, begin) + host_commands.flush(device)

    _at_device(storage, name, zero, f"zeroing the new part of {name}", undo, host)


def _grow_header(storage: Storage, name: str, size: Size, undo: Undo) -> None:
    _at_device(
        storage,
        name,
        lambda device: host_commands.grow_qcow2(device, size.bytes),
        f"growing the qcow2 header of {name}",
        undo,
    )


def _at_device(
    storage: Storage,
    name: str,
    make: Callable[[str], Script],
    what: str,
    undo: Undo,
    host: str | None = None,
) -> None:
    """Runs a script for the volume's device on ``host``, or on one that has a replica."""
    settings = storage.settings
    resources = storage.controller.placement(name)
    host = host or transfer.choose_host(resources, attach.usable, settings.bridge_list, turn=0)
    with attach.opened(storage, name, host, resources, undo) as attachment:
        script = host_commands.wait_for_device(attachment.device, settings.attach_timeout)
        storage.hosts.run(host, script + make(attachment.device), what, timeout=None)
