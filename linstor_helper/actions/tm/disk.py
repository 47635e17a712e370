# SPDX-License-Identifier: Apache-2.0
"""What the actions on a disk that a VM has already have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from linstor_helper import disk_snapshots, quiesce, settings, vm_disks
from linstor_helper.call import DiskCall, expect, number, read_disk_call
from linstor_helper.disk_snapshots import Asked
from linstor_helper.names import Owner
from linstor_helper.onexml import Vm
from linstor_helper.settings import Settings
from linstor_helper.snapshots import Quiet
from linstor_helper.storage import Storage
from linstor_helper.vm_disks import VmDisk

if TYPE_CHECKING:
    from linstor_helper.context import Context


class Subject(NamedTuple):
    """The disk of a VM on which an action works."""

    call: DiskCall
    vm: Vm
    found: VmDisk
    storage: Storage

    @property
    def resource(self) -> str:
        return self.found.resource

    @property
    def owner(self) -> Owner:
        """Of the disk's volume."""
        disk = self.found.disk
        if not self.found.own:
            return self.storage.owner(image=disk.image_id)
        return self.storage.owner(image=disk.image_id, vm=self.vm.id, disk=disk.id)

    def asked(self, snapshot_id: int) -> Asked:
        """When the snapshot was asked for."""
        disk_id = self.found.disk.id
        return Asked(self.vm.id, disk_id, self.vm.snapshots.get((disk_id, snapshot_id)))

    @property
    def settings(self) -> Settings:
        """What the datastore says, and the VM."""
        return settings.for_vm(self.storage.settings, self.vm)


def read_subject(context: Context, call: DiskCall) -> Subject:
    """Raises UsageError."""
    vm = context.vm(call.vm_id)
    found = vm_disks.identify(vm.id, vm.disk(call.location.disk_id))
    return Subject(call, vm, found, context.storage_of(call.datastore_id))


def read_snapshot_call(context: Context, args: Sequence[str]) -> tuple[Subject, int]:
    """The disk and the id of its snapshot.  Raises UsageError."""
    place, snapshot_id, *rest = expect(args, "HOST:PATH SNAPSHOT VM DATASTORE")
    subject = read_subject(context, read_disk_call([place, *rest]))
    return subject, number(snapshot_id, "the snapshot's id")


def quiet(context: Context, subject: Subject, what: str) -> Quiet:
    """Keeps the guest of a running VM from writing to its disks, unless LINSTOR_FSFREEZE forbids that."""

    def tell(consistency: str) -> None:
        context.log.event(f"{what} of {subject.resource} is {consistency}")

    @contextmanager
    def undisturbed() -> Iterator[None]:
        yield
        tell("crash-consistent: LINSTOR_FSFREEZE is NO")

    if not subject.settings.fsfreeze:
        return undisturbed
    host, domain = subject.call.location.host, subject.vm.deploy_id
    return partial(quiesce.quiesced, subject.storage.hosts, host, domain, tell, context.log.warning)


def take_snapshot(context: Context, args: Sequence[str], *, running: bool) -> None:
    """Takes a snapshot of a disk whose VM is ``running`` or not."""
    subject, snapshot_id = read_snapshot_call(context, args)
    with context.locks.hold(subject.resource), context.undo() as undo:
        disk_snapshots.create(
            subject.storage,
            subject.resource,
            snapshot_id,
            subject.owner,
            undo,
            context.log.warning,
            asked=subject.asked(snapshot_id),
            limit=subject.settings.snapshot_limit,
            quiet=quiet(context, subject, f"snapshot {snapshot_id}") if running else nullcontext,
        )
