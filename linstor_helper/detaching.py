# SPDX-License-Identifier: Apache-2.0
"""Taking a disk from a VM: the image stays, the VM's own volumes go, and nobody else's disk is touched."""

from __future__ import annotations

import posixpath
from typing import Callable

from linstor_helper import host_commands, names, volumes
from linstor_helper.attach import nodes_called
from linstor_helper.errors import HostUnreachable, UsageError
from linstor_helper.location import Location
from linstor_helper.storage import Storage

Warn = Callable[[str], None]


def detach(storage: Storage, name: str, location: Location, *, exclusive: bool, warn: Warn) -> None:
    """Removes a VM's link to a volume, and the volume from the host when no other VM there is linked to it.

    A CD-ROM is only read, and LINSTOR does not see a reader: the links of the VMs on the host are what tells.  When
    the host cannot be asked, an ``exclusive`` volume (the VM was its only user) is released all the same; any other
    stays.  Replicas with a disk and the tie-breaker always stay.
    """
    script = host_commands.unlink_and_list_others(
        location.path, host_commands.by_res(name), _datastores(location)
    )
    try:
        others = storage.hosts.run(location.host, script, f"unlinking {name}").split()
    except HostUnreachable as error:
        if not exclusive:
            warn(
                f"{name} stays attached to {location.host}, since nobody can tell who uses it there: {error}"
            )
            return
        warn(f"the link {location} stays: {error}")
        others = []
    if others:
        warn(f"{name} stays attached to {location.host}, where {', '.join(others)} use it")
        return
    timeout = storage.settings.attach_timeout
    volumes.retry_while_in_use(storage.clock, timeout, lambda: _release(storage, name, location.host))


def destroy(storage: Storage, name: str, location: Location, *, warn: Warn) -> None:
    """Deletes a volume that belongs to a VM alone, with its snapshots, and the VM's link to it."""
    volumes.discard(storage.controller, storage.clock, name, storage.settings.attach_timeout)
    try:
        storage.hosts.run(location.host, host_commands.unlink(location.path), f"unlinking {name}")
    except HostUnreachable as error:
        warn(f"the link {location} stays: {error}")


def remove_vm_directory(storage: Storage, location: Location, vm_id: int, *, warn: Warn) -> None:
    """Removes ``<datastores>/<datastore>/<vm>`` on a host, and the context volume that addon-linstor 2.x may have left.

    Raises UsageError for any other path.
    """
    if (
        posixpath.basename(location.path) != str(vm_id)
        or not posixpath.basename(location.directory).isdigit()
    ):
        raise UsageError(f"{location} is not the directory of VM {vm_id}")
    script = host_commands.disk_links(location.path) + host_commands.remove_directory(location.path)
    try:
        devices = storage.hosts.run(location.host, script, f"removing {location.path}").split()
    except HostUnreachable as error:
        warn(f"the directory {location} stays: {error}")
        return
    for resource in map(host_commands.resource_of, devices):
        if names.is_legacy_context(resource, vm_id):
            volumes.discard(storage.controller, storage.clock, resource, storage.settings.attach_timeout)


def _release(storage: Storage, name: str, host: str) -> None:
    """Also from a host whose LINSTOR node has another name; a host that is no node has nothing to release."""
    controller = storage.controller
    if controller.release(name, host):
        return
    clients = {one.node for one in controller.resources(name) if one.diskless and not one.tie_breaker}
    if clients and not any(names.same(client, host) for client in clients):
        for node in nodes_called(host, controller.nodes()):
            if node.name in clients:
                controller.release(name, node.name)


def _datastores(location: Location) -> str:
    """The directory of all system datastores, from the path of a disk in one of them."""
    return posixpath.dirname(posixpath.dirname(location.directory))
