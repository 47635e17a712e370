# SPDX-License-Identifier: Apache-2.0
"""A volume gets the content that it had at a snapshot.  A complete copy of what it has now exists until that is proven.

    by rollback     a guard snapshot of the present content, LINSTOR's rollback, a look at the result, the guard goes.
                    LINSTOR keeps all other snapshots (REST 1.25), and makes the volume anew under its name.  When that
                    fails in the middle, the volume is rolled back to the guard.
    by copies       where a snapshot is a copy: a guard copy of the present content, the volume goes, a copy of the
                    snapshot gets its name, or should that fail a copy of the guard; the guard copy goes.

A run that was killed leaves its guard, and so does one after which even that could not be given back.  It stays until a
revert has come to its end: it may be all that is left of the content before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from linstor_helper import attach, companions, copying, disk_snapshots, names, snapshots, volumes
from linstor_helper.copying import Wanted
from linstor_helper.errors import (
    ConflictError,
    ControllerError,
    ControllerUnavailable,
    Error,
    InUseError,
    NoSpaceError,
    NotFoundError,
    NotReadyError,
    NotReverted,
    RefusedError,
    UnknownOutcome,
)
from linstor_helper.names import Owner
from linstor_helper.nodes import unfit
from linstor_helper.ports import Controller, Resource, ResourceDefinition, Snapshot, Warn
from linstor_helper.storage import Storage
from linstor_helper.transfer import ties_copies
from linstor_helper.undo import Undo
from linstor_helper.units import Size
from linstor_helper.waiting import attempts

_EMPTIES_ZFS = ((1, 32, 0), (1, 32, 3))
"""From which release of LINSTOR on, and up to which, a rollback leaves an empty volume on ZFS (its changelog)."""

_RESETS_SIZES = (1, 31, 3)
"""From which release of LINSTOR on a rollback sets the sizes of the snapshot (its changelog)."""

_REPEATED = 600
"""Seconds within which a flatten is repeated after a lost answer; later, VMs may have written to the image since."""

_OURS = ("Aux/", "DrbdOptions/")
"""Properties that a rollback sets to what they were at the snapshot."""


def revert(storage: Storage, name: str, snapshot_id: int, owner: Owner, undo: Undo, warn: Warn) -> None:
    """Makes content and size of a volume those of its snapshot; all snapshots stay.  Nobody may have it open.

    Raises NotFoundError, InUseError, NotReadyError when a node of it is offline, RefusedError when this release of
    LINSTOR would lose the content.
    """
    controller = storage.controller
    definition = controller.resource_definition(name)
    known = controller.snapshots(name)
    copying.forget_passing_snapshots(storage, name, known)
    target = snapshots.find(known, names.snapshot(snapshot_id))
    if target is not None and target.usable and definition is not None:
        _roll_back(storage, definition, known, target, warn)
    else:
        _revert_by_copies(storage, name, definition, known, snapshot_id, owner, undo, warn)


def flatten(storage: Storage, name: str, snapshot_id: int, owner: Owner, undo: Undo, warn: Warn) -> None:
    """As ``revert``, and then all snapshots that OpenNebula asked for go, that one last."""
    controller = storage.controller
    if not _lacks_only_the_end(storage, name, snapshot_id):
        # Their names come again; on a node that is offline the old ones would stay and be taken for the new ones.
        _require_online(storage, name, (node for one in controller.snapshots(name) for node in one.nodes))
        revert(storage, name, snapshot_id, owner, undo, warn)
    # When that snapshot is gone, a repetition does not find any more what it would revert to.
    controller.modify(name, {names.FLATTENED: f"{snapshot_id} {int(storage.clock.today())}"})
    last, ending = names.snapshot(snapshot_id), names.snapshot_ending(snapshot_id)
    known = [one.name for one in controller.snapshots(name) if names.is_snapshot(one.name)]
    for label in sorted(known, key=lambda label: names.same(label, last)):
        controller.delete_snapshot(name, label)
    copies = disk_snapshots.copies(controller.resource_definition(name))
    for other in sorted(copies, key=ending.__eq__):
        companions.drop(controller, storage.clock, name, other, storage.settings.instance)


def _lacks_only_the_end(storage: Storage, name: str, snapshot_id: int) -> bool:
    """Whether a run that was cut short a moment ago has deleted the snapshot that was to become the image."""
    controller = storage.controller
    definition = controller.resource_definition(name)
    noted = ("" if definition is None else definition.properties.get(names.FLATTENED, "")).split()
    if len(noted) != 2 or noted[0] != str(snapshot_id):
        return False
    copy = names.companion(name, names.snapshot_ending(snapshot_id))
    gone = (
        snapshots.find(controller.snapshots(name), names.snapshot(snapshot_id)) is None
        and controller.resource_definition(copy) is None
    )
    return gone and storage.clock.today() - int(noted[1]) < _REPEATED


# --- by rollback


def _roll_back(
    storage: Storage, before: ResourceDefinition, known: list[Snapshot], target: Snapshot, warn: Warn
) -> None:
    controller, name = storage.controller, before.name
    resources = controller.placement(name)
    _refuse_defective(storage, before, target, resources)
    guards = [one.name for one in known if names.is_guard_snapshot(one.name) or one.by_rollback]
    guard = ""
    if any(attach.usable(one) for one in resources) or not guards:
        guard = names.guard_snapshot()
        snapshots.take(storage, name, guard, warn, content_matters=False)
    # What an earlier revert has taken from the volume is in the guard of that one.
    lost = next((one.unreverted for one in resources if one.unreverted), "")
    truth = [one for one in dict.fromkeys([lost, guard]) if one] or guards
    try:
        _apply(storage, name, target.name)
        _verify(storage, before, target.sizes)
    except Error as error:
        if guard and not isinstance(error, UnknownOutcome) and _is_untouched(controller, name, resources):
            controller.delete_snapshot(name, guard)
            raise
        try:
            if not guard:
                raise
            _give_back(storage, before, guard)
        except Error as failure:
            warn(f"{name} did not get back what it had before: {failure}")
            _mark(storage, name, lost or truth[0], warn)
            raise _kept(name, truth, error) from error
        if lost:
            _mark(storage, name, lost, warn)
            raise _kept(name, truth, error) from error
        warn(f"{name} has what it had before")
        _drop_guards(controller, name)
        raise
    _drop_guards(controller, name)


def _drop_guards(controller: Controller, name: str) -> None:
    """LINSTOR would go back to a safety snapshot of its own as soon as a node reconnects."""
    for one in controller.snapshots(name):
        if names.is_guard_snapshot(one.name) or one.by_rollback:
            controller.delete_snapshot(name, one.name)


def _mark(storage: Storage, name: str, guard: str, warn: Warn) -> None:
    """Keeps everybody from using what is there now."""
    try:
        for one in storage.controller.resources(name):
            if not one.diskless:
                storage.controller.mark_unreverted(name, one.node, guard)
    except Error as error:
        warn(f"{name} is not marked as a volume without its content: {error}")


def _give_back(storage: Storage, before: ResourceDefinition, guard: str) -> None:
    """Replicas that LINSTOR made in the place of those that it could not restore sync first."""
    for left in attempts(storage.clock, storage.settings.timeout, first=0.5):
        try:
            _apply(storage, before.name, guard)
            break
        except NotReadyError:
            if left == 0.0:
                raise
    _verify(storage, before, before.sizes)


def _is_untouched(controller: Controller, name: str, before: Sequence[Resource]) -> bool:
    """Whether LINSTOR has not begun to roll back: it deletes and makes anew every resource.  The kind of its error does
    not tell: in the middle of it come the same."""
    past = {one.node: one.uuid for one in before if attach.usable(one)}
    now = {one.node: one.uuid for one in controller.resources(name) if attach.usable(one)}
    return bool(past) and all(past.values()) and past == now


def _apply(storage: Storage, name: str, label: str) -> None:
    """Makes the volume what it was at a snapshot.

    A controller that is ended after it has deleted the resources does not take that up again: the definition has only
    snapshots then.  Raises UnknownOutcome when LINSTOR may still be at it.
    """
    controller, clock = storage.controller, storage.clock
    if _has_no_resources(storage, name):
        _rebuild(controller, name, label)
        return
    try:
        volumes.retry_while_in_use(
            clock, storage.settings.attach_timeout, lambda: controller.roll_back(name, label)
        )
    except UnknownOutcome:
        for left in attempts(clock, storage.settings.timeout, first=1.0):
            if _has_no_resources(storage, name):
                _rebuild(controller, name, label)
                return
            try:
                # LINSTOR may still be at the first one, which this one is told; twice comes out as once.
                controller.roll_back(name, label)
                return
            except Error as error:
                if left == 0.0 or not isinstance(error, (NotReadyError, InUseError, ControllerUnavailable)):
                    raise UnknownOutcome(error.what, details=error.details, reports=error.reports) from error


def _rebuild(controller: Controller, name: str, label: str) -> None:
    controller.rebuild(name, label)
    # Only the nodes of the snapshot have it now; a replica less is better than no volume.
    with suppress(NoSpaceError):
        controller.place(name)


def _has_no_resources(storage: Storage, name: str) -> bool:
    """Whether nobody makes any, either: in a rollback there are none for a moment."""
    seen_none = False
    for _ in attempts(storage.clock, storage.settings.attach_timeout, first=0.2):
        try:
            if storage.controller.resources(name):
                return False
            seen_none = True
        except ControllerUnavailable:
            seen_none = False
    return seen_none


def _verify(storage: Storage, before: ResourceDefinition, wanted: Sequence[Size]) -> None:
    """Raises ControllerError, NotReadyError when the volume is not what the snapshot was, as far as LINSTOR tells."""
    controller, name = storage.controller, before.name
    after = controller.resource_definition(name)
    if after is None or after.sizes != wanted:
        sizes = "no volume" if after is None or not after.sizes else str(after.sizes[0])
        raise ControllerError(f"{name} has {sizes} after the rollback, the snapshot {wanted[0]}")
    attach.wait_until_settled(controller, storage.clock, name, storage.settings.attach_timeout)
    now, past = _ours(after), _ours(before)
    wrong = {key: value for key, value in past.items() if now.get(key) != value}
    stale = [key for key in now if key not in past]
    if wrong or stale:
        controller.modify(name, wrong, stale)


def _ours(definition: ResourceDefinition) -> dict[str, str]:
    return {key: value for key, value in definition.properties.items() if key.startswith(_OURS)}


def _kept(name: str, guards: Sequence[str], error: Error) -> NotReverted:
    return NotReverted(
        f"{name} was not reverted, {' or '.join(guards) or 'no snapshot'} has what it had: {error.what}",
        details=error.details,
        reports=error.reports,
        hint=f"{error.hint or 'mend what LINSTOR complains about'}; revert it again, or see docs/troubleshooting.md",
    )


def _refuse_defective(
    storage: Storage, before: ResourceDefinition, target: Snapshot, resources: Sequence[Resource]
) -> None:
    release = storage.controller.version()
    shown = ".".join(map(str, release))
    if ties_copies(resources) and _EMPTIES_ZFS[0] <= release < _EMPTIES_ZFS[1]:
        raise RefusedError(
            f"LINSTOR {shown} can leave {before.name} empty: its rollback on ZFS is defective",
            hint="update LINSTOR to 1.32.3 or newer",
        )
    if release < _RESETS_SIZES and before.sizes != target.sizes:
        raise RefusedError(
            f"LINSTOR {shown} cannot revert {before.name}, which was resized after the snapshot",
            hint="update LINSTOR to 1.31.3 or newer",
        )


# --- by copies


def _revert_by_copies(
    storage: Storage,
    name: str,
    definition: ResourceDefinition | None,
    known: list[Snapshot],
    snapshot_id: int,
    owner: Owner,
    undo: Undo,
    warn: Warn,
) -> None:
    controller, clock = storage.controller, storage.clock
    guard = names.companion(name, names.GUARD)
    origin = names.companion(name, names.snapshot_ending(snapshot_id))
    if not volumes.is_whole(controller.resource_definition(origin)):
        raise NotFoundError(
            f"{name} has no snapshot {names.snapshot(snapshot_id)} that can be used",
            hint=f"see `linstor snapshot list -r {name}`",
        )
    if definition is not None and volumes.is_whole(definition):
        listed = _guard_by_copy(storage, definition, known, guard, owner, undo, warn)
    else:
        kept = controller.resource_definition(guard)
        if kept is None or not volumes.is_whole(kept):
            raise NotFoundError(f"LINSTOR has no complete resource {name}")
        warn(
            f"{name} is not whole, and the content that it had is in {guard}: an earlier revert was cut short"
        )
        listed = kept.properties[names.COMPANIONS]
    if definition is not None:
        volumes.discard(controller, clock, name, storage.settings.attach_timeout)
    wanted = Wanted(name, owner, in_place=True, more={names.COMPANIONS: listed})
    try:
        copying.copy(storage, origin, wanted, undo, warn)
    except Error as error:
        try:
            # What is there may already look like the volume.
            volumes.discard_made(
                controller, clock, name, storage.settings.instance, storage.settings.attach_timeout
            )
            copying.copy(storage, guard, wanted, undo, warn)
        except Error as failure:
            warn(f"{name} did not get back what it had before: {failure}")
            raise _kept(name, [guard], error) from error
        undo.commit()
        warn(f"{name} has what it had before, and {guard} is kept")
        raise
    # From here on it is the volume that stays.
    undo.commit()
    companions.drop(controller, clock, name, names.GUARD, storage.settings.instance)


def _guard_by_copy(
    storage: Storage,
    definition: ResourceDefinition,
    known: list[Snapshot],
    guard: str,
    owner: Owner,
    undo: Undo,
    warn: Warn,
) -> str:
    """Returns the companions of the volume, as its properties list them."""
    controller, clock, name = storage.controller, storage.clock, definition.name
    known = [one for one in known if not names.is_passing_snapshot(one.name)]
    if known:
        # They would go with the volume.
        raise ConflictError(
            f"{name} has the LINSTOR snapshot {known[0].name}, and storage that has no snapshots",
            hint="move all of its replicas to storage that has them",
        )
    volumes.require_unused(controller, clock, name, storage.settings.attach_timeout)
    # LINSTOR holds a deleted volume's name for as long as a node of it is offline.
    _require_online(storage, name, (one.node for one in controller.resources(name)))
    # One of an earlier run that was killed; the volume is whole.
    volumes.discard_made(controller, clock, guard, storage.settings.instance, volumes.CLOSES)
    listed = companions.add(controller, definition, names.GUARD)
    wanted = Wanted(guard, owner, in_place=True, more={names.COMPANIONS: listed})
    copying.copy(storage, name, wanted, undo, warn)
    # From here on it is what was there before, whatever comes after.
    undo.commit()
    return listed


def _require_online(storage: Storage, name: str, nodes: Iterable[str]) -> None:
    holding = set(nodes)
    bad = [
        f"{node.name} is {unfit(node)}"
        for node in storage.controller.nodes()
        if node.name in holding and unfit(node)
    ]
    if bad:
        raise NotReadyError(f"{name} cannot be reverted: {'; '.join(bad)}", hint="see `linstor node list`")
