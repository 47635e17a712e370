# SPDX-License-Identifier: Apache-2.0
"""Volumes that are there, complete and ours - or not at all.

A volume is made in three steps: the resource definition with its owner, its content, and last the mark that it is
complete.  A rerun after a crash finds one of

    nothing                           -> make it
    ours, not marked                  -> unfinished work: remove it and make it anew
    ours, marked, big enough          -> done before
    somebody else's, or too small     -> an error that says so; it is never touched

A clone is different in one point: from REST 1.26 it gets owner and mark in the call that starts it.  LINSTOR itself
says whether it is finished (flags CLONING and FAILED), so the mark together with the flags means the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, TypeVar

from linstor_helper import names, transfer
from linstor_helper.errors import (
    CannotClone,
    ConflictError,
    ControllerError,
    ControllerUnavailable,
    DeadlineExceeded,
    Error,
    InUseError,
    NotReadyError,
    UnknownOutcome,
)
from linstor_helper.interrupts import held
from linstor_helper.names import Owner
from linstor_helper.ports import UNFINISHED, Clock, CloneResult, Controller, ResourceDefinition, Warn
from linstor_helper.undo import Undo
from linstor_helper.units import Size
from linstor_helper.waiting import attempts

_CLONE_SETTLES = 60.0
"""Seconds for which a clone may be FAILED only because a node of it is not online just now."""

SYNCS = 30.0
"""Seconds for which a replica may still be syncing when a copy of the volume is wanted."""

CLOSES = 30.0
"""Seconds for which a copy that was cut short may still have the device open on its host."""

_Made = TypeVar("_Made")
_NOTHING: Mapping[str, str] = {}


def ensure_created(
    controller: Controller, clock: Clock, group: str, name: str, size: Size, owner: Owner, undo: Undo
) -> bool:
    """Makes sure that there is a volume ``name`` of at least ``size``, placed by the resource group.

    True when it is new: the caller fills it and calls ``mark_complete``; ``undo`` removes it.
    False when an earlier run completed it.
    """

    def spawn() -> bool:
        controller.spawn(group, name, size, owner.properties())
        return True

    with held():
        existing = _complete_or_make(controller, clock, name, owner, spawn)
        if not isinstance(existing, ResourceDefinition):
            undo.push(f"resource {name}", lambda: discard(controller, clock, name, CLOSES))
            return True
    found = existing.sizes[0] if existing.sizes else Size(0)
    if found < size:
        raise ConflictError(f"resource {name} exists with {found}, but {size} are wanted")
    return False


def mark_complete(controller: Controller, name: str) -> None:
    """The last step of making a volume."""
    controller.modify(name, names.complete_mark(name))


def ensure_clone(
    controller: Controller,
    clock: Clock,
    source: str,
    name: str,
    owner: Owner,
    undo: Undo,
    *,
    group: str | None = None,
    grow_to: Size | None = None,
    adopt: bool = False,
    dependent: bool = False,
    more: Mapping[str, str] = _NOTHING,
    finish: Callable[[], None] | None = None,
    timeout: float,
) -> None:
    """Makes sure that ``name`` is a complete copy of ``source``, not smaller than ``grow_to``.

    A new copy is removed by ``undo``.  ``group`` is the resource group to put it in when it is not that of the
    source; ``adopt`` accepts a volume without any mark of ours, as addon-linstor 3.x made them; ``dependent`` lets it
    share blocks with its source for ever; ``more`` are further properties for it; ``finish`` is what remains to do
    with a new copy before it counts as complete; ``timeout`` is in seconds.
    Raises CannotClone when the provider has no clones.
    """
    if group is not None and not transfer.has_clones(controller.placement(source)):
        # LINSTOR notices only when it has begun, and leaves a definition behind.
        raise CannotClone(f"{source} is on storage without clones")
    mark = names.complete_mark(name)
    known = {**owner.properties(), **more}
    properties = known if finish else {**known, **mark}
    foreign = _foreign(owner, more)

    def start() -> CloneResult:
        return _retry(
            NotReadyError,
            clock,
            SYNCS,
            lambda: controller.clone(
                source,
                name,
                group=group,
                properties=properties,
                drop=foreign,
                size=grow_to,
                dependent=dependent,
            ),
        )

    with held():
        made = _complete_or_make(controller, clock, name, owner, start, adopt=adopt)
        if isinstance(made, CloneResult):
            undo.push(f"resource {name}", lambda: discard(controller, clock, name, CLOSES))
    if isinstance(made, CloneResult):
        _wait_for_clone(controller, clock, source, name, timeout)
        if not made.properties_set:
            controller.modify(name, properties, foreign)
    elif "CLONING" in made.flags:
        _wait_for_clone(controller, clock, source, name, timeout)
    if group is not None:
        # Also for a clone of an earlier run, which carries its mark from the start: that run may have ended here.
        controller.place(name)
    if grow_to is not None and not (isinstance(made, CloneResult) and made.size_set):
        controller.resize(name, grow_to)
    if finish is not None and isinstance(made, CloneResult):
        finish()
        controller.modify(name, mark)


def ensure_restored(
    controller: Controller,
    clock: Clock,
    source: str,
    snapshot: str,
    name: str,
    owner: Owner,
    undo: Undo,
    *,
    group: str,
    grow_to: Size | None = None,
    adopt: bool = False,
    more: Mapping[str, str] = _NOTHING,
    finish: Callable[[], None] | None = None,
) -> None:
    """Makes sure that ``name`` is a complete copy of ``source`` as it was at a snapshot, on the nodes and in the pools
    of that, in the resource group ``group``.  A new copy is removed by ``undo``; ``grow_to``, ``adopt``, ``more`` and
    ``finish`` are those of ``ensure_clone``.
    """

    def restore() -> bool:
        controller.restore(source, snapshot, name, group=group, properties=owner.properties())
        return True

    with held():
        made = _complete_or_make(controller, clock, name, owner, restore, adopt=adopt)
        if not isinstance(made, ResourceDefinition):
            undo.push(f"resource {name}", lambda: discard(controller, clock, name, CLOSES))
    if isinstance(made, ResourceDefinition):
        return
    known, foreign = {**owner.properties(), **more}, _foreign(owner, more)
    if grow_to is not None:
        controller.resize(name, grow_to)
    if finish is not None:
        controller.modify(name, known, [*foreign, names.COMPLETE])
        finish()
    # LINSTOR has set the properties that the source had at the snapshot.
    controller.modify(name, {**known, **names.complete_mark(name)}, foreign)


def _foreign(owner: Owner, more: Mapping[str, str]) -> list[str]:
    """The properties of its source that a copy must not have."""
    return [key for key in (*owner.foreign_keys(), *names.NOT_FOR_COPIES) if key not in more]


def is_finished(controller: Controller, name: str, owner: Owner, adopt: bool = False) -> bool:
    """Whether the volume is there and complete.  False when there is none, or only unfinished work of our own.

    Raises ConflictError when it is somebody else's, NotReadyError while it is being deleted.
    """
    existing = controller.resource_definition(name)
    return existing is not None and _is_finished(existing, owner, adopt) and "CLONING" not in existing.flags


def is_whole(definition: ResourceDefinition | None) -> bool:
    """Whether a volume is there with all of its content, as far as its own marks tell."""
    if definition is None or definition.deleting or definition.flags & UNFINISHED or not definition.sizes:
        return False
    known = definition.properties
    return names.is_foreign(known) or names.is_complete(definition.name, known)


def discard(controller: Controller, clock: Clock, name: str, timeout: float) -> bool:
    """Deletes a volume and its snapshots; waits while it is still in use.  False when there was none.

    Raises InUseError when it still is after ``timeout`` seconds: the hypervisor needs a moment to close a disk, and
    LINSTOR up to a second to notice.
    """
    return retry_while_in_use(clock, timeout, lambda: controller.delete(name))


def discard_made(controller: Controller, clock: Clock, name: str, instance: str, timeout: float) -> bool:
    """As ``discard``, for what an earlier run may have left: what this OpenNebula did not make is not touched."""
    definition = controller.resource_definition(name)
    if definition is None or definition.properties.get(names.INSTANCE) != instance:
        return False
    return discard(controller, clock, name, timeout)


def discard_own(
    controller: Controller,
    clock: Clock,
    name: str,
    instance: str,
    timeout: float,
    warn: Warn,
) -> None:
    """As ``discard``, with all companions, but leaves what another OpenNebula has made under the same name.

    oned sends deletions also for what a refused creation never made.
    """
    definition = controller.resource_definition(name)
    if definition is None:
        _discard_guarded(controller, clock, name, instance, timeout)
        return
    maker = definition.properties.get(names.INSTANCE, instance)
    if maker != instance:
        warn(f"{name} stays: it belongs to OpenNebula {maker}, this one is {instance}")
        return
    companions = names.companions(definition.properties)
    if companions:
        # Nothing of it may go while the volume itself cannot.
        require_unused(controller, clock, name, timeout)
    for ending in companions:
        discard_made(controller, clock, names.companion(name, ending), instance, timeout)
    discard(controller, clock, name, timeout)


def _discard_guarded(controller: Controller, clock: Clock, name: str, instance: str, timeout: float) -> None:
    """What is left of a volume whose revert by copies was cut short while it was gone; its guard lists the others."""
    guard = names.companion(name, names.GUARD)
    definition = controller.resource_definition(guard)
    listed = [] if definition is None else names.companions(definition.properties)
    for ending in sorted(listed, key=names.GUARD.__eq__):
        discard_made(controller, clock, names.companion(name, ending), instance, timeout)


def require_unused(controller: Controller, clock: Clock, name: str, timeout: float) -> None:
    """Raises InUseError when somebody still has the volume open after ``timeout`` seconds."""

    def look() -> None:
        users = sorted(one.node for one in controller.resources(name) if one.in_use)
        if users:
            raise InUseError(
                f"{name} is in use on {' and '.join(users)}", hint="is the VM still running there?"
            )

    retry_while_in_use(clock, timeout, look)


def retry_while_in_use(clock: Clock, timeout: float, act: Callable[[], _Made]) -> _Made:
    """Repeats ``act`` while it raises InUseError, for ``timeout`` seconds."""
    return _retry(InUseError, clock, timeout, act)


def _retry(while_it_raises: type[Error], clock: Clock, timeout: float, act: Callable[[], _Made]) -> _Made:
    for left in attempts(clock, timeout, first=0.2):
        try:
            return act()
        except while_it_raises:
            if left == 0.0:
                raise
    raise AssertionError("attempts ends with 0.0")


def _complete_or_make(
    controller: Controller,
    clock: Clock,
    name: str,
    owner: Owner,
    make: Callable[[], _Made],
    *,
    adopt: bool = False,
) -> _Made | ResourceDefinition:
    """What ``make`` returns, or the definition that is there already and complete (or still being cloned)."""
    try:
        return make()
    except ConflictError as conflict:
        existing = controller.resource_definition(name)
        if existing is None:
            raise NotReadyError(f"LINSTOR still holds the name {name}", details=str(conflict)) from conflict
    except UnknownOutcome:
        existing = controller.resource_definition(name)
        if existing is None:
            raise
    except ControllerUnavailable:
        raise
    except Error:
        # LINSTOR keeps what it made before a satellite failed.
        _discard_if_unfinished(controller, name, owner)
        raise
    if _is_finished(existing, owner, adopt):
        return existing
    discard(controller, clock, name, CLOSES)
    return make()


def _discard_if_unfinished(controller: Controller, name: str, owner: Owner) -> None:
    existing = controller.resource_definition(name)
    if existing is None or existing.deleting:
        return
    unmarked = _is_unfinished(existing, owner)
    if unmarked or (owner.owns(existing.properties) and existing.flags & UNFINISHED):
        controller.delete(name)


def _is_unfinished(existing: ResourceDefinition, owner: Owner) -> bool:
    """Whether it is our own work without its mark; one with another's name came along with copied content."""
    known = existing.properties
    if known.get(names.INSTANCE) != owner.instance or names.is_complete(existing.name, known):
        return False
    return owner.owns(known) or names.COMPLETE in known


