# SPDX-License-Identifier: Apache-2.0
"""Copies of a volume, of one point in time, by the best means that its storage has.

    clone                   where the provider has clones (LVM, LVM_THIN, ZFS)
    snapshot and restore    where it has only snapshots (FILE), and while a guest has to be kept quiet
    bytes                   where it has neither, and between clusters

A restored volume stays in the pools of the snapshot.  Into another resource group it goes by way of a restored volume
that is then cloned, or copied; so does a full copy on ZFS, where what is restored depends on the snapshot for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Callable, NamedTuple

from linstor_helper import contents, detaching, filling, names, snapshots, transfer, volumes
from linstor_helper.errors import CannotClone, CannotSnapshot, NoSpaceError, NotFoundError
from linstor_helper.names import Owner
from linstor_helper.ports import ResourceDefinition, Snapshot, Warn
from linstor_helper.snapshots import Quiet
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.units import Size

_NOTHING: Mapping[str, str] = {}


class Wanted(NamedTuple):
    """What the copy shall be."""

    name: str
    owner: Owner
    size: Size = Size(0)
    """At least; never less than the original."""
    dependent: bool = False
    """Whether it may share blocks with its original for ever (ZFS)."""
    in_place: bool = False
    """Whether it stays in the resource group of its original, and not in the datastore's."""
    more: Mapping[str, str] = _NOTHING
    """Further properties for it."""
    adopt: bool = False
    """Whether a volume of that name that has no mark of ours counts as the copy."""
    finish: Callable[[], None] | None = None
    """What remains to do with a new copy before it counts as complete."""

    @property
    def turn(self) -> int:
        """Spreads the hosts through which bytes go."""
        return self.owner.vm or self.owner.image or 0


_FORGOTTEN = 24 * 60 * 60.0
"""Seconds after which a passing snapshot is one that a killed run has left."""


def copy(
    storage: Storage, source: str, wanted: Wanted, undo: Undo, warn: Warn, quiet: Quiet | None = None
) -> None:
    """Makes sure that there is a complete copy of ``source`` as it is now, in the datastore's resource group.

    ``quiet``: while its content is fixed, the guest that writes to ``source`` is kept from doing so.
    Raises NotFoundError when there is no ``source``.
    """
    if quiet is None:
        try:
            _clone(storage, _require(storage, source), wanted, undo)
        except CannotClone as refusal:
            copy_without_clones(storage, source, wanted, undo, warn, refusal)
    else:
        try:
            _copy_by_snapshot(storage, source, wanted, undo, warn, quiet)
        except CannotSnapshot as refusal:
            # REST guide 2.11: the source of a clone may be in use.
            warn(f"{source} is cloned while its guest writes, crash-consistent: {refusal}")
            _clone(storage, _require(storage, source), wanted, undo)
    detaching.drop_clients(storage, wanted.name)


def copy_without_clones(
    storage: Storage, source: str, wanted: Wanted, undo: Undo, warn: Warn, refusal: CannotClone
) -> None:
    """As ``copy``, after the refusal of a clone."""
    try:
        _copy_by_snapshot(storage, source, wanted, undo, warn, nullcontext)
    except CannotSnapshot:
        warn(f"the bytes of {source} are copied: {refusal}")
        _copy_bytes(storage, source, wanted, undo)


def _copy_by_snapshot(
    storage: Storage, source: str, wanted: Wanted, undo: Undo, warn: Warn, quiet: Quiet
) -> None:
    controller = storage.controller
    original = _require(storage, source)
    for one in controller.snapshots(source):
        # Of an earlier run that was killed.
        if names.is_passing_snapshot(one.name, wanted.name):
            controller.delete_snapshot(source, one.name)
    if not volumes.is_finished(controller, wanted.name, wanted.owner, wanted.adopt):
        label = names.passing_snapshot(wanted.name)
        undo.push(f"snapshot {label} of {source}", lambda: controller.delete_snapshot(source, label))
        snapshots.take(storage, source, label, warn, quiet)
        _restore(storage, original, label, wanted, undo)
        controller.delete_snapshot(source, label)
    _settle(storage, wanted.name, warn)


