# SPDX-License-Identifier: Apache-2.0
"""Every name and property key that the driver gives to a LINSTOR object.

The names are those of addon-linstor 3.x, so that its images and VMs keep working.  LINSTOR keeps the spelling of a
name and compares it without regard to case; a name has 2 to 48 ASCII characters.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from linstor_helper.errors import UsageError

MAX_LENGTH = 48
_VALID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{1,47}\Z")

Properties = Mapping[str, str]

PREFIX = "Aux/one/"
INSTANCE = PREFIX + "instance"
DATASTORE = PREFIX + "datastore"
IMAGE = PREFIX + "image"
VM = PREFIX + "vm"
DISK = PREFIX + "disk"
ASKED = PREFIX + "asked"
"""On a snapshot: for which VM, which disk and when OpenNebula was asked for it."""

SNAPSHOT = PREFIX + "snapshot"
"""On a volume that is the copy of a disk as it was at a snapshot, where the storage has no snapshots."""

COMPLETE = PREFIX + "complete"
COMPANIONS = PREFIX + "companions"
"""On a volume: the endings of the names of further volumes that belong to it and go with it, separated by blanks."""

UNREVERTED = PREFIX + "unreverted"
"""On the resources of a volume that lost its content in a revert that failed: the snapshot that has it.  Resources that
are made anew, by the next revert or by hand, are without it."""

ZERO_FROM = PREFIX + "zero-from"
"""On a volume that grows: from which byte on it may show old content, and which VM, in which of its stays, has it."""

FLATTENED = PREFIX + "flattened"
"""The snapshot whose content became the image when it was flattened last."""

SHARED = PREFIX + "shared"
"""On the volume of a SHAREABLE image that several VMs may have open for writing."""

MIGRATION = PREFIX + "migration"
"""Source and target of a live migration for which the resource definition allows two primaries."""

TWO_PRIMARIES = "DrbdOptions/Net/allow-two-primaries"
PROTOCOL = "DrbdOptions/Net/protocol"

SHARING = (TWO_PRIMARIES, PROTOCOL, SHARED)
"""What makes a volume one that several VMs may have open for writing."""

NOT_FOR_COPIES = (TWO_PRIMARIES, MIGRATION, SHARED, COMPANIONS, FLATTENED, ZERO_FROM)
"""What a clone must not take along from its origin."""


def image(image_id: int) -> str:
    """The resource of an image."""
    return f"OpenNebula-Image-{image_id}"


def image_id(resource: str) -> int | None:
    """The id of the image whose resource it is; None for one that has another name."""
    found = re.fullmatch(r"OpenNebula-Image-([0-9]{1,18})", resource)
    return None if found is None else int(found[1])


def vm_disk(image_resource: str, vm_id: int, disk_id: int) -> str:
    """The resource of a VM's own copy of an image."""
    return _with_ending(image_resource, f"-vm{vm_id}-disk{disk_id}")


def _with_ending(resource: str, ending: str) -> str:
    """A long name keeps a readable start and a digest of the whole, since LINSTOR's limit leaves no room for more; the
    name must not change between the action that makes and the one that deletes."""
    room = MAX_LENGTH - len(ending)
    if len(resource) > room:
        resource = f"{resource[: room - 9]}-{_digest(resource)}"
    return resource + ending


def _digest(name: str) -> str:
    return hashlib.sha256(name.upper().encode()).hexdigest()[:8]


def volatile(vm_id: int, disk_id: int) -> str:
    """The resource of a volatile disk or a swap disk."""
    return f"OpenNebula-Volatile-vm{vm_id}-disk{disk_id}"


def in_transit(resource: str) -> str:
    """The copy of a volume on its way to other storage pools."""
    return _with_ending(resource, "-moving")


GUARD = "guard"
"""Ending of the copy of a volume's content before it was reverted."""

EXPORT = "export"
"""Ending of the copy of an image that is being exported."""


def snapshot_ending(snapshot_id: int) -> str:
    """Ending of the copy of a volume that stands for one of its snapshots."""
    return f"snap{snapshot_id}"


def is_snapshot_ending(ending: str) -> bool:
    return re.fullmatch(r"snap[0-9]+", ending) is not None


def companion(resource: str, ending: str) -> str:
    """The resource of a volume that belongs to another one."""
    return _with_ending(resource, f"-{ending}")


def companions(properties: Properties) -> list[str]:
    """The endings of all companions of the volume with these properties, in the order in which they were added."""
    return [word for word in properties.get(COMPANIONS, "").split() if re.fullmatch(_COMPANION, word)]


