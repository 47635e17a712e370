# SPDX-License-Identifier: Apache-2.0
"""Live migration: for its time, and only then, two nodes may have a volume open for writing.

``begin`` opens that window as late and as narrowly as the server can, ``end`` closes it and looks whether it is
closed.  What an end that never came has left behind (OpenNebula's own drivers forward no ``failmigrate``) goes with the
next ``begin``, ``mv`` or detachment of the volume.
"""

from __future__ import annotations

from collections.abc import Sequence

from linstor_helper import attach, detaching, names
from linstor_helper.attach import Attachment, as_node
from linstor_helper.errors import ControllerError, Error, Interrupted, InUseError, NotReadyError
from linstor_helper.location import Location
from linstor_helper.nodes import node_of, on_host, resource_of_host
from linstor_helper.ports import Resource, Warn
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.usage import Usage
from linstor_helper.vm_disks import VmDisk


def begin(
    storage: Storage,
    found: VmDisk,
    source: str,
    target: Location,
    undo: Undo,
    warn: Warn,
    *,
    linked: bool = True,
) -> None:
    """Makes a disk of a VM that runs on ``source`` usable at ``target``, too, and links it there.

    ``linked``: False where the link at ``target`` is that of the running VM.
    """
    if not found.exclusive:
        attach.connect(storage, found.resource, target, undo, warn, linked=linked, shared=found.shareable)
        return
    attachment = _open_window(storage, found.resource, source, target.host, undo)
    attach.wait_and_link(storage, attachment, target, undo, linked=linked)


def end(storage: Storage, found: VmDisk, left: Location, kept: str, usage: Usage, warn: Warn) -> None:
    """Takes a disk from the host that the VM has left, or to which it never came; ``kept`` is where the VM is.

    The links go with the directory.  Raises InUseError while anybody but ``kept`` has the volume open.
    """
    try:
        detaching.leave(
            storage,
            found,
            left.host,
            usage,
            lambda: detaching.linked_vms(storage, found.resource, left, warn),
            warn,
            keep=kept,
        )
    except InUseError:
        # The VM runs where nobody expects it: all the more nobody else may write.
        if found.exclusive:
            _close_quietly(storage, found.resource, warn)
        raise
    if found.exclusive:
        _require_closed(storage, found.resource)


def _open_window(storage: Storage, name: str, source: str, host: str, undo: Undo) -> Attachment:
    controller = storage.controller
    resources = controller.resources(name)
    origin = resource_of_host(controller, resources, source)
    target = on_host(resources, host)
    deployed = [r for r in resources if "DRBD" in r.layers]
    if not deployed:
        raise NotReadyError(
            f"{name} has no DRBD: a running VM cannot take it to another host",
            hint="power the VM off to migrate it",
        )
    _require_no_third(name, host, resources, origin)
    third = [r.node for r in resources if not (r is origin or r is target or r.tie_breaker or r.deleting)]
    for leftover in (r.node for r in resources if r.diskless and r.node in third):
        attach.close(controller, storage.clock, name, leftover)
    from_node = (
        origin.node if origin else node_of(controller, source, NotReadyError(f"{source} is unknown")).name
    )
    clients = (origin is None or origin.diskless) and (target is None or target.diskless)

    def attempt(node: str) -> str:
        undo.push(
            f"{name} attached to {node}",
            lambda: attach.close(controller, storage.clock, name, node),
        )
        try:
            controller.let_migrate(name, from_node, node, clients=clients)
        except NotReadyError:
            # To LINSTOR a migration to another node may still be under way; to OpenNebula it is not.
            if not third:
                raise
            for other in third:
                controller.release(name, other)
            controller.let_migrate(name, from_node, node, clients=clients)
        return node

    node = as_node(controller, target.node if target else host, attempt)
    return Attachment(node, attach.device_of(deployed[0]))


def _require_no_third(name: str, host: str, resources: Sequence[Resource], origin: Resource | None) -> None:
    users = sorted(r.node for r in resources if r.in_use and r is not origin)
    if users:
        raise InUseError(
            f"{name} is in use on {' and '.join(users)}",
            hint=f"the VM is not taken to {host}; is it running twice?",
        )


def _close_quietly(storage: Storage, name: str, warn: Warn) -> None:
    try:
        _require_closed(storage, name)
    except Interrupted:
        raise
    except Error as error:
        warn(f"two nodes may still write to {name}: {error}")


def _require_closed(storage: Storage, name: str) -> None:
    controller = storage.controller
    controller.forbid_on_definition(name)
    left = controller.two_primaries(name)
    for pair in left:
        controller.forbid_two_primaries(name, pair)
    if left and controller.two_primaries(name):
        pairs = ", ".join("-".join(pair) for pair in left)
        raise ControllerError(
            f"two nodes may still write to {name}: {pairs}",
            hint=f"remove {names.TWO_PRIMARIES} of that resource connection in LINSTOR",
        )
