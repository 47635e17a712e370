# SPDX-License-Identifier: Apache-2.0
"""LINSTOR's snapshots of a volume: taken and looked at, found, deleted.

A snapshot counts when LINSTOR says so afterwards.  A record of one that failed is of no use to anybody, holds space and
the name, and goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Callable

from linstor_helper import contents, volumes
from linstor_helper.errors import (
    CannotSnapshot,
    ConflictError,
    ControllerError,
    Error,
    NotReadyError,
    UnknownOutcome,
)
from linstor_helper.names import same
from linstor_helper.ports import Controller, Resource, Snapshot, Warn
from linstor_helper.storage import Storage
from linstor_helper.waiting import attempts

Quiet = Callable[[], AbstractContextManager[object]]
"""Makes a context in which nobody writes to the volume, as far as that is possible."""

_TAKEN = 150.0
"""Seconds after which LINSTOR has given a snapshot up (REST guide 2.9: a satellite has two minutes)."""


def find(known: Sequence[Snapshot], label: str) -> Snapshot | None:
    """The snapshot of that name."""
    return next((one for one in known if same(one.name, label)), None)


def take(
    storage: Storage,
    name: str,
    label: str,
    warn: Warn,
    quiet: Quiet = nullcontext,
    note: str = "",
    *,
    content_matters: bool = True,
) -> None:
    """Takes a snapshot of a volume and makes sure that LINSTOR has it.

    Replicas that still sync are waited for a while, before anybody is kept quiet.  One whose node is offline or being
    evacuated has no part in it; that is warned of.
    ``content_matters``: False keeps what is there, whatever it is.
    Raises CannotSnapshot, NotReadyError while a replica is not up to date, ConflictError when the name is taken.
    """
    controller = storage.controller
    resources = _wait_until_synced(storage, name)
    if content_matters:
        contents.require(name, resources)
    try:
        with quiet():
            controller.take_snapshot(name, label, note)
    except (ConflictError, CannotSnapshot):
        raise
    except UnknownOutcome:
        pass
    except Error:
        _discard_quietly(controller, name, label, warn)
        raise
    try:
        taken = _wait_until_taken(storage, name, label)
    except BaseException:
        _discard_quietly(controller, name, label, warn)
        raise
    left_out = sorted(one.node for one in resources if _has_no_part(one, taken))
    if left_out:
        warn(f"snapshot {label} of {name} is not on {' and '.join(left_out)}, which LINSTOR left out")


def delete(controller: Controller, name: str, known: Sequence[Snapshot], label: str) -> bool:
    """Deletes a snapshot.  False when there is none of that name among those that are ``known``."""
    found = find(known, label)
    if found is None:
        return False
    controller.delete_snapshot(name, found.name)
    return True


def _wait_until_synced(storage: Storage, name: str) -> Sequence[Resource]:
    """The resources of the volume; should one sync for longer, LINSTOR says so itself."""
    resources: Sequence[Resource] = ()
    for _ in attempts(storage.clock, volumes.SYNCS, first=0.2):
        resources = storage.controller.resources(name)
        if not any(_syncs(one) for one in resources):
            break
    return resources


def _syncs(resource: Resource) -> bool:
    present = not (resource.diskless or resource.deleting or resource.silent)
    return present and resource.disk_state in ("Inconsistent", "Outdated", "Consistent")


def _wait_until_taken(storage: Storage, name: str, label: str) -> Snapshot:
    found = None
    for _ in attempts(storage.clock, _TAKEN, first=0.2):
        found = find(storage.controller.snapshots(name), label)
        if found is None or found.usable:
            break
        failures = sorted(flag for flag in found.flags if flag.startswith("FAILED"))
        if failures:
            raise ControllerError(
                f"snapshot {label} of {name} failed ({', '.join(failures)})",
                details=f"on one of {', '.join(found.nodes)}",
                hint="see `linstor error-reports list`",
            )
    if found is None:
        raise ControllerError(f"LINSTOR took no snapshot {label} of {name}")
    if not found.usable:
        raise NotReadyError(
            f"snapshot {label} of {name} is not complete after {_TAKEN:g} s",
            hint="see `linstor snapshot list` and `linstor node list`",
        )
    return found


def _has_no_part(resource: Resource, snapshot: Snapshot) -> bool:
    held = any(same(resource.node, node) for node in snapshot.nodes)
    return not (held or resource.diskless or resource.deleting)


def _discard_quietly(controller: Controller, name: str, label: str, warn: Warn) -> None:
    try:
        controller.delete_snapshot(name, label)
    except Error as error:
        warn(f"left behind: snapshot {label} of {name}: {error}")