_COMPANION = rf"{GUARD}|{EXPORT}|snap[0-9]{{1,9}}"

_SNAPSHOT = "OpenNebula-Snap-"

_GUARD_SNAPSHOT = "OpenNebula-Guard-"
_PASSING_SNAPSHOT = "OpenNebula-Copy-"


def guard_snapshot() -> str:
    """A snapshot of a volume's content before it was reverted.

    Never the same twice: on a node that was offline when one was deleted, LINSTOR takes what is left of it for the
    new one of that name.
    """
    return f"{_GUARD_SNAPSHOT}{os.urandom(4).hex()}"


def is_guard_snapshot(label: str) -> bool:
    return re.fullmatch(rf"{_GUARD_SNAPSHOT}[0-9a-f]+", label, re.IGNORECASE) is not None


def snapshot(snapshot_id: int) -> str:
    """The LINSTOR snapshot that a snapshot of a disk or an image is."""
    return f"{_SNAPSHOT}{snapshot_id}"


def is_snapshot(label: str) -> bool:
    """Whether a LINSTOR snapshot is one that OpenNebula asked for."""
    return re.fullmatch(rf"{_SNAPSHOT}[0-9]+", label, re.IGNORECASE) is not None


def passing_snapshot(target: str) -> str:
    """The snapshot from which the volume ``target`` is made, and which goes when that is there; as a guard, never the
    same twice."""
    # Short: with the name of the volume it becomes the name of a device, and LVM's limit is narrow.
    return f"{_PASSING_SNAPSHOT}{_digest(target)}-{os.urandom(3).hex()}"


def is_passing_snapshot(label: str, target: str | None = None) -> bool:
    """Whether it is one for a copy, or for the copy ``target``."""
    of = "[0-9a-f]+" if target is None else _digest(target)
    return re.fullmatch(rf"{_PASSING_SNAPSHOT}{of}-[0-9a-f]+", label, re.IGNORECASE) is not None


def is_legacy_context(resource: str, vm_id: int) -> bool:
    """Whether it is a context volume that addon-linstor before 3.0 made for this VM."""
    return re.match(rf"OpenNebula-vm-context-vm{vm_id}-disk[0-9]+(-|\Z)", resource) is not None


def same(one: str, other: str) -> bool:
    """Whether two names denote the same LINSTOR object."""
    return one.upper() == other.upper()


def require_valid(name: str) -> str:
    """``name``, if LINSTOR can have a resource of that name.  Raises UsageError otherwise."""
    if not _VALID.match(name) or name.lower() in ("all", "proxy") or not re.search("[A-Za-z]", name):
        raise UsageError(
            f"{name!r} is not a LINSTOR resource name",
            hint="SOURCE of an image must be the bare name of its LINSTOR resource",
        )
    return name


_OWNERSHIP = (INSTANCE, DATASTORE, IMAGE, VM, DISK, SNAPSHOT)


class Owner(NamedTuple):
    """To whom a resource definition belongs; kept in its ``Aux/one/...`` properties."""

    instance: str
    datastore: int
    image: int | None = None
    vm: int | None = None
    disk: int | None = None
    snapshot: str | None = None
    """Which one, and when it was asked for."""

    def properties(self) -> dict[str, str]:
        """The properties that say so, without the mark of completeness."""
        values = {
            INSTANCE: self.instance,
            DATASTORE: self.datastore,
            IMAGE: self.image,
            VM: self.vm,
            DISK: self.disk,
            SNAPSHOT: self.snapshot,
        }
        return {key: str(value) for key, value in values.items() if value is not None}

    def foreign_keys(self) -> list[str]:
        """The keys that a copy of somebody else's object must lose to become this owner's."""
        return [key for key in _OWNERSHIP if key not in self.properties()]

    def owns(self, properties: Properties) -> bool:
        """Whether the properties of an object name exactly this owner."""
        return {key: properties[key] for key in _OWNERSHIP if key in properties} == self.properties()


def complete_mark(resource: str) -> dict[str, str]:
    """The property that is written last.

    Its value is the name of the resource that it completes: clones and restores carry properties along, and a
    copy that carries the mark of its origin must not count as complete.
    """
    return {COMPLETE: resource}


def is_complete(resource: str, properties: Properties) -> bool:
    return same(properties.get(COMPLETE, ""), resource)


def is_foreign(properties: Properties) -> bool:
    """Whether an object was made by addon-linstor 3.x or by an administrator: what we make says so from the start."""
    return INSTANCE not in properties
