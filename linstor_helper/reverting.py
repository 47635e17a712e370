# SPDX-License-Identifier: Apache-2.0
"""A volume gets the content that it had at a snapshot.  A complete copy of what it has now exists until that is proven.

    by rollback     a guard snapshot of the present content, LINSTOR's rollback, a look at the result, the guard goes.
                    LINSTOR keeps all other snapshots (REST 1.25), and makes the volume anew under its name.
    by copies       where a snapshot is a copy: a guard copy of the present content, the volume goes, a copy of the
                    snapshot gets its name, the guard copy goes.

A run that was killed leaves the guard.  The next one looks whether the volume is there with a usable replica: if so,
the guard is of no use any more; if not, it is the only copy of the content before and stays until the volume is whole.
"""

from __future__ import annotations

from linstor_helper import attach, companions, copying, disk_snapshots, names, snapshots, volumes
from linstor_helper.copying import Wanted
from linstor_helper.errors import (
    ConflictError,
    ControllerError,
    Error,
    InUseError,
    NotFoundError,
    NotReadyError,
    RefusedError,
    UnknownOutcome,
)
from linstor_helper.names import Owner
from linstor_helper.nodes import unfit
from linstor_helper.ports import Resource, ResourceDefinition, Snapshot, Warn
from linstor_helper.storage import Storage
from linstor_helper.transfer import ties_copies
from linstor_helper.undo import Undo
from linstor_helper.waiting import attempts

_EMPTIES_ZFS = ((1, 32, 0), (1, 32, 3))
"""From which release of LINSTOR on, and up to which, a rollback leaves an empty volume on ZFS (its changelog)."""

_NOTHING_CHANGED = (InUseError, NotReadyError, ConflictError, RefusedError)
"""What LINSTOR raises before it begins to roll back (REST guide 2.10)."""

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
    target = snapshots.find(known, names.snapshot(snapshot_id))
    if target is not None and target.usable and definition is not None:
        _roll_back(storage, definition, known, target, warn)
    else:
        _revert_by_copies(storage, name, definition, known, snapshot_id, owner, undo, warn)


def flatten(storage: Storage, name: str, snapshot_id: int, owner: Owner, undo: Undo, warn: Warn) -> None:
    """As ``revert``, and then all snapshots that OpenNebula asked for go, that one last."""
    controller = storage.controller
    label, ending = names.snapshot(snapshot_id), names.snapshot_ending(snapshot_id)
    if _was_flattened(storage, name, snapshot_id):
        return
    revert(storage, name, snapshot_id, owner, undo, warn)
    known = [one for one in controller.snapshots(name) if names.is_snapshot(one.name)]
    copies = disk_snapshots.copies(controller.resource_definition(name))
    for one in known:
        if not names.same(one.name, label):
            controller.delete_snapshot(name, one.name)
    for other in copies:
        if other != ending:
            companions.drop(controller, storage.clock, name, other, storage.settings.instance)
    # From here on a repetition does not find what it would revert to.
    controller.modify(name, {names.FLATTENED: str(snapshot_id)})
    snapshots.delete(controller, name, known, label)
    if ending in copies:
        companions.drop(controller, storage.clock, name, ending, storage.settings.instance)


def _was_flattened(storage: Storage, name: str, snapshot_id: int) -> bool:
    """Whether an earlier run did it all, and only its answer was lost."""
    definition = storage.controller.resource_definition(name)
    if definition is None or definition.properties.get(names.FLATTENED) != str(snapshot_id):
        return False
    known = storage.controller.snapshots(name)
    return not (any(names.is_snapshot(one.name) for one in known) or disk_snapshots.copies(definition))


# --- by rollback


def _roll_back(
    storage: Storage, before: ResourceDefinition, known: list[Snapshot], target: Snapshot, warn: Warn
) -> None:
    controller, name = storage.controller, before.name
    resources = controller.placement(name)
    _refuse_defective(storage, name, resources)
    guard = snapshots.find(known, names.GUARD_SNAPSHOT)
    if guard is not None and (not guard.usable or any(attach.usable(one) for one in resources)):
        controller.delete_snapshot(name, guard.name)
        guard = None
    if guard is None:
        snapshots.take(storage, name, names.GUARD_SNAPSHOT, warn)
    try:
        _roll_back_once_closed(storage, name, target)
    except _NOTHING_CHANGED:
        if guard is None:
            controller.delete_snapshot(name, names.GUARD_SNAPSHOT)
        raise
    except Error as error:
        raise _kept(name, error) from error
    _verify(storage, before, target)
    controller.delete_snapshot(name, names.GUARD_SNAPSHOT)