def _is_finished(existing: ResourceDefinition, owner: Owner, adopt: bool) -> bool:
    """Whether it can be used as it is; False when it is our own unfinished work.

    Raises NotReadyError while LINSTOR deletes it, ConflictError when it is not ours to use or to remove.
    """
    name, properties = existing.name, existing.properties
    if existing.deleting:
        raise NotReadyError(
            f"resource {name} is still being deleted",
            hint="a node of it may be offline; see `linstor node list`",
        )
    if names.is_foreign(properties):
        if adopt and not existing.flags & UNFINISHED:
            return True
        raise ConflictError(
            f"resource {name} exists and was not made by this driver",
            hint="rename or remove it if it is not needed; the driver does not touch it",
        )
    if _is_unfinished(existing, owner):
        return False
    if owner.owns(properties) and names.is_complete(name, properties):
        return not existing.flags & {"FAILED", "RESTORE_TARGET"}
    raise ConflictError(
        f"resource {name} exists and belongs to {_describe(properties)}, not to {_describe(owner.properties())}",
        hint="two OpenNebulas on one LINSTOR cluster must not have the same resources",
    )


def _describe(properties: names.Properties) -> str:
    parts = (
        f"{key[len(names.PREFIX) :]} {properties[key]}"
        for key in (names.INSTANCE, names.DATASTORE, names.IMAGE, names.VM, names.DISK)
        if key in properties
    )
    return ", ".join(parts) or "nobody"


def _wait_for_clone(controller: Controller, clock: Clock, source: str, name: str, timeout: float) -> None:
    failing_since: float | None = None
    for _ in attempts(clock, timeout):
        state = controller.clone_state(source, name)
        if state == "COMPLETE":
            return
        if state != "FAILED":
            failing_since = None
            continue
        failing_since = clock.now() if failing_since is None else failing_since
        definition = controller.resource_definition(name)
        if definition is None or "FAILED" in definition.flags or clock.now() - failing_since > _CLONE_SETTLES:
            raise ControllerError(
                f"LINSTOR failed to clone {source} to {name}",
                hint="see `linstor error-reports list` and whether all nodes of the source are online",
            )
    raise DeadlineExceeded(
        f"the clone {name} of {source} is not complete after {timeout:g} s",
        hint="raise LINSTOR_CLONE_TIMEOUT",
    )
