# SPDX-License-Identifier: Apache-2.0
"""Volumes grow.  They never shrink: what is behind the new end would be lost.

Where storage shows what somebody else had stored in it, the new part is zeroed before a guest can see it.  Until it is
done a note on the volume says from where on: a repetition takes it up, unless the VM was started in between and may
have written there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Callable

from linstor_helper import attach, contents, device_formats, host_commands, names, transfer, volumes
from linstor_helper.errors import (
    ControllerUnavailable,
    HostUnreachable,
    NotFoundError,
    NotReadyError,
    RefusedError,
    UnknownOutcome,
)
from linstor_helper.ports import Resource, ResourceDefinition, Warn
from linstor_helper.shell import Script
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.units import KIB, Size
from linstor_helper.waiting import attempts

_A_LITTLE = Size(4 * KIB)
"""What is added to a size that LINSTOR has noted and not carried out: it does nothing when asked for the same again."""


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
    stay: Callable[[], str],
) -> None:
    """Grows a volume to ``size``, on every replica, also while its VM on ``host`` has it open.

    What is new reads as zeros.  A qcow2 header on the device gets the new size, too; that of a VM that is ``running``
    is the hypervisor's to change.  ``stay`` tells what is another one after each start of the VM.
    Raises RefusedError when the volume is larger already, NotReadyError with each replica that is not up to date, and
    nothing has changed then.
    """
    controller = storage.controller
    definition = _require(storage, name)
    before = definition.sizes[0]
    if size.mib_up < before.mib_down:
        raise RefusedError(
            f"{name} has {before} and cannot shrink to {size}", hint="ask for its present size or more"
        )
    replicas = _up_to_date(storage, name)
    wanted = size if size > before else None
    lagging = any(one.size is not None and one.size < before for one in replicas)
    if wanted is None and (lagging or definition.resizing):
        wanted = Size(before.bytes + _A_LITTLE.bytes)
    now = "" if transfer.reads_as_zeros(replicas) else stay()
    begin = _begin_of_new_part(definition, replicas, wanted, now, warn)
    if begin is not None:
        controller.modify(name, {names.ZERO_FROM: f"{begin} {now}"})
        undo.push(
            f"the new part of {name} may show old content",
            lambda: _zero(storage, name, begin, undo, host, running),
        )
    if wanted is not None:
        _resize(storage, name, wanted)
    _wait_until_grown(storage, name, size)
    _finish_device(storage, name, size, begin, undo, warn, host, running)
    if begin is not None or names.ZERO_FROM in definition.properties:
        controller.modify(name, {}, [names.ZERO_FROM])
    if image_format == device_formats.QCOW2 and not running:
        _grow_header(storage, name, size, undo)


def finish_copy(
    storage: Storage, source: str, name: str, size: Size, image_format: str, undo: Undo, warn: Warn
) -> None:
    """What remains to do with a new copy that was made larger than its source, before anybody sees it."""
    original, replicas = _require(storage, source), storage.controller.placement(source)
    begin = _begin_of_new_part(original, replicas, size, "", warn)
    if begin is not None:
        _at_device(storage, name, _zeroing(begin), f"zeroing the new part of {name}", undo)
    if image_format == device_formats.QCOW2:
        _grow_header(storage, name, size, undo)


def shows_old_content(storage: Storage, source: str) -> bool:
    """Whether the new part of a larger copy of this volume may hold what somebody else had stored there."""
    return not transfer.reads_as_zeros(storage.controller.placement(source))


def _require(storage: Storage, name: str) -> ResourceDefinition:
    definition = storage.controller.resource_definition(name)
    if definition is None or not definition.sizes:
        raise NotFoundError(f"LINSTOR has no resource {name}")
    return definition


def _up_to_date(storage: Storage, name: str) -> Sequence[Resource]:
    """LINSTOR refuses as well, but does not always name the node (REST guide 2.6).  A growth syncs its new part."""
    resources: Sequence[Resource] = ()
    bad: list[str] = []
    for _ in attempts(storage.clock, volumes.SYNCS, first=0.2):
        resources = storage.controller.placement(name)
        unfit = [one for one in resources if not (one.diskless or attach.usable(one))]
        bad = [
            f"{one.node} is {'offline' if one.silent else one.disk_state or 'in an unknown state'}"
            for one in unfit
        ]
        if not any(one.disk_state == "Inconsistent" and not one.silent for one in unfit):
            break
    contents.require(name, resources)
    if bad:
        raise NotReadyError(
            f"{name} cannot grow: {'; '.join(bad)}",
            hint=f"see `linstor resource list -r {name}`; nothing was changed",
        )
    return resources


def _begin_of_new_part(
    definition: ResourceDefinition,
    replicas: Sequence[Resource],
    wanted: Size | None,
    stay: str,
    warn: Warn,
) -> int | None:
    """The byte from which on nobody has written yet and old content may show; None when there is no such part.

    ``replicas`` are those before the growth: a guest sees the whole of their devices, and may have used it."""
    if transfer.reads_as_zeros(replicas):
        return None
    noted, _, of_stay = definition.properties.get(names.ZERO_FROM, "").partition(" ")
    if noted.isdigit() and of_stay == stay:
        return int(noted)
    unknown = any(one.size is None for one in replicas if not one.diskless)
    if noted or (unknown and wanted is not None):
        warn(f"a part of {definition.name} may show old content: it is not known any more where that begins")
    if wanted is None or unknown:
        return None
    return transfer.visible_size(replicas, definition.sizes[0]).bytes


def _resize(storage: Storage, name: str, size: Size) -> None:
    try:
        storage.controller.resize(name, size)
    except UnknownOutcome:
        for left in attempts(storage.clock, storage.settings.attach_timeout, first=0.5):
            try:
                if _require(storage, name).sizes[0] >= size:
                    return
            except ControllerUnavailable:
                pass
            if left == 0.0:
                raise


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


def _finish_device(
    storage: Storage,
    name: str,
    size: Size,
    begin: int | None,
    undo: Undo,
    warn: Warn,
    host: str,
    running: bool,
) -> None:
    """LINSTOR reckons the size of DRBD's device; that has it a moment later, or not at all."""

    def make(device: str) -> Script:
        script = host_commands.wait_for_size(device, size.bytes, storage.settings.attach_timeout)
        return script if begin is None else script + _zeroing(begin)(device)

    try:
        _at_device(storage, name, make, f"growing {name}", undo, host, running)
    except HostUnreachable as error:
        if running or begin is not None:
            raise
        warn(f"whether the device of {name} has grown is not known: {error}")


