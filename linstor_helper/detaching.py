# SPDX-License-Identifier: Apache-2.0
"""Taking a disk from a VM or from a host: the image stays, the VM's own volumes go, nobody else's disk is touched."""

from __future__ import annotations

import posixpath
from typing import Callable, Optional

from linstor_helper import host_commands, names, volumes
from linstor_helper.errors import HostUnreachable, InUseError
from linstor_helper.location import Location
from linstor_helper.nodes import is_host, nodes_called, on_host, resource_of_host
from linstor_helper.ports import Warn
from linstor_helper.storage import Storage
from linstor_helper.usage import Usage
from linstor_helper.vm_disks import VmDisk

Linked = Optional[set[int]]
"""Ids of the VMs that have a link to a volume on a host; None when the host does not answer."""


def unlink(storage: Storage, name: str, location: Location, warn: Warn) -> Linked:
    """Removes a VM's link to a volume; the VMs that have another one on the same host, be it the same VM."""
    return _links(storage, name, location, warn, remove=True)


def linked_vms(storage: Storage, name: str, location: Location, warn: Warn) -> Linked:
    """The VMs besides that of ``location`` that have a link to the volume on its host."""
    own = host_commands.vm_of_link(location.path)
    found = _links(storage, name, location, warn, remove=False)
    return None if found is None else {vm for vm in found if vm != own}


def leave(
    storage: Storage,
    found: VmDisk,
    host: str,
    usage: Usage,
    linked: Callable[[], Linked],
    warn: Warn,
    *,
    keep: str | None = None,
) -> None:
    """Takes a disk from the host that its VM leaves; ``keep`` is the host to which it goes, if any.

    The VM's own volume, and an image that no other VM has, leave all hosts but ``keep``: also one where a migration
    that failed has left them.  An image that others have leaves only ``host``, and that only when none of them is
    there.  Who has it is OpenNebula's knowledge; VMs on the host that are ``linked`` to it count as well.
    """
    if found.own:
        withdraw(storage, found.resource, keep=keep)
        return
    others = usage.others(found.disk.image_id)
    alone = others is not None and not others
    known = None if alone and found.exclusive else linked()
    if alone and not known:
        withdraw(storage, found.resource, keep=keep)
        if found.shareable and keep is None:
            storage.controller.modify(found.resource, {}, names.SHARING)
        return
    if others is None and known is None and not found.exclusive:
        warn(f"{found.resource} stays attached to {host}: nobody tells who uses it there")
        return
    if keep is not None and is_host(host, keep):
        return
    here = usage.on_host(host, (others or set()) | (known or set()))
    if here:
        vms = " and ".join(f"VM {vm}" for vm in sorted(here))
        warn(f"{found.resource} stays attached to {host} for {vms}")
        return
    timeout = storage.settings.attach_timeout
    volumes.retry_while_in_use(
        storage.clock, timeout, lambda: _release(storage, found.resource, host, shared=found.shareable)
    )


def withdraw(storage: Storage, name: str, *, keep: str | None) -> None:
    """Leaves a volume to the one host ``keep``, or to none: diskless resources go from all others, and no two nodes
    may write any more.  Raises InUseError while another node has it open."""
    controller = storage.controller

    def attempt() -> None:
        deployed = controller.resources(name)
        kept = None if keep is None else resource_of_host(controller, deployed, keep)
        resources = [r for r in deployed if r is not kept]
        users = sorted(r.node for r in resources if r.in_use)
        if users:
            raise InUseError(
                f"{name} is in use on {' and '.join(users)}", hint="is the VM still running there?"
            )
        present = [r for r in resources if not r.deleting]
        clients = [r.node for r in present if r.diskless and not r.tie_breaker]
        # The release of any node ends a migration as well, also when there is nothing else to take away.
        for node in clients or [r.node for r in present if not r.tie_breaker][:1]:
            controller.release(name, node, resources=deployed)

    volumes.retry_while_in_use(storage.clock, storage.settings.attach_timeout, attempt)


def drop_clients(storage: Storage, name: str) -> None:
    """Takes a new copy, which nobody has opened, from the nodes that have no replica.

    LINSTOR's clone gives it a diskless resource wherever its original has one."""
    deployed = storage.controller.resources(name)
    for one in deployed:
        if one.diskless and not (one.tie_breaker or one.deleting):
            storage.controller.release(name, one.node, resources=deployed)


def destroy(storage: Storage, name: str, location: Location, *, warn: Warn) -> None:
    """Deletes a volume that belongs to a VM alone, with its snapshots, and the VM's link to it."""
    settings = storage.settings
    volumes.discard_own(
        storage.controller, storage.clock, name, settings.instance, settings.attach_timeout, warn
    )
    try:
        storage.hosts.run(location.host, host_commands.unlink(location.path), f"unlinking {name}")
    except HostUnreachable as error:
        warn(f"the link {location} stays: {error}")


def _links(storage: Storage, name: str, location: Location, warn: Warn, *, remove: bool) -> Linked:
    script = host_commands.list_other_links(
        location.path, host_commands.by_res(name), _datastores(location), remove=remove
    )
    try:
        found = storage.hosts.run(location.host, script, f"looking for links to {name}").split()
    except HostUnreachable as error:
        warn(f"the links to {name} on {location.host} are unknown: {error}")
        return None
    return {vm for vm in map(host_commands.vm_of_link, found) if vm is not None}


def _release(storage: Storage, name: str, host: str, *, shared: bool) -> None:
    """Also from a host whose LINSTOR node has another name; a host that is no node has nothing to release."""
    controller = storage.controller
    if controller.release(name, host, shared=shared):
        return
    resources = controller.resources(name)
    clients = {one.node for one in resources if one.diskless and not one.tie_breaker}
    if clients and on_host(resources, host) is None:
        for node in nodes_called(host, controller.nodes()):
            if node.name in clients:
                controller.release(name, node.name, shared=shared)


def _datastores(location: Location) -> str:
    """The directory of all system datastores, from the path of a disk in one of them."""
    return posixpath.dirname(posixpath.dirname(location.directory))
