# SPDX-License-Identifier: Apache-2.0
"""A volume of a system datastore follows its VM to another one."""

from __future__ import annotations

from linstor_helper import filling, names, volumes
from linstor_helper.errors import CannotClone, NotFoundError
from linstor_helper.names import Owner, same
from linstor_helper.ports import ResourceDefinition
from linstor_helper.storage import Storage
from linstor_helper.undo import Undo
from linstor_helper.units import Size


def follow(origin: Storage, storage: Storage, name: str, owner: Owner, undo: Undo) -> bool:
    """Makes a volume of the system datastore ``origin`` one of ``storage``.

    Within a cluster the volume is put into the resource group of its new datastore, which adds the replicas that the
    group wants.  Those that it has stay where they are, unless the datastore says that data moves, too.  To another
    cluster it is copied: then True, and the caller removes the original when the VM has the copy.
    Raises NoSpaceError, NotFoundError.
    """
    definition = origin.controller.resource_definition(name)
    if not origin.controller.identity() & storage.controller.identity():
        if definition is not None and definition.sizes and not definition.deleting:
            # One of an earlier run may be older than what the VM has written since.
            _discard(storage, name)
            size = definition.sizes[0]
            filling.copy_volume(origin, name, storage, name, size, owner, undo, turn=owner.vm or 0)
        return True
    if not (storage.settings.move_data and _rebuild(storage, definition, name, owner, undo)):
        _regroup(storage, definition, name, owner, undo)
    return False


def discard_original(origin: Storage, name: str) -> None:
    """Removes what was copied to another cluster."""
    volumes.discard(origin.controller, origin.clock, name, origin.settings.attach_timeout)


def discard_transit(storage: Storage, name: str) -> None:
    """Removes what is left of a move of data that was cut short and will not be repeated."""
    _discard(storage, names.in_transit(name))


def _regroup(
    storage: Storage, definition: ResourceDefinition | None, name: str, owner: Owner, undo: Undo
) -> None:
    if definition is None:
        raise NotFoundError(f"LINSTOR has no resource {name}")
    controller, before, after = storage.controller, definition.resource_group, storage.settings.resource_group
    if not same(before, after):
        undo.push(f"{name} in resource group {after}", lambda: controller.regroup(name, before))
        controller.regroup(name, after)
        controller.place(name)
    known = definition.properties
    if not names.is_foreign(known) and not owner.owns(known):
        undo.push(
            f"properties of {name}",
            lambda: controller.modify(name, {key: known[key] for key in owner.properties() if key in known}),
        )
        controller.modify(name, owner.properties())


def _rebuild(
    storage: Storage, definition: ResourceDefinition | None, name: str, owner: Owner, undo: Undo
) -> bool:
    """Moves the data into the pools of the new group: a clone there, the original goes, and a copy of the clone gets
    its name.  One complete copy is there at every moment; the same migration, repeated, ends what was cut short.
    False when the storage of the original has no clones."""
    controller, clock = storage.controller, storage.clock
    after = storage.settings.resource_group
    transit = names.in_transit(name)
    if definition is not None and not same(definition.resource_group, after):
        # One of an earlier run may be older than what the VM has written since.
        discard_transit(storage, name)
        try:
            _clone(storage, name, transit, owner, undo, after)
        except CannotClone:
            return False
        # From here on it is the only complete copy.
        undo.commit()
        volumes.discard(controller, clock, name, storage.settings.attach_timeout)
    elif definition is not None and controller.resource_definition(transit) is None:
        return True
    try:
        _clone(storage, transit, name, owner, undo, None)
    except CannotClone:
        # The new pools have none, or only snapshots that tie a copy to its origin.
        size = _size(storage, transit)
        filling.copy_volume(storage, transit, storage, name, size, owner, undo, turn=owner.vm or 0)
    # And now that copy is the one that stays, whatever comes after.
    undo.commit()
    volumes.discard(controller, clock, transit, volumes.CLOSES)
    return True


def _size(storage: Storage, name: str) -> Size:
    definition = storage.controller.resource_definition(name)
    if definition is None or not definition.sizes:
        raise NotFoundError(f"LINSTOR has no resource {name} with a volume")
    return definition.sizes[0]


def _discard(storage: Storage, name: str) -> None:
    settings = storage.settings
    volumes.discard_made(storage.controller, storage.clock, name, settings.instance, settings.attach_timeout)


def _clone(storage: Storage, source: str, name: str, owner: Owner, undo: Undo, group: str | None) -> None:
    volumes.ensure_clone(
        storage.controller,
        storage.clock,
        source,
        name,
        owner,
        undo,
        group=group,
        timeout=storage.settings.clone_timeout,
    )
