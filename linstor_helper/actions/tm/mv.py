# SPDX-License-Identifier: Apache-2.0
"""``tm/linstor/mv``: a VM that does not run changes its host or its system datastore, or leaves all hosts.

OpenNebula sends it for each disk and, last, for the VM's directory.  No data moves: another host is given the device.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

from linstor_helper import attach, detaching, lifecycle, moving, onexml, vm_directory, vm_disks
from linstor_helper.call import DiskCall, expect, number, read_disk_call
from linstor_helper.errors import ControllerUnavailable, Error, HostUnreachable, NotReadyError
from linstor_helper.location import Location
from linstor_helper.onexml import Vm
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.vm_disks import VmDisk

if TYPE_CHECKING:
    from linstor_helper.context import Context


def run(context: Context, args: Sequence[str], stdin: BinaryIO) -> str:
    origin, *rest = expect(args, "HOST:PATH HOST:PATH VM DATASTORE")
    source, call = Location.parse(origin), read_disk_call(rest)
    vm = context.vm(call.vm_id)
    storage = context.storage_of(call.datastore_id)
    if call.location.is_disk:
        source.require_disk()
        found = vm_disks.identify(vm.id, vm.disk(call.location.disk_id))
        with context.locks.hold(found.resource), context.undo() as undo:
            _move_disk(context, storage, found, vm, source, call, undo)
    else:
        vm_directory.require_directory(source, vm.id)
        vm_directory.require_directory(call.location, vm.id)
        _move_directory(context, storage, vm, source, call.location)
    return ""


def _move_disk(
    context: Context, storage: Storage, found: VmDisk, vm: Vm, source: Location, call: DiskCall, undo: Undo
) -> None:
    """The new host gets the disk before the old one loses it, so that a failure leaves the VM where it was."""
    if lifecycle.leaves_all_hosts(vm.lcm_state):
        _leave(context, storage, found, vm, source, keep=None)
        return
    target = call.location
    original = _change_datastore(context, storage, found, vm, source, target, undo)
    attachment = attach.connect(
        storage,
        found.resource,
        target,
        undo,
        context.log.warning,
        linked=lifecycle.mv_makes_links(vm.system_tm, vm.lcm_state),
        shared=found.shareable,
        # A lost host may still run the VM; only LINSTOR could tell.
        unasked=not lifecycle.source_is_lost(vm.lcm_state),
    )
    if original is not None:
        # The copy is what the VM has from here on, whatever comes after.
        undo.commit()
        moving.discard_original(original, found.resource)
    nothing_to_leave = source.host == target.host or lifecycle.comes_from_front_end(vm.lcm_state)
    if found.exclusive or not nothing_to_leave:
        try:
            _leave(context, storage, found, vm, source, keep=attachment.node)
        except (ControllerUnavailable, NotReadyError) as error:
            # The VM has its disk; what stays elsewhere goes with the next action.
            if not (lifecycle.source_is_lost(vm.lcm_state) or isinstance(error, ControllerUnavailable)):
                raise
            context.log.warning(f"{found.resource} may be left on other hosts: {error}")


def _leave(
    context: Context, storage: Storage, found: VmDisk, vm: Vm, source: Location, keep: str | None
) -> None:
    warn = context.log.warning

    def linked() -> detaching.Linked:
        lost = lifecycle.source_is_lost(vm.lcm_state)
        return None if lost else detaching.linked_vms(storage, found.resource, source, warn)

    detaching.leave(storage, found, source.host, context.usage(vm), linked, warn, keep=keep)


def _change_datastore(
    context: Context,
    storage: Storage,
    found: VmDisk,
    vm: Vm,
    source: Location,
    target: Location,
    undo: Undo,
) -> Storage | None:
    """A volatile disk belongs to the system datastore and follows it; the others stay in their image datastore.

    Returns the old datastore when the volume had to be copied from there.
    """
    if not found.disk.volatile or source.directory == target.directory:
        return None
    old_id = number(posixpath.basename(posixpath.dirname(source.directory)), "the old datastore's id")
    origin = context.storage_of(old_id)
    owner = storage.owner(vm=vm.id, disk=found.disk.id)
    return origin if moving.follow(origin, storage, found.resource, owner, undo) else None


def _move_directory(context: Context, storage: Storage, vm: Vm, source: Location, target: Location) -> None:
    if lifecycle.source_is_lost(vm.lcm_state):
        context.log.event(f"the directory {source} stays on a host that is lost")
        return
    warn = context.log.warning
    try:
        with context.undo() as undo:
            vm_directory.move(storage, source, target, vm.id, undo, warn)
    except HostUnreachable as error:
        if not (lifecycle.was_powered_off(vm.lcm_state) and _is_dead(context, vm, source.host)):
            raise
        warn(f"the directory {source} stays: {error}")


def _is_dead(context: Context, vm: Vm, host: str) -> bool:
    """Whether OpenNebula has given the host up."""
    host_id = vm.host_ids.get(host)
    try:
        return host_id is not None and onexml.parse_host(context.one.host(host_id)).dead
    except Error:
        return False