def _zero(storage: Storage, name: str, begin: int, undo: Undo, host: str, running: bool) -> None:
    """Also when nothing has grown: then there is nothing behind ``begin``."""
    _at_device(storage, name, _zeroing(begin), f"zeroing the new part of {name}", undo, host, running)
    storage.controller.modify(name, {}, [names.ZERO_FROM])


def _zeroing(begin: int) -> Callable[[str], Script]:
    return lambda device: host_commands.zero_from(device, begin) + host_commands.flush(device)


def _grow_header(storage: Storage, name: str, size: Size, undo: Undo) -> None:
    def grow_header(device: str) -> Script:
        return host_commands.grow_qcow2(device, size.bytes)

    _at_device(storage, name, grow_header, f"growing the qcow2 header of {name}", undo, qcow2=True)


def _at_device(
    storage: Storage,
    name: str,
    make: Callable[[str], Script],
    what: str,
    undo: Undo,
    host: str = "",
    running: bool = False,
    *,
    qcow2: bool = False,
) -> None:
    """Runs a script for the volume's device on the ``host`` of its VM if that is ``running``, else on one that has a
    replica."""
    settings = storage.settings
    resources = storage.controller.placement(name)
    if not running:
        host = transfer.choose_host(resources, attach.usable, settings.bridge_list, turn=0)
    with attach.opened(storage, name, host, resources, undo) as attachment:
        device = attachment.device
        waiting = host_commands.wait_for_device(device, settings.attach_timeout)
        if qcow2:
            storage.hosts.run(host, waiting, what)
            device_formats.require_safe(storage.hosts, host, device, device_formats.QCOW2, name)
        storage.hosts.run(host, waiting + make(device), what, timeout=None)
