# SPDX-License-Identifier: Apache-2.0
"""The directory of a VM, ``<datastores>/<datastore>/<vm>``: descriptions, context, checkpoint, links to its volumes.

It travels by way of the front-end, so that hosts need not trust each other.  The links stay behind: they are made
where the volumes are attached.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from linstor_helper import host_commands, names, transfer, volumes
from linstor_helper.errors import CommandFailed, HostUnreachable, UsageError
from linstor_helper.location import Location
from linstor_helper.ports import Hosts, Stream, Warn
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo


def require_directory(location: Location, vm_id: int) -> None:
    """Raises UsageError when it is not the path of the directory of this VM: it may come to be removed."""
    if (
        posixpath.basename(location.path) != str(vm_id)
        or not posixpath.basename(location.directory).isdigit()
    ):
        raise UsageError(f"{location} is not the directory of VM {vm_id}")


def move(storage: Storage, source: Location, target: Location, vm_id: int, undo: Undo, warn: Warn) -> None:
    """Moves a VM's directory, or what is still there of it.  Where both places are one directory nothing happens."""
    if source == target:
        return
    if source.host == target.host:
        script = host_commands.move_entries(source.path, target.path)
        storage.hosts.run(source.host, script, f"moving {source.path}", timeout=None)
    elif not copy(storage.hosts, source, target, undo):
        return
    remove(storage, source, vm_id, warn)


def copy(hosts: Hosts, source: Location, target: Location, undo: Undo) -> bool:
    """Copies a VM's directory to another host, over what is there.  False when both are one directory on a shared
    file system.  A source that is not there is an empty one."""
    with _probe(hosts, target, undo) as probe:
        packing = host_commands.pack(source.path, probe)
        with hosts.read(source.host, packing, f"reading {source.path}") as stream:
            word = stream.read(len(host_commands.PACKED)).decode(errors="replace")
            if word == host_commands.PACKED:
                _unpack(hosts, stream, target)
        if word not in (host_commands.PACKED, host_commands.SAME, host_commands.ABSENT):
            raise CommandFailed(f"reading {source} ended early", status=0)
    return word != host_commands.SAME


def remove_if_not_shared(
    storage: Storage, gone: Location, kept: Location, vm_id: int, undo: Undo, warn: Warn
) -> None:
    """Removes a VM's directory on a host that the VM has left, unless it is the same one as on the host ``kept``."""
    with _probe(storage.hosts, kept, undo) as probe:
        path = posixpath.join(gone.path, probe)
        try:
            seen = storage.hosts.run(gone.host, host_commands.tell(host_commands.has_file(path)))
        except HostUnreachable as error:
            warn(f"the directory {gone} stays: {error}")
            return
    if seen.strip() == "no":
        remove(storage, gone, vm_id, warn)


def remove(storage: Storage, location: Location, vm_id: int, warn: Warn) -> None:
    """Removes a VM's directory on a host, and the context volume that addon-linstor 2.x may have left there.

    Raises UsageError for any other path.
    """
    require_directory(location, vm_id)
    script = host_commands.disk_links(location.path) + host_commands.remove_directory(location.path)
    try:
        devices = storage.hosts.run(location.host, script, f"removing {location.path}").split()
    except HostUnreachable as error:
        warn(f"the directory {location} stays: {error}")
        return
    for resource in map(host_commands.resource_of, devices):
        if names.is_legacy_context(resource, vm_id):
            volumes.discard(storage.controller, storage.clock, resource, storage.settings.attach_timeout)


def _unpack(hosts: Hosts, stream: Stream, target: Location) -> None:
    def feed() -> Iterator[bytes]:
        for _, chunk in transfer.chunks_of_stream(stream):
            yield host_commands.piece(len(chunk))
            yield chunk
        yield host_commands.unpacked()

    script = host_commands.unpack(target.path)
    hosts.run(target.host, script, f"writing {target.path}", feed=feed(), timeout=None)


@contextmanager
def _probe(hosts: Hosts, directory: Location, undo: Undo) -> Iterator[str]:
    """The name of a file in the directory that is nowhere else."""
    script = host_commands.make_probe(directory.path)
    name = hosts.run(directory.host, script, f"making {directory.path}").strip()
    path, tidying = posixpath.join(directory.path, name), f"tidying {directory.path}"
    undo.push(f"{directory}/{name}", lambda: hosts.run(directory.host, host_commands.unlink(path), tidying))
    yield name
    hosts.run(directory.host, host_commands.remove_probe(path), tidying)
