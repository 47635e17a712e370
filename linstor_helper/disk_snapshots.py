# SPDX-License-Identifier: Apache-2.0
"""The snapshots of disks and images that OpenNebula asks for.

They are LINSTOR snapshots of the volume.  Where its storage has none (plain LVM before LINSTOR 1.35) a snapshot is a
full copy of the volume, one of its companions.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import NamedTuple

from linstor_helper import companions, copying, names, snapshots
from linstor_helper.copying import Wanted
from linstor_helper.errors import CannotSnapshot, ConflictError, Error, NotFoundError, RefusedError
from linstor_helper.names import Owner
from linstor_helper.ports import ResourceDefinition, Snapshot, Warn
from linstor_helper.snapshots import Quiet
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo

_CLOCKS_DIFFER = 10
"""Seconds by which OpenNebula's clock may be ahead of the controller's."""


class Asked(NamedTuple):
    """Which of OpenNebula's calls it was."""

    vm: int
    disk: int
    at: int | None
    """Seconds since the epoch, by OpenNebula's clock; None when it does not say."""

    @property
    def note(self) -> str:
        return f"VM {self.vm} disk {self.disk} at {self.at}"


def create(
    storage: Storage,
    name: str,
    snapshot_id: int,
    owner: Owner,
    undo: Undo,
    warn: Warn,
    *,
    asked: Asked,
    limit: int | None,
    quiet: Quiet = nullcontext,
) -> None:
    """Takes a snapshot of a volume that belongs to ``owner``.

    One that was ``asked`` for by another call has the name of this one by accident.  ``limit`` is the number of
    snapshots that the volume may have; ``quiet`` keeps its guest from writing meanwhile.
    Raises RefusedError when there are as many already, ConflictError when the name is taken.
    """
    controller, label = storage.controller, names.snapshot(snapshot_id)
    known = controller.snapshots(name)
    found = snapshots.find(known, label)
    if found is not None and found.usable:
        _require_same(name, found, asked)
        warn(f"{name} has snapshot {label} already, and keeps it")
        return
    copying.forget_passing_snapshots(storage, name, known)
    if limit is not None:
        taken = sum(names.is_snapshot(one.name) for one in known)
        _require_room(storage, name, names.snapshot_ending(snapshot_id), taken, limit)
    # A record of an earlier run that failed.
    snapshots.delete(controller, name, known, label)
    try:
        snapshots.take(storage, name, label, warn, quiet, asked.note)
    except CannotSnapshot as refusal:
        warn(f"snapshot {snapshot_id} of {name} is a full copy, crash-consistent if its VM runs: {refusal}")
        owner = owner._replace(snapshot=f"{snapshot_id} {asked.note}")
        _copy(storage, name, names.snapshot_ending(snapshot_id), owner, undo, warn, refusal)


def remove(storage: Storage, name: str, snapshot_id: int, warn: Warn) -> None:
    """Deletes a snapshot, also while the volume is in use; one that is not there is gone."""
    controller, label = storage.controller, names.snapshot(snapshot_id)
    ending = names.snapshot_ending(snapshot_id)
    if snapshots.delete(controller, name, controller.snapshots(name), label):
        return
    definition = controller.resource_definition(name)
    if definition is not None and ending in names.companions(definition.properties):
        companions.drop(controller, storage.clock, name, ending, storage.settings.instance)
    else:
        warn(f"{name} has no snapshot {label} any more")


def copy(storage: Storage, name: str, snapshot_id: int, wanted: Wanted, undo: Undo, warn: Warn) -> None:
    """Makes sure that there is a complete copy of a volume as it was at a snapshot.

    Raises NotFoundError when there is no such snapshot."""
    definition = storage.controller.resource_definition(name)
    ending = names.snapshot_ending(snapshot_id)
    if definition is not None and ending in names.companions(definition.properties):
        copying.copy(storage, names.companion(name, ending), wanted, undo, warn)
    else:
        copying.copy_snapshot(storage, name, names.snapshot(snapshot_id), wanted, undo, warn)


def copies(definition: ResourceDefinition | None) -> list[str]:
    """The endings of those companions that are snapshots."""
    known = [] if definition is None else names.companions(definition.properties)
    return [ending for ending in known if names.is_snapshot_ending(ending)]


def _require_same(name: str, found: Snapshot, asked: Asked) -> None:
    """OpenNebula counts the snapshots of a disk anew when it has forgotten all of them; LINSTOR may have kept some."""
    if found.note:
        same = found.note == asked.note
    else:
        same = asked.at is None or found.taken_at is None or found.taken_at >= asked.at - _CLOCKS_DIFFER
    if same:
        return
    raise ConflictError(
        f"{name} has a snapshot {found.name} of another time",
        hint=f"try again, or remove it if it is not needed: linstor snapshot delete {name} {found.name}",
    )


def _require_room(storage: Storage, name: str, wanted: str, taken: int, limit: int) -> None:
    controller = storage.controller
    for ending in copies(controller.resource_definition(name)):
        # Some were never made.
        there = controller.resource_definition(names.companion(name, ending)) is not None
        taken += there and ending != wanted
    if taken >= limit:
        raise RefusedError(
            f"{name} has {taken} snapshots, and LINSTOR_SNAPSHOT_LIMIT is {limit}",
            hint="delete one of them, or have the limit raised",
        )


def _copy(
    storage: Storage, name: str, ending: str, owner: Owner, undo: Undo, warn: Warn, refusal: Error
) -> None:
    controller = storage.controller
    definition = controller.resource_definition(name)
    if definition is None:
        raise NotFoundError(f"LINSTOR has no resource {name}") from refusal
    undo.push(f"a companion of {name}", lambda: companions.forget(controller, name, ending))
    companions.add(controller, definition, ending)
    copy_name = names.companion(name, ending)
    try:
        copying.copy(storage, name, Wanted(copy_name, owner, in_place=True), undo, warn)
    except ConflictError as conflict:
        raise ConflictError(
            f"{name} has a snapshot {copy_name} of another time",
            details=str(conflict),
            hint=f"try again, or remove it if it is not needed: linstor resource-definition delete {copy_name}",
        ) from conflict
