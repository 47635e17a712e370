# SPDX-License-Identifier: Apache-2.0
"""What ``premigrate``, ``postmigrate`` and ``failmigrate`` have in common."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from linstor_helper import migration, onexml, vm_directory, vm_disks
from linstor_helper.call import number
from linstor_helper.errors import CommandFailed, Error, Interrupted, UsageError
from linstor_helper.lifecycle import DRIVER
from linstor_helper.location import Location
from linstor_helper.onexml import Vm
from linstor_helper.storage import Storage
from linstor_helper.vm_disks import VmDisk

if TYPE_CHECKING:
    from linstor_helper.context import Context

_FRONT = ("SOURCE_HOST", "TARGET_HOST", "DIRECTORY", "VM", "DATASTORE")


class LiveCall(NamedTuple):
    """``SOURCE_HOST TARGET_HOST DIRECTORY VM DATASTORE [SYSTEM_TM]`` with the VM on standard input.

    The sixth argument is there when the system datastore's driver is another one, which calls us for our disks.
    """

    source: Location
    """The VM's directory on the host where it runs."""
    target: Location
    arguments: Sequence[str]
    payload: bytes
    vm: Vm
    datastore_id: int
    system_tm: str

    @property
    def is_system(self) -> bool:
        """Whether the directory of the VM is ours, too."""
        return self.system_tm == DRIVER

    @property
    def stays(self) -> bool:
        return self.source.host == self.target.host

    def disks(self) -> list[VmDisk]:
        return vm_disks.of_driver(self.vm, self.system_tm)


def read_live_call(args: Sequence[str], stdin: BinaryIO) -> LiveCall:
    """Raises UsageError."""
    payload = onexml.drain(stdin)
    if len(args) not in (5, 6):
        raise UsageError(f"expected {' '.join(_FRONT)} [SYSTEM_TM] as arguments, got {len(args)} arguments")
    source, target, directory, vm_id, datastore_id = args[:5]
    vm = onexml.read_vm(payload)
    if vm.id != number(vm_id, "the VM's id"):
        raise UsageError(f"the XML on standard input is of VM {vm.id}, not of VM {vm_id}")
    here = Location.parse(f"{source}:{directory}")
    vm_directory.require_directory(here, vm.id)
    return LiveCall(
        here,
        Location.parse(f"{target}:{directory}"),
        args[:5],
        payload,
        vm,
        number(datastore_id, "the datastore's id"),
        args[5] if len(args) == 6 else DRIVER,
    )


def storages(context: Context, call: LiveCall) -> Iterator[tuple[VmDisk, Storage]]:
    """The disks with the storage of each; one connection for all disks of a datastore."""
    known: dict[int, Storage] = {}
    for found in call.disks():
        datastore_id = found.datastore_id(call.datastore_id)
        if datastore_id not in known:
            known[datastore_id] = context.storage_of(datastore_id)
        yield found, known[datastore_id]


def call_other_drivers(context: Context, action: str, call: LiveCall) -> None:
    """OpenNebula calls only the system datastore's driver; that calls those of the other disks.

    Raises CommandFailed.
    """
    if not call.is_system:
        return
    for driver in vm_disks.other_drivers(call.vm):
        program = os.path.join(context.layout.remotes, "tm", driver, action)
        try:
            context.hosts.local([program, *call.arguments, DRIVER], stdin=call.payload)
        except CommandFailed as error:
            raise CommandFailed(
                f"{action} of driver {driver} failed for VM {call.vm.id}",
                status=error.status,
                details=error.details or str(error),
            ) from error


def leave(context: Context, action: str, call: LiveCall, *, left: Location, kept: Location) -> None:
    """Takes the VM's disks and directory from the host that it has left, or to which it did not come.

    One disk that cannot be taken does not keep the others; the directory stays as long as a disk is in use there.
    """
    warn = context.log.warning
    usage = context.usage(call.vm.id)
    disks = list(storages(context, call))
    with context.locks.hold(*(found.resource for found, _ in disks)):
        failures = []
        for found, storage in disks:
            try:
                migration.end(storage, found, left.disk(found.disk.id), kept.host, usage, warn)
            except Interrupted:
                raise
            except Error as error:
                context.log.warning(f"{found.resource} is not taken from {left.host}: {error}")
                failures.append(error)
        if call.is_system and not failures:
            with context.undo() as undo:
                storage = context.storage_of(call.datastore_id)
                vm_directory.remove_if_not_shared(storage, left, kept, call.vm.id, undo, warn)
    call_other_drivers(context, action, call)
    if failures:
        raise failures[0]
