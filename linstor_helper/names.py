# SPDX-License-Identifier: Apache-2.0
"""Every name and property key that the driver gives to a LINSTOR object.

The names are those of addon-linstor 3.x, so that its images and VMs keep working.  LINSTOR keeps the spelling of a
name and compares it without regard to case; a name has 2 to 48 ASCII characters.
"""

from __future__ import annotations

import hashlib
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
COMPLETE = PREFIX + "complete"
SHARED = PREFIX + "shared"
"""On the volume of a SHAREABLE image that several VMs may have open for writing."""

MIGRATION = PREFIX + "migration"
"""Source and target of a live migration for which the resource definition allows two primaries."""

TWO_PRIMARIES = "DrbdOptions/Net/allow-two-primaries"
PROTOCOL = "DrbdOptions/Net/protocol"

SHARING = (TWO_PRIMARIES, PROTOCOL, SHARED)
"""What makes a volume one that several VMs may have open for writing."""

NOT_FOR_COPIES = (TWO_PRIMARIES, MIGRATION, SHARED)
"""What a clone must not take along from its origin."""


def image(image_id: int) -> str:
    """The resource of an image."""
    return f"OpenNebula-Image-{image_id}"


def vm_disk(image_resource: str, vm_id: int, disk_id: int) -> str:
    """The resource of a VM's own copy of an image.

    An image that was adopted under a long name keeps a readable start and a digest of the whole, since LINSTOR's
    limit leaves no room for more; the name must not change between the action that makes and the one that deletes.
    """
    suffix = f"-vm{vm_id}-disk{disk_id}"
    room = MAX_LENGTH - len(suffix)
    if len(image_resource) > room:
        digest = hashlib.sha256(image_resource.upper().encode()).hexdigest()[:8]
        image_resource = f"{image_resource[: room - 9]}-{digest}"
    return image_resource + suffix


def volatile(vm_id: int, disk_id: int) -> str:
    """The resource of a volatile disk or a swap disk."""
    return f"OpenNebula-Volatile-vm{vm_id}-disk{disk_id}"


def in_transit(resource: str) -> str:
    """The copy of a volatile disk while its data moves to other storage pools."""
    return f"{resource}-moving"


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


class Owner(NamedTuple):
    """To whom a resource definition belongs; kept in its ``Aux/one/...`` properties."""

    instance: str
    datastore: int
    image: int | None = None
    vm: int | None = None
    disk: int | None = None

    def properties(self) -> dict[str, str]:
        """The properties that say so, without the mark of completeness."""
        values = {
            INSTANCE: self.instance,
            DATASTORE: self.datastore,
            IMAGE: self.image,
            VM: self.vm,
            DISK: self.disk,
        }
        return {key: str(value) for key, value in values.items() if value is not None}

    def foreign_keys(self) -> list[str]:
        """The keys that a copy of somebody else's object must lose to become this owner's."""
        return [key for key in (INSTANCE, DATASTORE, IMAGE, VM, DISK) if key not in self.properties()]

    def owns(self, properties: Properties) -> bool:
        """Whether the properties of an object name exactly this owner."""
        return {
            k: properties[k] for k in (INSTANCE, DATASTORE, IMAGE, VM, DISK) if k in properties
        } == self.properties()


def complete_mark(resource: str) -> dict[str, str]:
    """The property that is written last.

    Its value is the name of the resource that it completes: clones and restores carry properties along, and a
    copy that carries the mark of its origin must not count as complete.
    """
    return {COMPLETE: resource}


def is_complete(resource: str, properties: Properties) -> bool:
    return same(properties.get(COMPLETE, ""), resource)


def is_foreign(properties: Properties) -> bool:
    """Whether an object has none of our properties: made by addon-linstor 3.x or by an administrator."""
    return not any(key.startswith(PREFIX) for key in properties)