def forget_passing_snapshots(storage: Storage, source: str, known: Sequence[Snapshot]) -> None:
    """Deletes what killed runs have left among the snapshots of a volume; those of others that run are young."""
    for one in known:
        age = storage.clock.today() - (one.taken_at or storage.clock.today())
        if names.is_passing_snapshot(one.name) and age > _FORGOTTEN:
            storage.controller.delete_snapshot(source, one.name)


def copy_snapshot(storage: Storage, source: str, label: str, wanted: Wanted, undo: Undo, warn: Warn) -> None:
    """Makes sure that there is a complete copy of ``source`` as it was at a snapshot, in the datastore's group.

    Raises NotFoundError when there is no such snapshot that can be used."""
    original = _require(storage, source)
    found = snapshots.find(storage.controller.snapshots(source), label)
    if found is None or not found.usable:
        raise NotFoundError(f"{source} has no snapshot {label} that can be used")
    if not volumes.is_finished(storage.controller, wanted.name, wanted.owner, wanted.adopt):
        _restore(storage, original, found.name, wanted, undo)
    _settle(storage, wanted.name, warn)
    detaching.drop_clients(storage, wanted.name)


def _require(storage: Storage, source: str) -> ResourceDefinition:
    definition = storage.controller.resource_definition(source)
    if definition is None or definition.deleting or not definition.sizes:
        raise NotFoundError(f"LINSTOR has no resource {source} to copy")
    return definition


def _clone(storage: Storage, original: ResourceDefinition, wanted: Wanted, undo: Undo) -> None:
    contents.require(original.name, storage.controller.resources(original.name))
    volumes.ensure_clone(
        storage.controller,
        storage.clock,
        original.name,
        wanted.name,
        wanted.owner,
        undo,
        group=storage.settings.resource_group if _moves(storage, original, wanted) else None,
        grow_to=wanted.size if wanted.size > original.sizes[0] else None,
        adopt=wanted.adopt,
        dependent=wanted.dependent,
        more=wanted.more,
        finish=wanted.finish,
        timeout=storage.settings.clone_timeout,
    )


def _moves(storage: Storage, original: ResourceDefinition, wanted: Wanted) -> bool:
    """Whether the copy belongs to another resource group."""
    return not (wanted.in_place or names.same(storage.settings.resource_group, original.resource_group))


def _copy_bytes(storage: Storage, source: str, wanted: Wanted, undo: Undo) -> None:
    def finish() -> None:
        if wanted.more:
            storage.controller.modify(wanted.name, wanted.more)
        if wanted.finish is not None:
            wanted.finish()

    filling.copy_volume(
        storage, source, storage, wanted.name, wanted.size, wanted.owner, undo, wanted.turn, finish
    )


def _restore(storage: Storage, original: ResourceDefinition, label: str, wanted: Wanted, undo: Undo) -> None:
    controller, clock, source = storage.controller, storage.clock, original.name
    if not _moves(storage, original, wanted) and (wanted.dependent or not _ties_copies(storage, source)):
        volumes.ensure_restored(
            controller,
            clock,
            source,
            label,
            wanted.name,
            wanted.owner,
            undo,
            group=original.resource_group,
            grow_to=wanted.size if wanted.size > original.sizes[0] else None,
            adopt=wanted.adopt,
            more=wanted.more,
            finish=wanted.finish,
        )
        return
    transit = names.in_transit(wanted.name)
    # What an earlier run has left there may be of another time.
    _discard_transit(storage, wanted.name)
    volumes.ensure_restored(
        controller, clock, source, label, transit, wanted.owner, undo, group=original.resource_group
    )
    try:
        _clone(storage, _require(storage, transit), wanted, undo)
    except CannotClone:
        _copy_bytes(storage, transit, wanted, undo)


def _settle(storage: Storage, name: str, warn: Warn) -> None:
    """What comes after a copy that was made from a snapshot is complete; an earlier run may have ended right there.

    A restored volume is only where the snapshot is; a node may have been offline then."""
    _discard_transit(storage, name)
    try:
        storage.controller.place(name)
    except NoSpaceError as error:
        warn(f"{name} has too few replicas: {error}")


def _discard_transit(storage: Storage, name: str) -> None:
    instance, transit = storage.settings.instance, names.in_transit(name)
    volumes.discard_made(storage.controller, storage.clock, transit, instance, volumes.CLOSES)


def _ties_copies(storage: Storage, source: str) -> bool:
    return transfer.ties_copies(storage.controller.placement(source))