def _roll_back_once_closed(storage: Storage, name: str, target: Snapshot) -> None:
    """When the answer is lost, LINSTOR may still be at it, which another request is told; twice comes out as once."""
    controller, clock = storage.controller, storage.clock
    timeout = storage.settings.attach_timeout
    try:
        volumes.retry_while_in_use(clock, timeout, lambda: controller.roll_back(name, target.name))
    except UnknownOutcome:
        for left in attempts(clock, storage.settings.timeout, first=1.0):
            try:
                controller.roll_back(name, target.name)
                return
            except (NotReadyError, UnknownOutcome) as error:
                if left == 0.0:
                    raise ControllerError(str(error)) from error


def _verify(storage: Storage, before: ResourceDefinition, target: Snapshot) -> None:
    """Raises ControllerError, NotReadyError when the volume is not what the snapshot was."""
    controller, name = storage.controller, before.name
    after = controller.resource_definition(name)
    if after is None or after.sizes != target.sizes:
        sizes = "no volume" if after is None or not after.sizes else str(after.sizes[0])
        error = ControllerError(f"{name} has {sizes} after the rollback, the snapshot {target.sizes[0]}")
        raise _kept(name, error)
    try:
        attach.wait_until_settled(controller, storage.clock, name, storage.settings.attach_timeout)
    except NotReadyError as error:
        raise _kept(name, error) from error
    now, past = _ours(after), _ours(before)
    wrong = {key: value for key, value in past.items() if now.get(key) != value}
    stale = [key for key in now if key not in past]
    if wrong or stale:
        controller.modify(name, wrong, stale)


def _ours(definition: ResourceDefinition) -> dict[str, str]:
    return {key: value for key, value in definition.properties.items() if key.startswith(_OURS)}


def _kept(name: str, error: Error) -> ControllerError:
    return ControllerError(
        f"{name} was not reverted: {error.what}",
        details=error.details,
        reports=error.reports,
        hint=f"its content before is in its snapshot {names.GUARD_SNAPSHOT}; revert it again once LINSTOR is well",
    )


def _refuse_defective(storage: Storage, name: str, resources: list[Resource]) -> None:
    release = storage.controller.version()
    if ties_copies(resources) and _EMPTIES_ZFS[0] <= release < _EMPTIES_ZFS[1]:
        shown = ".".join(map(str, release))
        raise RefusedError(
            f"LINSTOR {shown} can leave {name} empty: its rollback on ZFS is defective",
            hint="update LINSTOR to 1.32.3 or newer",
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
    copying.copy(storage, origin, wanted, undo, warn)
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
    if known:
        # They would go with the volume.
        raise ConflictError(
            f"{name} has the LINSTOR snapshot {known[0].name}, and storage that has no snapshots",
            hint="move all of its replicas to storage that has them",
        )
    volumes.require_unused(controller, clock, name, storage.settings.attach_timeout)
    _require_online(storage, name)
    # One of an earlier run that was killed; the volume is whole.
    volumes.discard_made(controller, clock, guard, storage.settings.instance, volumes.CLOSES)
    listed = companions.add(controller, definition, names.GUARD)
    wanted = Wanted(guard, owner, in_place=True, more={names.COMPANIONS: listed})
    copying.copy(storage, name, wanted, undo, warn)
    # From here on it is what was there before, whatever comes after.
    undo.commit()
    return listed


def _require_online(storage: Storage, name: str) -> None:
    """LINSTOR holds a deleted volume's name for as long as a node of it is offline."""
    holding = {one.node for one in storage.controller.resources(name)}
    bad = [
        f"{node.name} is {unfit(node)}"
        for node in storage.controller.nodes()
        if node.name in holding and unfit(node)
    ]
    if bad:
        raise NotReadyError(f"{name} cannot be reverted: {'; '.join(bad)}", hint="see `linstor node list`")
